//! An instance as a JSON object: what the store on disk and every registry that keeps one value per instance write.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{
    Endpoint, Health, Instance, InstanceId, Locality, Metadata, Pair, ServiceKey, Status, Version, Weight,
};
use crate::{Error, Result};

/// An instance without its service, as serde data. The service is known from the place where the document stands.
///
/// Only `id` and `endpoints` are needed to read one; what is absent has the value that [`Instance::builder`] starts
/// with. Fields that a newer writer added are ignored.
///
/// ```
/// use callsign_core::{Document, ServiceKey};
///
/// let json = r#"{"id":"o-1","endpoints":["http://10.0.0.5:80"],"colour":"unheard of"}"#;
/// let document: Document = serde_json::from_str(json).unwrap();
/// let instance = document.into_instance(&ServiceKey::new("orders")?)?;
/// assert_eq!((instance.id().as_str(), instance.weight.get()), ("o-1", 100));
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    id: InstanceId,
    endpoints: Vec<Endpoint>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<Version>,
    #[serde(default)]
    weight: Weight,
    #[serde(default, skip_serializing_if = "is_default")]
    locality: Locality,
    #[serde(default)]
    status: Status,
    #[serde(default, skip_serializing_if = "is_default")]
    health: Health,
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata,
    #[serde(default)]
    incarnation: u64,
    #[serde(default)]
    seq: u64,
    /// Nanoseconds since 1970, so that it is equal to what the registry will say again. Years 1677 to 2262.
    #[serde(default)]
    registered_at: i64,
}

impl Document {
    /// Everything `instance` has but its service.
    #[must_use]
    pub fn of(instance: &Instance) -> Self {
        Self {
            id: instance.key.id.clone(),
            endpoints: instance.endpoints.to_vec(),
            version: instance.version.clone(),
            weight: instance.weight,
            locality: instance.locality.clone(),
            status: instance.status,
            health: instance.health,
            metadata: instance.metadata.clone(),
            incarnation: instance.incarnation,
            seq: instance.seq,
            registered_at: nanos_since_1970(instance.registered_at),
        }
    }

    /// The same without what a registry's checks said: what an owner writes. An owner does not judge its own health.
    #[must_use]
    pub fn without_health(mut self) -> Self {
        self.health = Health::default();
        self
    }

    /// The instance's id.
    #[must_use]
    pub fn id(&self) -> &InstanceId {
        &self.id
    }

    /// The instance of `service` that this describes.
    ///
    /// # Errors
    /// `InvalidInput`: no endpoint, or a time that the platform cannot tell.
    pub fn into_instance(self, service: &ServiceKey) -> Result<Instance> {
        let registered_at = time_at(self.registered_at)
            .ok_or_else(|| Error::invalid_input("it was registered at a time that does not exist"))?;
        let builder = Instance::builder(service)
            .id(self.id)
            .endpoints(self.endpoints)
            .weight(self.weight)
            .locality(self.locality)
            .status(self.status)
            .health(self.health)
            .all_metadata(self.metadata)
            .pair(Pair::new(self.incarnation, self.seq))
            .registered_at(registered_at);
        match self.version {
            Some(version) => builder.version(version).build(),
            None => builder.build(),
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn nanos_since_1970(at: SystemTime) -> i64 {
    let nanos = |span: Duration| i64::try_from(span.as_nanos());
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => nanos(after).unwrap_or(i64::MAX),
        Err(before) => nanos(before.duration()).map_or(i64::MIN, |nanos| -nanos),
    }
}

/// The time that many nanoseconds after 1970, where the platform can tell it.
fn time_at(nanos: i64) -> Option<SystemTime> {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> ServiceKey {
        ServiceKey::new("orders").unwrap()
    }

    #[test]
    fn the_format_is_the_documented_one_and_leaves_out_what_is_default() {
        let at = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
        let plain = Instance::builder(service()).id("o-1").endpoint("http://h:1").registered_at(at);
        assert_eq!(
            serde_json::to_string(&Document::of(&plain.clone().build().unwrap())).unwrap(),
            r#"{"id":"o-1","endpoints":["http://h:1"],"weight":100,"status":"up","incarnation":0,"seq":0,"registered_at":1700000000123456789}"#
        );
        let full = plain
            .version("1.4.0")
            .weight(7)
            .locality(Locality::unknown().with_zone("a"))
            .status(Status::Draining)
            .health(Health::Warning)
            .metadata("k", "v")
            .pair(Pair::new(3, 4));
        assert_eq!(
            serde_json::to_string(&Document::of(&full.build().unwrap())).unwrap(),
            r#"{"id":"o-1","endpoints":["http://h:1"],"version":"1.4.0","weight":7,"locality":{"zone":"a"},"status":"draining","health":"warning","metadata":{"k":"v"},"incarnation":3,"seq":4,"registered_at":1700000000123456789}"#
        );
    }

    #[test]
    fn what_is_absent_has_the_value_that_a_builder_starts_with() {
        let document: Document = serde_json::from_str(r#"{"id":"o-1","endpoints":["http://h:1"]}"#).unwrap();
        let builder = Instance::builder(service()).id("o-1").endpoint("http://h:1");
        let expected = builder.registered_at(UNIX_EPOCH).build().unwrap();
        assert_eq!(document.into_instance(&service()).unwrap(), expected);
    }

    #[test]
    fn defaults_that_are_written_out_read_the_same() {
        let read = |json: &str| serde_json::from_str::<Document>(json).unwrap();
        let absent = read(r#"{"id":"o-1","endpoints":["http://h:1"]}"#);
        let present = r#"{"id":"o-1","endpoints":["http://h:1"],"version":null,"weight":100,"locality":{},"status":"up","health":"unknown","metadata":{},"incarnation":0,"seq":0,"registered_at":0}"#;
        assert_eq!(read(present), absent);
    }

    #[test]
    fn an_owner_writes_no_health() {
        let sick = Instance::builder(service()).endpoint("http://h:1").health(Health::Critical);
        let document = Document::of(&sick.build().unwrap()).without_health();
        assert_eq!(document.into_instance(&service()).unwrap().health, Health::Unknown);
    }

    #[test]
    fn the_first_and_the_last_time_come_back() {
        for nanos in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(time_at(nanos).map(nanos_since_1970), Some(nanos));
        }
        let before = UNIX_EPOCH - Duration::from_secs(1_000_000_000_000);
        assert_eq!(nanos_since_1970(before), i64::MIN);
    }
}
