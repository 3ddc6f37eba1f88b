//! What stands in a registry that keeps one value for each instance: a [`Document`] with the version of its format.
//!
//! For the codec of a backend whose registry takes values as they are; how a key is made of names is its own business.

use serde::{Deserialize, Serialize};

use crate::{Document, Error, Instance, InstanceId, Pair, Result, Retry, ServiceKey};

/// The version of the format. What an older reader would misunderstand gets a new one.
const VERSION: u32 = 1;
/// How much of a foreign id or of a complaint is shown, in characters.
const SHOWN: usize = 120;

/// What is stored of `instance`. Its health is left out: an owner does not judge itself.
///
/// ```
/// use callsign_core::{Instance, Pair, stored};
///
/// let instance = Instance::builder("orders").id("o-1").endpoint("http://10.0.0.5:80").pair(Pair::new(7, 1)).build()?;
/// let value = stored::encode(&instance)?;
/// assert_eq!(stored::pair_in(&value), instance.pair());
/// assert_eq!(stored::decode(&instance.key.service, &instance.key.id, &value).unwrap(), instance);
/// # Ok::<(), callsign_core::Error>(())
/// ```
///
/// # Errors
/// `Unexpected` and permanent, should JSON refuse it.
pub fn encode(instance: &Instance) -> Result<Vec<u8>> {
    let value = Value { v: VERSION, document: Document::of(instance).without_health() };
    serde_json::to_vec(&value).map_err(|error| {
        Error::unexpected(format!("cannot turn the instance {} into JSON", instance.key))
            .with_retry(Retry::Permanent)
            .with_source(error)
    })
}

/// The instance of `service` that stands in `value`, where `id` belongs.
///
/// # Errors
/// In a few words, why there is none: for [`Skipped`](crate::Skipped).
pub fn decode(service: &ServiceKey, id: &InstanceId, value: &[u8]) -> Result<Instance, String> {
    // The version first: what else stands in the value of a newer writer, only it knows.
    let Version { v } = serde_json::from_slice(value).map_err(|error| complaint(&error))?;
    if v != VERSION {
        return Err(format!("it has the format version {v}, this program reads {VERSION}"));
    }
    let document: Document = serde_json::from_slice(value).map_err(|error| complaint(&error))?;
    if document.id() != id {
        let other = shown(document.id().as_str());
        return Err(format!("its value has the id `{other}`, which is not the one of its key"));
    }
    document.into_instance(service).map_err(|error| error.to_string())
}

/// The pair in `value`, of whatever version of the format; [`Pair::NONE`] where callsign has not written it.
#[must_use]
pub fn pair_in(value: &[u8]) -> Pair {
    #[derive(Deserialize)]
    struct Stamp {
        incarnation: u64,
        seq: u64,
    }

    serde_json::from_slice(value).map_or(Pair::NONE, |Stamp { incarnation, seq }| Pair::new(incarnation, seq))
}

#[derive(Serialize)]
struct Value {
    v: u32,
    #[serde(flatten)]
    document: Document,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

fn shown(text: &str) -> String {
    let escaped: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN).is_some() { format!("{escaped}...") } else { escaped }
}

/// What serde says, cut short: it repeats the text that it stumbled over, however long that is.
fn complaint(error: &serde_json::Error) -> String {
    let text = error.to_string();
    if text.len() <= SHOWN {
        return text;
    }
    let start: String = text.chars().take(SHOWN).collect();
    format!("{start}... at line {} column {}", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use proptest::prelude::*;

    use super::*;
    use crate::{Endpoint, Health, Locality, Metadata, Status};

    fn orders() -> ServiceKey {
        ServiceKey::new("orders/eu").unwrap()
    }

    /// An instance with something in every field.
    fn full() -> Instance {
        Instance::builder(orders())
            .id("o-1")
            .endpoint("grpcs://10.0.0.5:9000")
            .endpoint("http://[::1]:80")
            .version("1.4.0")
            .weight(7)
            .locality(Locality::unknown().with_region("eu").with_zone("eu-a"))
            .status(Status::Draining)
            .health(Health::Critical)
            .metadata("颜色", "蓝")
            .pair(Pair::new(1_700_000_000_000_000, 3))
            .registered_at(UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789))
            .build()
            .unwrap()
    }

    #[test]
    fn a_value_stays_what_it_was_when_others_wrote_it() {
        assert_eq!(
            String::from_utf8(encode(&full()).unwrap()).unwrap(),
            r#"{"v":1,"id":"o-1","endpoints":["grpcs://10.0.0.5:9000","http://[::1]:80"],"version":"1.4.0","weight":7,"locality":{"region":"eu","zone":"eu-a"},"status":"draining","metadata":{"颜色":"蓝"},"incarnation":1700000000000000,"seq":3,"registered_at":1700000000123456789}"#
        );
    }

    #[test]
    fn a_value_that_callsign_has_not_written_is_refused_in_a_few_words() {
        let id = InstanceId::new("o-1").unwrap();
        let refused = |value: &str| decode(&orders(), &id, value.as_bytes()).unwrap_err();
        let value = |field: &str, with: serde_json::Value| {
            let mut value: serde_json::Value = serde_json::from_slice(&encode(&full()).unwrap()).unwrap();
            value[field] = with;
            value.to_string()
        };
        assert_eq!(refused(&value("v", 2.into())), "it has the format version 2, this program reads 1");
        assert_eq!(refused(r#"{"v":7,"nodes":[]}"#), "it has the format version 7, this program reads 1");
        assert_eq!(
            refused(&value("id", "o-2".into())),
            "its value has the id `o-2`, which is not the one of its key"
        );
        for (value, part) in [
            (value("endpoints", serde_json::json!([])), "no endpoint"),
            (value("status", "asleep".into()), "asleep"),
            (value("weight", 70_000.into()), "70000"),
            (String::new(), "EOF"),
            ("127.0.0.1:80".to_owned(), "line 1"),
            (r#"{"id":"o-1","endpoints":["http://h:1"]}"#.to_owned(), "missing field `v`"),
        ] {
            let reason = refused(&value);
            assert!(reason.contains(part), "{value}: {reason}");
        }
        let novel = refused(&value("status", "x".repeat(10_000).into()));
        assert!(novel.len() < 200, "{novel}");
    }

    #[test]
    fn fields_of_a_newer_writer_are_ignored_and_absent_ones_have_their_defaults() {
        let id = InstanceId::new("o-1").unwrap();
        let value = r#"{"id":"o-1","mood":{"deep":[1]},"endpoints":["http://h:1"],"v":1}"#;
        let instance = decode(&orders(), &id, value.as_bytes()).unwrap();
        assert_eq!((instance.weight.get(), instance.status, instance.pair()), (100, Status::Up, Pair::NONE));
    }

    #[test]
    fn the_pair_is_read_from_values_of_any_version_and_is_none_in_those_of_others() {
        assert_eq!(pair_in(&encode(&full()).unwrap()), full().pair());
        assert_eq!(pair_in(br#"{"v":9,"incarnation":4,"seq":5,"x":[]}"#), Pair::new(4, 5));
        for other in [
            &b"10.0.0.5:80"[..],
            b"{}",
            b"null",
            b"{\"seq\":5}",
            b"{\"incarnation\":-1,\"seq\":5}",
            b"\xff",
            b"",
        ] {
            assert_eq!(pair_in(other), Pair::NONE);
        }
    }

    fn any_instance() -> impl Strategy<Value = Instance> {
        let endpoint = ("[a-z][a-z0-9]{0,6}(\\+tls)?", "[a-z0-9]{1,8}|\\[::1\\]", 1u16..)
            .prop_map(|(protocol, host, port)| Endpoint::new(format!("{protocol}://{host}:{port}")).unwrap());
        let id = prop_oneof!["\\PC{1,40}", "[a-c/%.]{1,4}", "[a-z]{255}", "[é/]{1,100}"]
            .prop_filter("a legal id", |id| InstanceId::new(id).is_ok());
        let words = (
            prop_oneof![
                Just(Status::Starting),
                Just(Status::Up),
                Just(Status::Draining),
                Just(Status::OutOfService)
            ],
            proptest::option::of("\\PC{1,20}|v?[0-9]\\.[0-9]\\.[0-9](-rc)?"),
            ("\\PC{0,5}", "\\PC{0,5}"),
        );
        (
            (id, proptest::collection::vec(endpoint, 1..4)),
            any::<(u16, u64, u64, i64)>(),
            words,
            proptest::collection::hash_map(any::<String>(), any::<String>(), 0..4),
        )
            .prop_map(|((id, endpoints), numbers, (status, version, place), metadata)| {
                let (weight, incarnation, seq, nanos) = numbers;
                let distance = Duration::from_nanos(nanos.unsigned_abs());
                let builder = Instance::builder(orders())
                    .id(id)
                    .endpoints(endpoints)
                    .weight(weight)
                    .locality(Locality::unknown().with_region(place.0).with_zone(place.1))
                    .status(status)
                    .all_metadata(Metadata::from_remote(metadata))
                    .pair(Pair::new(incarnation, seq))
                    .registered_at(if nanos < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance });
                match version {
                    Some(version) => builder.version(version).build().unwrap(),
                    None => builder.build().unwrap(),
                }
            })
    }

    proptest! {
        #[test]
        fn every_instance_comes_back_whole_and_says_no_health(instance in any_instance(), health: bool) {
            let health = if health { Health::Critical } else { Health::Unknown };
            let checked = instance.to_builder().health(health).build().unwrap();
            let value = encode(&checked).unwrap();
            prop_assert_eq!(pair_in(&value), instance.pair());
            prop_assert_eq!(decode(&instance.key.service, &instance.key.id, &value).unwrap(), instance);
        }

        #[test]
        fn garbage_never_panics(
            garbage: Vec<u8>,
            from in 0usize..400,
            json in "[\\[\\]{}\":,a-z0-9\\\\.-]{0,80}",
        ) {
            let id = InstanceId::new("o-1").unwrap();
            prop_assert!(decode(&orders(), &id, &garbage).is_err());
            let mut spoiled = encode(&full()).unwrap();
            let from = from.min(spoiled.len());
            spoiled.splice(from..(from + json.len()).min(spoiled.len()), json.into_bytes());
            let _ = (decode(&orders(), &id, &spoiled), pair_in(&spoiled), pair_in(&garbage));
        }
    }
}
