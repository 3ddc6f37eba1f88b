//! One running copy of a service.

use std::convert::Infallible;
use std::fmt;
use std::time::SystemTime;

use super::{
    Endpoint, Endpoints, Health, InstanceId, InstanceKey, Locality, Metadata, ServiceKey, Status, Version,
    Weight,
};
use crate::{Error, Result};

/// Orders the records of one id: the owner's incarnation, then its count of changes. The higher pair wins
/// everywhere, whatever a clock says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Pair {
    /// Grows with each new owner of the id: microseconds since 1970 at its first registration, raised above any
    /// incarnation seen for the id.
    pub incarnation: u64,
    /// Grows with each change the owner makes.
    pub seq: u64,
}

impl Pair {
    /// Of records that other software wrote. Such records sort by arrival.
    pub const NONE: Self = Self { incarnation: 0, seq: 0 };

    /// The pair `(incarnation, seq)`.
    #[must_use]
    pub const fn new(incarnation: u64, seq: u64) -> Self {
        Self { incarnation, seq }
    }

    /// Whether this is [`Pair::NONE`].
    #[must_use]
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.incarnation, self.seq)
    }
}

/// One running copy of a service. Made by [`Instance::builder`]; shared as `Arc<Instance>`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// Service and id.
    pub key: InstanceKey,
    /// Where it listens; one or more.
    pub endpoints: Endpoints,
    /// The version of its software.
    pub version: Option<Version>,
    /// The share of traffic it asks for.
    pub weight: Weight,
    /// Where it runs.
    pub locality: Locality,
    /// What its owner says.
    pub status: Status,
    /// What the registry's checks say. Never written by the owner.
    pub health: Health,
    /// What it says of itself beyond this model.
    pub metadata: Metadata,
    /// See [`Pair`]. 0 in records of other software.
    pub incarnation: u64,
    /// See [`Pair`]. 0 in records of other software.
    pub seq: u64,
    /// When its owner first registered it, by the owner's clock; for people, never for decisions.
    pub registered_at: SystemTime,
}

impl Instance {
    /// Starts an instance of `service`: a [`ServiceKey`], or the name of a service in the default namespace and
    /// group. The id is random unless [`InstanceBuilder::id`] sets it.
    ///
    /// ```
    /// use callsign_core::Instance;
    ///
    /// let instance = Instance::builder("orders")
    ///     .endpoint("http://127.0.0.1:8080")
    ///     .version("1.4.0")
    ///     .metadata("colour", "blue")
    ///     .build()?;
    /// assert!(instance.routable());
    /// # Ok::<(), callsign_core::Error>(())
    /// ```
    pub fn builder(service: impl TryInto<ServiceKey, Error: Into<Error>>) -> InstanceBuilder {
        InstanceBuilder::new(service.try_into().map_err(Into::into))
    }

    /// A builder that starts with everything this instance has.
    #[must_use]
    pub fn to_builder(&self) -> InstanceBuilder {
        let Self { key, version, weight, locality, status, health, metadata, registered_at, .. } =
            self.clone();
        InstanceBuilder {
            service: Ok(key.service),
            id: Some(key.id),
            endpoints: self.endpoints.to_vec(),
            version,
            weight,
            locality,
            status,
            health,
            metadata: Ok(metadata),
            pair: self.pair(),
            registered_at,
            error: None,
        }
    }

    /// The instance's id.
    #[must_use]
    pub fn id(&self) -> &InstanceId {
        &self.key.id
    }

    /// What orders the records of this id.
    #[must_use]
    pub fn pair(&self) -> Pair {
        Pair::new(self.incarnation, self.seq)
    }

    /// Whether this record, arriving after `other` of the same id, takes its place.
    #[must_use]
    pub fn supersedes(&self, other: &Self) -> bool {
        self.pair().is_none() || self.pair() >= other.pair()
    }

    /// Whether the instance may get traffic: its owner says `Up`, no check says `Critical`, and its weight is not
    /// zero. The one place that decides this.
    #[must_use]
    pub fn routable(&self) -> bool {
        self.status == Status::Up && self.health != Health::Critical && self.weight > Weight::ZERO
    }
}

/// Builds an [`Instance`]; the first error is kept until [`build`](Self::build).
#[derive(Debug, Clone)]
pub struct InstanceBuilder {
    service: Result<ServiceKey>,
    id: Option<InstanceId>,
    endpoints: Vec<Endpoint>,
    version: Option<Version>,
    weight: Weight,
    locality: Locality,
    status: Status,
    health: Health,
    metadata: Result<Metadata>,
    pair: Pair,
    registered_at: SystemTime,
    error: Option<Error>,
}

impl InstanceBuilder {
    fn new(service: Result<ServiceKey>) -> Self {
        Self {
            service,
            id: None,
            endpoints: Vec::new(),
            version: None,
            weight: Weight::default(),
            locality: Locality::default(),
            status: Status::default(),
            health: Health::default(),
            metadata: Ok(Metadata::new()),
            pair: Pair::NONE,
            registered_at: SystemTime::now(),
            error: None,
        }
    }

    fn keep<T>(&mut self, checked: Result<T, impl Into<Error>>) -> Option<T> {
        match checked {
            Ok(value) => Some(value),
            Err(error) => {
                self.error.get_or_insert(error.into());
                None
            }
        }
    }

    /// Sets the id. Without one the instance gets a random id.
    #[must_use]
    pub fn id(mut self, id: impl TryInto<InstanceId, Error: Into<Error>>) -> Self {
        if let Some(id) = self.keep(id.try_into()) {
            self.id = Some(id);
        }
        self
    }

    /// Adds an endpoint. At least one is needed.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl TryInto<Endpoint, Error: Into<Error>>) -> Self {
        if let Some(endpoint) = self.keep(endpoint.try_into()) {
            self.endpoints.push(endpoint);
        }
        self
    }

    /// Replaces all endpoints.
    #[must_use]
    pub fn endpoints(mut self, endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        self.endpoints = endpoints.into_iter().collect();
        self
    }

    /// Sets the version.
    #[must_use]
    pub fn version(mut self, version: impl TryInto<Version, Error: Into<Error>>) -> Self {
        if let Some(version) = self.keep(version.try_into()) {
            self.version = Some(version);
        }
        self
    }

    /// Sets the weight; 100 unless told.
    #[must_use]
    pub fn weight(mut self, weight: impl Into<Weight>) -> Self {
        self.weight = weight.into();
        self
    }

    /// Sets region and zone.
    #[must_use]
    pub fn locality(mut self, locality: Locality) -> Self {
        self.locality = locality;
        self
    }

    /// Sets the status; `Up` unless told.
    #[must_use]
    pub fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    /// Sets what the registry's checks say. For backends; an owner's own value is not written.
    #[must_use]
    pub fn health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// Adds one pair of metadata, or replaces the value of `key`.
    #[must_use]
    pub fn metadata(mut self, key: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        self.metadata = self.metadata.and_then(|metadata| metadata.with(key.as_ref(), value.as_ref()));
        self
    }

    /// Replaces all metadata.
    #[must_use]
    pub fn all_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = Ok(metadata);
        self
    }

    /// Sets the pair. For backends and for the registrar, which stamps what it writes.
    #[must_use]
    pub fn pair(mut self, pair: Pair) -> Self {
        self.pair = pair;
        self
    }

    /// Sets when the owner first registered it. For backends.
    #[must_use]
    pub fn registered_at(mut self, at: SystemTime) -> Self {
        self.registered_at = at;
        self
    }

    /// The instance, or the first rule it breaks.
    ///
    /// # Errors
    /// `InvalidInput`: a name, endpoint, version or metadata key that was refused, or no endpoint at all.
    pub fn build(self) -> Result<Instance> {
        let service = self.service?;
        if let Some(error) = self.error {
            return Err(error);
        }
        Ok(Instance {
            key: InstanceKey::new(service, self.id.unwrap_or_else(InstanceId::random)),
            endpoints: Endpoints::new(self.endpoints)?,
            version: self.version,
            weight: self.weight,
            locality: self.locality,
            status: self.status,
            health: self.health,
            metadata: self.metadata?,
            incarnation: self.pair.incarnation,
            seq: self.pair.seq,
            registered_at: self.registered_at,
        })
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_reports_the_first_broken_rule() {
        let message = |builder: InstanceBuilder| builder.build().unwrap_err().to_string();
        assert_eq!(
            message(Instance::builder("orders")),
            "the instance has no endpoint: at least one is needed"
        );
        assert_eq!(
            message(Instance::builder("").endpoint("nonsense")),
            "the service name is empty: 1 to 255 bytes are allowed"
        );
        assert!(message(Instance::builder("orders").endpoint("http://h").id("")).contains("has no port"));
        assert!(
            message(Instance::builder("orders").endpoint("http://h:1").metadata("callsign.x", ""))
                .contains("reserved")
        );
    }

    #[test]
    fn only_up_and_not_critical_and_weighted_is_routable() {
        let instance = Instance::builder("orders").endpoint("http://h:1").build().unwrap();
        assert!(instance.routable());
        for status in [Status::Starting, Status::Draining, Status::OutOfService] {
            assert!(!instance.to_builder().status(status).build().unwrap().routable(), "{status}");
        }
        for (health, routable) in
            [(Health::Unknown, true), (Health::Warning, true), (Health::Critical, false)]
        {
            assert_eq!(
                instance.to_builder().health(health).build().unwrap().routable(),
                routable,
                "{health}"
            );
        }
        assert!(!instance.to_builder().weight(0).build().unwrap().routable());
    }

    #[test]
    fn the_higher_pair_wins_and_records_without_one_sort_by_arrival() {
        let with = |pair| Instance::builder("orders").endpoint("http://h:1").pair(pair).build().unwrap();
        let (old, new, none) = (with(Pair::new(1, 9)), with(Pair::new(2, 1)), with(Pair::NONE));
        assert!(new.supersedes(&old) && !old.supersedes(&new));
        assert!(none.supersedes(&new) && new.supersedes(&none) && none.supersedes(&none));
    }

    #[test]
    fn a_rebuilt_instance_is_equal() {
        let instance = Instance::builder("orders")
            .id("o-1")
            .endpoint("http://h:1")
            .endpoint("grpcs://h:2")
            .version("1.0.0")
            .weight(7)
            .locality(Locality::unknown().with_zone("a"))
            .metadata("k", "v")
            .pair(Pair::new(3, 4))
            .build()
            .unwrap();
        assert_eq!(instance.to_builder().build().unwrap(), instance);
    }
}
