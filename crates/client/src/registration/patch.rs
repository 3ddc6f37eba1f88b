//! Changes to what is registered.

use callsign_core::{Endpoint, Instance, Locality, Metadata, Result, Status, Version, Weight};

/// A change to a registered instance. What it does not name stays as it is.
///
/// ```
/// use callsign_client::Patch;
/// use callsign_core::Status;
///
/// let patch = Patch::new().weight(50).metadata("colour", "green").status(Status::Up);
/// # let _ = patch;
/// ```
#[derive(Debug, Clone, Default)]
#[must_use = "a patch does nothing until it is handed to `Registration::update`"]
pub struct Patch {
    changes: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Status(Status),
    Weight(Weight),
    Version(Option<Version>),
    Locality(Locality),
    Endpoints(Vec<Endpoint>),
    Metadata(Metadata),
    SetMetadata(String, String),
    RemoveMetadata(String),
}

impl Patch {
    /// No change.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, change: Change) -> Self {
        self.changes.push(change);
        self
    }

    /// Sets the status. `Draining` by itself only announces; `Registration::drain` also leaves.
    pub fn status(self, status: Status) -> Self {
        self.with(Change::Status(status))
    }

    /// Sets the weight.
    pub fn weight(self, weight: impl Into<Weight>) -> Self {
        self.with(Change::Weight(weight.into()))
    }

    /// Sets or takes away the version.
    pub fn version(self, version: impl Into<Option<Version>>) -> Self {
        self.with(Change::Version(version.into()))
    }

    /// Sets region and zone.
    pub fn locality(self, locality: Locality) -> Self {
        self.with(Change::Locality(locality))
    }

    /// Replaces all endpoints.
    pub fn endpoints(self, endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        self.with(Change::Endpoints(endpoints.into_iter().collect()))
    }

    /// Replaces all metadata.
    pub fn all_metadata(self, metadata: Metadata) -> Self {
        self.with(Change::Metadata(metadata))
    }

    /// Sets one pair of metadata.
    pub fn metadata(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(Change::SetMetadata(key.into(), value.into()))
    }

    /// Takes one pair of metadata away.
    pub fn without_metadata(self, key: impl Into<String>) -> Self {
        self.with(Change::RemoveMetadata(key.into()))
    }

    /// The instance with all changes made, in the order in which they were named.
    pub(crate) fn apply(self, instance: &Instance) -> Result<Instance> {
        let mut metadata = instance.metadata.clone();
        let mut changed = instance.clone();
        let mut endpoints = None;
        for change in self.changes {
            match change {
                Change::Status(status) => changed.status = status,
                Change::Weight(weight) => changed.weight = weight,
                Change::Version(version) => changed.version = version,
                Change::Locality(locality) => changed.locality = locality,
                Change::Endpoints(new) => endpoints = Some(new),
                Change::Metadata(new) => metadata = new,
                Change::SetMetadata(key, value) => metadata = metadata.with(&key, &value)?,
                Change::RemoveMetadata(key) => metadata = metadata.without(&key),
            }
        }
        let builder = changed.to_builder().all_metadata(metadata);
        match endpoints {
            Some(endpoints) => builder.endpoints(endpoints).build(),
            None => builder.build(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_changes_what_it_names_and_refuses_what_breaks_a_rule() {
        let instance =
            Instance::builder("orders").endpoint("http://h:1").metadata("a", "1").weight(7).build().unwrap();
        let changed = Patch::new().metadata("b", "2").without_metadata("a").apply(&instance).unwrap();
        assert_eq!(changed.metadata.iter().collect::<Vec<_>>(), [("b", "2")]);
        assert_eq!((changed.weight, &changed.key), (instance.weight, &instance.key));

        assert!(Patch::new().endpoints([]).apply(&instance).is_err());
        assert!(Patch::new().metadata("callsign.x", "").apply(&instance).is_err());
    }
}
