//! An instance as Nacos has it: address, weight and cluster for everybody, and the rest in its metadata.
//!
//! Nacos takes 1024 characters of metadata. What callsign writes is in keys that begin with `callsign.`, and has as much
//! room as [`METADATA_FOR_USERS`] leaves.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callsign_core::{
    Endpoint, Error, Health, Instance, InstanceId, Locality, Metadata, Pair, Result, ServiceKey, Skipped,
    Status, Weight,
};

use super::shown;
use crate::message::Host;

/// How many bytes of metadata, keys and values together, are always left to an application: what callsign writes itself
/// takes 384 characters at most where they are all used.
pub const METADATA_FOR_USERS: usize = 640;
/// `ParamCheckRule`: of all keys and values together, in UTF-16.
const METADATA: usize = 1024;
const LONGEST_HOST: usize = 128;
const LONGEST_CLUSTER: usize = 64;
/// The cluster of who is in none.
const NO_CLUSTER: &str = "DEFAULT";
/// Nacos has 1.0 where callsign has 100.
const SCALE: f64 = 100.0;

const ID: &str = "callsign.id";
const PAIR: &str = "callsign.pair";
const ENDPOINTS: &str = "callsign.endpoints";
const VERSION: &str = "callsign.version";
const STATUS: &str = "callsign.status";
const WEIGHT: &str = "callsign.weight";
const REGION: &str = "callsign.region";
const ZONE: &str = "callsign.zone";
const AT: &str = "callsign.at";

/// What Nacos is to have of `instance`. Always healthy and enabled: who is not is hidden from everybody, and an owner does
/// not judge its own health.
///
/// # Errors
/// `LimitExceeded`, with what is too long and what Nacos takes.
pub(crate) fn encode(instance: &Instance) -> Result<Host> {
    let endpoint = instance.endpoints.primary();
    let ip = endpoint.host.to_string();
    if ip.len() > LONGEST_HOST {
        let rule = format!(
            "the host `{}` has {} characters: Nacos takes up to {LONGEST_HOST}",
            shown(&ip),
            ip.len()
        );
        return Err(Error::limit_exceeded(rule));
    }
    let users = instance.metadata.byte_len();
    if users > METADATA_FOR_USERS {
        return Err(Error::limit_exceeded(format!(
            "the metadata of {} has {users} bytes: of Nacos' {METADATA} characters {METADATA_FOR_USERS} are for applications",
            instance.key
        )));
    }
    let zone = instance.locality.zone.as_deref();
    let cluster = zone.filter(|zone| is_cluster(zone));
    let mut metadata = own(instance, zone.filter(|_| cluster.is_none()));
    metadata.extend(instance.metadata.iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
    let length = |text: &str| text.encode_utf16().count();
    let taken: usize = metadata.iter().map(|(key, value)| length(key) + length(value)).sum();
    if taken > METADATA {
        return Err(Error::limit_exceeded(format!(
            "{} takes {taken} characters of metadata, {} of them for its id, endpoints and version: Nacos takes up to \
             {METADATA}",
            instance.key,
            taken - instance.metadata.iter().map(|(key, value)| length(key) + length(value)).sum::<usize>()
        )));
    }
    Ok(Host {
        ip,
        port: endpoint.port.get().into(),
        weight: f64::from(instance.weight.get()) / SCALE,
        healthy: true,
        enabled: true,
        ephemeral: true,
        cluster_name: cluster.unwrap_or(NO_CLUSTER).to_owned(),
        metadata,
    })
}

/// What callsign writes into the metadata.
fn own(instance: &Instance, zone: Option<&str>) -> BTreeMap<String, String> {
    let endpoints: Vec<_> = instance.endpoints.iter().map(ToString::to_string).collect();
    let status = (instance.status != Status::default()).then(|| instance.status.as_str().to_owned());
    let at = instance.registered_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let optional = [
        (VERSION, instance.version.as_ref().map(ToString::to_string)),
        (STATUS, status),
        (REGION, instance.locality.region.as_deref().map(str::to_owned)),
        (ZONE, zone.map(str::to_owned)),
    ];
    let always = [
        (ID, instance.id().to_string()),
        (PAIR, instance.pair().to_string()),
        (ENDPOINTS, endpoints.join(" ")),
        // Once more, as r-nacos keeps a weight that is set back to 1.0.
        (WEIGHT, instance.weight.to_string()),
        (AT, at.to_string()),
    ];
    let some = optional.into_iter().filter_map(|(key, value)| Some((key, value?)));
    some.chain(always).map(|(key, value)| (key.to_owned(), value)).collect()
}

fn is_cluster(zone: &str) -> bool {
    zone.len() <= LONGEST_CLUSTER
        && zone != NO_CLUSTER
        && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The instance of `service` that `host` is. `judged`: whether its health is anybody's judgement.
///
/// # Errors
/// What is wrong with it, under its id.
pub(crate) fn decode(service: &ServiceKey, host: &Host, judged: bool) -> Result<Instance, Skipped> {
    let Some(id) = host.metadata.get(ID) else {
        let id = format!("{}#{}#{}", host.ip, host.port, host.cluster_name);
        return theirs(service, &id, host, judged)
            .map_err(|error| Skipped::new(shown(&id), shown(error.context())));
    };
    let skipped = |reason: String| Skipped::new(shown(id), reason);
    let id = InstanceId::new(id).map_err(|error| skipped(shown(error.context())))?;
    ours(service, id, host, judged).map_err(skipped)
}

/// Of whom `host` is a record, and which one, if callsign has written it.
pub(crate) fn pair_and_id(host: &Host) -> Option<(&str, Pair)> {
    Some((host.metadata.get(ID)?, parse_pair(host.metadata.get(PAIR)?)?))
}

/// An instance that callsign has registered.
fn ours(service: &ServiceKey, id: InstanceId, host: &Host, judged: bool) -> Result<Instance, String> {
    let needed = |key: &str| host.metadata.get(key).ok_or_else(|| format!("its `{key}` is missing"));
    let broken = |key: &str, text: &str| format!("its `{key}` cannot be read: {}", shown(text));
    let pair = needed(PAIR)?;
    let pair = parse_pair(pair).ok_or_else(|| broken(PAIR, pair))?;
    let endpoints = needed(ENDPOINTS)?
        .split(' ')
        .map(|text| Endpoint::new(text).map_err(|error| shown(error.context())))
        .collect::<Result<Vec<_>, _>>()?;
    let weight = needed(WEIGHT)?;
    let weight: u16 = weight.parse().map_err(|_| broken(WEIGHT, weight))?;
    let at = needed(AT)?;
    let at = at.parse().ok().and_then(time_at).ok_or_else(|| broken(AT, at))?;
    let status = match host.metadata.get(STATUS) {
        Some(status) => status.parse().map_err(|_| broken(STATUS, status))?,
        None => Status::default(),
    };
    let mut locality = Locality::unknown();
    if let Some(region) = host.metadata.get(REGION) {
        locality = locality.with_region(region.as_str());
    }
    if let Some(zone) = host.metadata.get(ZONE).or_else(|| cluster(host)) {
        locality = locality.with_zone(zone.as_str());
    }
    // Whoever is said to be healthy here has not been asked: only a connection was seen.
    let health = if judged && !host.healthy { Health::Critical } else { Health::Unknown };
    let metadata = host.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let builder = Instance::builder(service)
        .id(id)
        .endpoints(endpoints)
        .weight(weight)
        .locality(locality)
        .status(status)
        .health(health)
        .all_metadata(Metadata::from_remote(metadata))
        .pair(pair)
        .registered_at(at);
    let builder = match host.metadata.get(VERSION) {
        Some(version) => builder.version(version.as_str()),
        None => builder,
    };
    builder.build().map_err(|error| shown(error.context()))
}

/// An instance that other software has registered: its address, and what it says as far as it makes sense.
fn theirs(service: &ServiceKey, id: &str, host: &Host, judged: bool) -> Result<Instance> {
    let ip = if host.ip.contains(':') {
        format!("[{}]", host.ip.trim_matches(['[', ']']))
    } else {
        host.ip.clone()
    };
    let health = match (judged, host.healthy) {
        (false, _) => Health::Unknown,
        (true, true) => Health::Passing,
        (true, false) => Health::Critical,
    };
    let locality =
        cluster(host).map_or_else(Locality::unknown, |zone| Locality::unknown().with_zone(zone.as_str()));
    let metadata = host.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Instance::builder(service)
        .id(id)
        .endpoint(format!("tcp://{ip}:{}", host.port).as_str())
        .weight(weight_of(host.weight))
        .locality(locality)
        .health(health)
        .all_metadata(Metadata::from_remote(metadata))
        .registered_at(UNIX_EPOCH)
        .build()
}

fn cluster(host: &Host) -> Option<&String> {
    Some(&host.cluster_name).filter(|name| !name.is_empty() && *name != NO_CLUSTER)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range of a weight")]
fn weight_of(weight: f64) -> Weight {
    let scaled = (weight * SCALE).round().clamp(0.0, f64::from(u16::MAX));
    Weight::new(if scaled.is_nan() { 100 } else { scaled as u16 })
}

fn parse_pair(text: &str) -> Option<Pair> {
    let (incarnation, seq) = text.split_once('.')?;
    Some(Pair::new(incarnation.parse().ok()?, seq.parse().ok()?))
}

fn time_at(millis: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use callsign_core::ErrorKind;
    use proptest::prelude::*;

    use super::*;

    fn service() -> ServiceKey {
        ServiceKey::new("orders").unwrap()
    }

    fn plain() -> Instance {
        let at = UNIX_EPOCH + Duration::from_millis(7);
        let builder = Instance::builder(service()).id("o-1").endpoint("http://10.0.0.5:80");
        builder.pair(Pair::new(3, 4)).registered_at(at).build().unwrap()
    }

    #[test]
    fn an_instance_is_laid_out_as_documented() {
        let host = encode(&plain()).unwrap();
        let expected = r#"{"ip":"10.0.0.5","port":80,"weight":1.0,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT","metadata":{"callsign.at":"7","callsign.endpoints":"http://10.0.0.5:80","callsign.id":"o-1","callsign.pair":"3.4","callsign.weight":"100"}}"#;
        assert_eq!(serde_json::to_string(&host).unwrap(), expected);
    }

    #[test]
    fn a_zone_is_a_cluster_where_nacos_takes_it() {
        for (zone, cluster) in
            [("eu-1a", "eu-1a"), ("eu 1", "DEFAULT"), ("DEFAULT", "DEFAULT"), ("", "DEFAULT")]
        {
            let Ok(instance) = plain().to_builder().locality(Locality::unknown().with_zone(zone)).build()
            else {
                continue;
            };
            let host = encode(&instance).unwrap();
            if !zone.is_empty() {
                assert_eq!(host.cluster_name, cluster, "{zone}");
                assert_eq!(decode(&service(), &host, true).unwrap(), instance);
            }
        }
    }

    #[test]
    fn more_metadata_than_nacos_takes_is_refused_with_numbers() {
        let with =
            |bytes: usize| plain().to_builder().metadata("k", &*"x".repeat(bytes - 1)).build().unwrap();
        encode(&with(METADATA_FOR_USERS)).unwrap();
        let error = encode(&with(METADATA_FOR_USERS + 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "limit exceeded: the metadata of default/default/orders#o-1 has 641 bytes: of Nacos' 1024 characters 640 are \
             for applications"
        );
        let long = with(METADATA_FOR_USERS)
            .to_builder()
            .id("x".repeat(255).as_str())
            .version("1".repeat(60).as_str());
        let error = encode(&long.build().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LimitExceeded);
        assert!(
            error.to_string().ends_with("for its id, endpoints and version: Nacos takes up to 1024"),
            "{error}"
        );
    }

    #[test]
    fn the_longest_id_leaves_what_is_promised() {
        let long = plain()
            .to_builder()
            .id("x".repeat(255).as_str())
            .metadata("k", &*"x".repeat(METADATA_FOR_USERS - 1));
        encode(&long.pair(Pair::new(1_800_000_000_000_000, 99)).build().unwrap()).unwrap();
    }

    #[test]
    fn a_record_of_other_software_is_an_instance_without_a_pair() {
        let json = r#"{"ip":"10.0.0.9","port":8080,"weight":2.5,"healthy":true,"clusterName":"a","metadata":{"k":"v"}}"#;
        let mut host: Host = serde_json::from_str(json).unwrap();
        let instance = decode(&service(), &host, true).unwrap();
        assert_eq!(instance.id().as_str(), "10.0.0.9#8080#a");
        assert_eq!((instance.weight.get(), instance.health), (250, Health::Passing));
        assert!(instance.pair().is_none() && instance.metadata.get("k") == Some("v"));
        host.healthy = false;
        assert_eq!(decode(&service(), &host, true).unwrap().health, Health::Critical);
        assert_eq!(decode(&service(), &host, false).unwrap().health, Health::Unknown);
        host.ip = "::1".to_owned();
        assert_eq!(
            decode(&service(), &host, true).unwrap().endpoints.primary().to_string(),
            "tcp://[::1]:8080"
        );
        host.port = 0;
        assert_eq!(&*decode(&service(), &host, true).unwrap_err().id, "::1#0#a");
    }

    #[test]
    fn what_is_no_record_is_skipped_with_its_id_and_the_reason() {
        for (key, value, reason) in [
            (PAIR, Some("x"), "its `callsign.pair` cannot be read: x"),
            (PAIR, None, "its `callsign.pair` is missing"),
            (WEIGHT, Some("-1"), "its `callsign.weight` cannot be read: -1"),
            (STATUS, Some("?"), "its `callsign.status` cannot be read: ?"),
        ] {
            let mut host = encode(&plain()).unwrap();
            match value {
                Some(value) => host.metadata.insert(key.to_owned(), value.to_owned()),
                None => host.metadata.remove(key),
            };
            let skipped = decode(&service(), &host, true).unwrap_err();
            assert_eq!((&*skipped.id, &*skipped.reason), ("o-1", reason));
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            id in "[a-z0-9#/ ]{1,40}",
            weight: u16,
            pair: (u64, u64),
            version in prop::option::of("[0-9]{1,3}\\.[0-9]{1,3}\\.0"),
            zone in prop::option::of("[a-zA-Z0-9 .é-]{1,20}"),
            metadata in prop::collection::btree_map("[a-z]{1,10}", "\\PC{0,20}", 0..5),
        ) {
            let mut builder = plain().to_builder().id(id.as_str()).weight(weight).pair(Pair::new(pair.0, pair.1));
            if let Some(version) = &version {
                builder = builder.version(version.as_str());
            }
            if let Some(zone) = &zone {
                builder = builder.locality(Locality::unknown().with_zone(zone.as_str()));
            }
            for (key, value) in &metadata {
                builder = builder.metadata(key, value.as_str());
            }
            let instance = builder.build().unwrap();
            let host = encode(&instance).unwrap();
            let sent = serde_json::to_string(&host).unwrap();
            let found: Host = serde_json::from_str(&sent).unwrap();
            prop_assert_eq!(decode(&service(), &found, true).unwrap(), instance);
        }

        #[test]
        fn garbage_never_panics(ip in "\\PC{0,20}", port: u32, weight: f64, metadata in prop::collection::btree_map(
            prop::sample::select(vec![ID, PAIR, ENDPOINTS, VERSION, STATUS, WEIGHT, REGION, ZONE, AT, "x"]),
            "\\PC{0,30}",
            0..9,
        )) {
            let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            let (healthy, enabled, ephemeral) = (true, true, true);
            let host = Host { ip, port, weight, healthy, enabled, ephemeral, cluster_name: "c".to_owned(), metadata };
            let _ = decode(&service(), &host, true);
        }
    }
}
