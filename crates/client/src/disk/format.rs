//! What a file contains: a line that says how to check it, then the set as JSON.
//!
//! ```text
//! callsign-view 1 <sha256 of the payload> <bytes of the payload>
//! {"service":{..},"written_at":<ms since 1970>,"instances":[{"id":"o-1","endpoints":["http://10.0.0.5:80"],..},..]}
//! ```
//!
//! Fields that a newer writer added are ignored; what an older reader would misunderstand gets a new version.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callsign_core::{Document, Error, Instance, Interner, Result, Retry, ServiceKey};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::Saved;
use super::name::sha256;

const MAGIC: &str = "callsign-view";
const VERSION: u32 = 1;
/// No header of any version is longer.
const MAX_HEADER: usize = 256;
/// What an instance with three entries of metadata takes, so that the buffer seldom grows.
const TYPICAL_INSTANCE: usize = 384;

/// A set as it goes into a file.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) header: String,
    pub(super) payload: Vec<u8>,
}

/// A set as it came out of a file.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) saved: Saved,
    /// Which instances were left out, and why.
    pub(super) skipped: Option<String>,
}

/// Why a file gives no set.
#[derive(Debug)]
pub(super) enum Flaw {
    /// It is not what was written.
    Broken(String),
    /// It is what was written, but not for this reader.
    Unsupported(String),
    /// It is the file of another service.
    Foreign(String),
}

/// The payload; `I` are the instances.
#[derive(Serialize, Deserialize)]
struct View<I> {
    service: ServiceKey,
    written_at: i64,
    instances: I,
}

/// The set as bytes.
///
/// # Errors
/// `InvalidInput` if an instance belongs to another service: it would come back as one of this.
pub(super) fn encode(
    service: &ServiceKey,
    instances: &[Arc<Instance>],
    written_at: SystemTime,
) -> Result<Encoded> {
    if let Some(other) = instances.iter().find(|instance| instance.key.service != *service) {
        return Err(Error::invalid_input(format!("the instance {} does not belong to {service}", other.key)));
    }
    let view = View {
        service: service.clone(),
        written_at: millis_since_1970(written_at),
        instances: Documents(instances),
    };
    let mut payload = Vec::with_capacity((instances.len() + 1) * TYPICAL_INSTANCE);
    serde_json::to_writer(&mut payload, &view).map_err(|error| {
        Error::unexpected(format!("cannot turn the view of {service} into JSON"))
            .with_retry(Retry::Permanent)
            .with_source(error)
    })?;
    let header = format!("{MAGIC} {VERSION} {} {}\n", sha256(&payload), payload.len());
    Ok(Encoded { header, payload })
}

/// The set of `service` in `bytes`, sorted by id.
pub(super) fn decode(bytes: &[u8], service: &ServiceKey) -> Result<Decoded, Flaw> {
    let payload = str::from_utf8(checked_payload(bytes)?)
        .map_err(|error| Flaw::Broken(format!("its payload is not text: {error}")))?;
    let view: View<Vec<&RawValue>> = serde_json::from_str(payload)
        .map_err(|error| Flaw::Broken(format!("its payload is not a view: {error}")))?;
    if view.service != *service {
        return Err(Flaw::Foreign(format!("it belongs to {}", view.service)));
    }
    let written_at = time_at(view.written_at)
        .ok_or_else(|| Flaw::Broken("it was written at a time that does not exist".to_owned()))?;

    let mut instances = Vec::with_capacity(view.instances.len());
    let mut skipped = Vec::new();
    let mut interner = Interner::new();
    for raw in &view.instances {
        match instance(raw, service, &mut interner) {
            Ok(instance) => instances.push(Arc::new(instance)),
            Err(reason) => skipped.push((raw, reason)),
        }
    }
    let skipped = skipped.first().map(|(raw, reason)| {
        let (count, all, id) = (skipped.len(), view.instances.len(), id_of(raw));
        format!("{count} of {all} instances cannot be read, the first is `{id}`: {reason}")
    });
    if let (true, Some(reason)) = (instances.is_empty(), &skipped) {
        // Not an empty set: nobody knows this one.
        return Err(Flaw::Unsupported(reason.clone()));
    }
    if !instances.is_sorted_by(|a, b| a.id() < b.id()) {
        instances.sort_by(|a, b| a.id().cmp(b.id()));
        instances.dedup_by(|a, b| a.id() == b.id());
    }
    let saved = Saved { instances, written_at };
    Ok(Decoded { saved, skipped })
}

/// The payload, if the header vouches for it.
fn checked_payload(bytes: &[u8]) -> Result<&[u8], Flaw> {
    let broken = |reason: &str| Flaw::Broken(reason.to_owned());
    let end = bytes
        .iter()
        .take(MAX_HEADER)
        .position(|&byte| byte == b'\n')
        .ok_or_else(|| broken("it has no header"))?;
    let (header, payload) = (&bytes[..end], &bytes[end + 1..]);
    let header = str::from_utf8(header).map_err(|_| broken("its header is not text"))?;
    let mut words = header.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(broken("its header is not one of a saved view"));
    }
    match words.next().and_then(|version| version.parse::<u32>().ok()) {
        Some(VERSION) => {}
        Some(version) => {
            return Err(Flaw::Unsupported(format!(
                "it has the format version {version}, this program reads {VERSION}"
            )));
        }
        None => return Err(broken("its header has no version")),
    }
    let (Some(checksum), Some(length), None) = (words.next(), words.next(), words.next()) else {
        return Err(broken("its header has not four words"));
    };
    if length.parse() != Ok(payload.len()) {
        return Err(Flaw::Broken(format!(
            "it has {} bytes of payload where its header says {length}",
            payload.len()
        )));
    }
    if sha256(payload) != checksum {
        return Err(broken("its checksum is wrong"));
    }
    Ok(payload)
}

fn instance(raw: &RawValue, service: &ServiceKey, interner: &mut Interner) -> Result<Instance, String> {
    let document: Document = serde_json::from_str(raw.get()).map_err(|error| error.to_string())?;
    let mut instance = document.into_instance(service).map_err(|error| error.to_string())?;
    interner.share(&mut instance);
    Ok(instance)
}

/// The id of an instance that cannot be read, as far as it shows one.
fn id_of(raw: &RawValue) -> String {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }

    serde_json::from_str(raw.get()).map_or_else(
        |_| "?".to_owned(),
        |Id { id }| id.chars().take(80).flat_map(char::escape_debug).collect(),
    )
}

/// Instances on their way into a file, one document at a time.
struct Documents<'a>(&'a [Arc<Instance>]);

impl Serialize for Documents<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|instance| Document::of(instance)))
    }
}

fn millis_since_1970(at: SystemTime) -> i64 {
    let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
    at.duration_since(UNIX_EPOCH).map_or_else(|before| -millis(before.duration()), millis)
}

/// The time that many milliseconds after 1970, where the platform can tell it.
fn time_at(millis: i64) -> Option<SystemTime> {
    let distance = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::fixtures::{any_instances, at, instances, service};
    use super::*;

    fn bytes(encoded: &Encoded) -> Vec<u8> {
        [encoded.header.as_bytes(), &encoded.payload].concat()
    }

    /// The file that a writer with another idea of the payload would have written.
    fn vouched(payload: impl AsRef<[u8]>) -> Vec<u8> {
        let payload = payload.as_ref();
        bytes(&Encoded {
            header: format!("{MAGIC} {VERSION} {} {}\n", sha256(payload), payload.len()),
            payload: payload.to_vec(),
        })
    }

    /// The payload of two instances as a value to spoil.
    fn payload() -> Value {
        let encoded = encode(&service(), &instances("a", 2), at(1)).unwrap();
        serde_json::from_slice(&encoded.payload).unwrap()
    }

    fn ids(decoded: &Decoded) -> Vec<&str> {
        decoded.saved.instances.iter().map(|i| i.id().as_str()).collect()
    }

    #[test]
    fn the_first_line_is_the_documented_one() {
        let encoded = encode(&service(), &[], at(1_700_000_000_123)).unwrap();
        let payload = r#"{"service":{"namespace":"default","group":"default","name":"orders"},"written_at":1700000000123,"instances":[]}"#;
        assert_eq!(str::from_utf8(&encoded.payload).unwrap(), payload);
        let expected = format!("callsign-view 1 {} {}\n", sha256(payload), payload.len());
        assert_eq!(encoded.header, expected);
    }

    #[test]
    fn fields_of_a_newer_writer_are_ignored() {
        let mut payload = payload();
        payload["mood"] = json!({"deep": [[1, 2], {"x": null}]});
        payload["service"]["cluster"] = json!("c");
        payload["instances"][0]["colour"] = json!("blue");
        let decoded = decode(&vouched(payload.to_string()), &service()).unwrap();
        assert!(decoded.skipped.is_none());
        assert_eq!(decoded.saved.instances, instances("a", 2));
    }

    #[test]
    fn another_format_version_is_refused_by_its_number() {
        let encoded = encode(&service(), &[], at(1)).unwrap();
        let newer = String::from_utf8(bytes(&encoded)).unwrap().replacen(" 1 ", " 2 ", 1);
        for file in [newer.as_str(), "callsign-view 2 everything else may be different\n"] {
            let flaw = decode(file.as_bytes(), &service()).unwrap_err();
            let Flaw::Unsupported(reason) = flaw else { panic!("{flaw:?}") };
            assert_eq!(reason, "it has the format version 2, this program reads 1");
        }
    }

    #[test]
    fn an_instance_that_breaks_a_rule_is_skipped_and_the_others_are_there() {
        for (field, value, part) in [
            ("id", json!(""), "the instance id is empty"),
            ("endpoints", json!([]), "no endpoint"),
            ("endpoints", json!(["nonsense"]), "has no protocol"),
            ("status", json!("asleep"), "asleep"),
            ("weight", json!(70_000), "70000"),
            ("metadata", json!("text"), "a map of text to text"),
            ("seq", json!(-1), "-1"),
        ] {
            let mut payload = payload();
            payload["instances"][0][field] = value;
            let decoded = decode(&vouched(payload.to_string()), &service()).unwrap();
            assert_eq!(ids(&decoded), ["a-0001"]);
            let skipped = decoded.skipped.unwrap();
            assert!(skipped.contains("1 of 2 instances") && skipped.contains(part), "{skipped}");
        }
    }

    #[test]
    fn a_set_of_which_nothing_can_be_read_is_not_an_empty_set() {
        let mut payload = payload();
        payload["instances"] = json!([{"id": "o\n1"}, 7]);
        let flaw = decode(&vouched(payload.to_string()), &service()).unwrap_err();
        let Flaw::Unsupported(reason) = flaw else { panic!("{flaw:?}") };
        assert!(reason.starts_with("2 of 2 instances cannot be read, the first is `o\\n1`: "), "{reason}");
    }

    #[test]
    fn an_instance_of_another_service_is_not_written() {
        let carts = ServiceKey::new("carts").unwrap();
        let error = encode(&carts, &instances("a", 1), at(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the instance default/default/orders#a-0000 does not belong to default/default/carts"
        );
    }

    #[test]
    fn instances_come_back_sorted_and_each_id_once() {
        let mut unsorted = instances("a", 3);
        unsorted.reverse();
        unsorted.extend(instances("a", 2));
        let file = bytes(&encode(&service(), &unsorted, at(1)).unwrap());
        let decoded = decode(&file, &service()).unwrap();
        assert_eq!(decoded.saved.instances, instances("a", 3));
    }

    #[test]
    fn what_instances_have_in_common_is_kept_once() {
        let file = bytes(&encode(&service(), &instances("a", 2), at(1)).unwrap());
        let saved = decode(&file, &service()).unwrap().saved;
        let [one, two] = [&saved.instances[0], &saved.instances[1]];
        let texts = |i: &Instance| {
            let version = i.version.as_ref().unwrap().as_str().as_ptr();
            let zone = i.locality.zone.as_ref().unwrap().as_ptr();
            let name = i.key.service.name.as_str().as_ptr();
            (version, zone, name, i.endpoints.primary().protocol.as_ptr())
        };
        assert_eq!(texts(one), texts(two));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let file = bytes(&encode(&service(), &instances("a", 1), at(1)).unwrap());
        for (position, bit) in (0..file.len()).flat_map(|p| (0..8).map(move |b| (p, b))) {
            let mut flipped = file.clone();
            flipped[position] ^= 1 << bit;
            assert!(decode(&flipped, &service()).is_err(), "byte {position}, bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn every_field_survives(saved in any_instances(), millis: i32) {
            let written_at = time_at(i64::from(millis) * 1_000).unwrap();
            let file = bytes(&encode(&service(), &saved, written_at).unwrap());
            let decoded = decode(&file, &service()).unwrap();
            prop_assert!(decoded.skipped.is_none(), "{:?}", decoded.skipped);
            prop_assert_eq!(decoded.saved.instances, saved);
            prop_assert_eq!(decoded.saved.written_at, written_at);
        }

        #[test]
        fn garbage_is_refused(garbage: Vec<u8>) {
            prop_assert!(decode(&garbage, &service()).is_err());
            prop_assert!(decode(&[b"callsign-view 1 ", &*garbage].concat(), &service()).is_err());
        }

        #[test]
        fn garbage_behind_a_right_checksum_never_panics(
            garbage: Vec<u8>,
            from in 0usize..600,
            json in "[\\[\\]{}\":,a-z0-9\\\\.-]{0,80}",
        ) {
            prop_assert!(decode(&vouched(&garbage), &service()).is_err());
            prop_assert!(decode(&vouched(&json), &service()).is_err());
            let mut spoiled = payload().to_string().into_bytes();
            let from = from.min(spoiled.len());
            spoiled.splice(from..(from + json.len()).min(spoiled.len()), json.into_bytes());
            let _ = decode(&vouched(spoiled), &service());
        }
    }
}
