//! An entry of a listing as an instance: our own, and those that other software has registered.

use std::collections::BTreeMap;

use callsign_core::{
    Endpoint, Group, Health, Instance, InstanceId, Locality, Metadata, Pair, Result, ServiceKey, Skipped,
    Status, Weight,
};

use super::meta::{ENDPOINTS, PAIR, REGION, REGISTERED_AT, STATUS, VERSION, WEIGHT, ZONE};
use super::names::{group_in, parse_id};
use super::registration::time_at;
use super::{chunks, meta};
use crate::wire::{Check, Entry, Named, Service};

/// What the notes of a maintenance check begin with that callsign has set itself.
pub(crate) const MAINTENANCE: &str = "callsign:";

/// What became of one entry.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It is an instance of `service`, in the group that its key says; with when Consul changed it last.
    Instance(Box<Instance>, u64),
    /// It cannot be read. Of a group, where that could be read.
    Skipped(Option<Group>, Skipped),
    /// It belongs to another service, as Consul looks names up without regard to case; or it cannot be read and has
    /// expired.
    Nobody,
}

/// How much of an id or of a complaint is shown.
const SHOWN: usize = 120;

/// What `json` is, found under the name `name` that Consul knows `service` by.
pub(crate) fn decode(service: &ServiceKey, name: &str, json: &str) -> Outcome {
    match serde_json::from_str::<Entry>(json) {
        Ok(entry) if entry.service.name != name => Outcome::Nobody,
        Ok(entry) => {
            let changed = entry.service.modify_index.unwrap_or_default();
            instance(service, &entry)
                .map_or_else(|skipped| *skipped, |instance| Outcome::Instance(Box::new(instance), changed))
        }
        Err(error) => match serde_json::from_str::<Named>(json) {
            Ok(named) if named.service.service.as_ref().is_some_and(|found| found != name) => Outcome::Nobody,
            Ok(named) => skipped(service, &named.service.id, &error.to_string()),
            Err(_) => skipped(service, "?", &error.to_string()),
        },
    }
}

fn skipped(service: &ServiceKey, id: &str, reason: &str) -> Outcome {
    let (group, id) = match parse_id(service, id) {
        Some((group, id)) => (Some(group), id.as_str().to_owned()),
        None => (None, shown(id)),
    };
    Outcome::Skipped(group, Skipped::new(id, shown(reason)))
}

fn instance(service: &ServiceKey, entry: &Entry) -> Result<Instance, Box<Outcome>> {
    let found = &entry.service;
    let refuse = |reason: &str| Box::new(skipped(service, &found.id, reason));
    let none = BTreeMap::new();
    let meta = found.meta.as_ref().unwrap_or(&none);
    let own = parse_id(service, &found.id);
    let is_ours = own.is_some() || meta.contains_key(PAIR);
    let verdict = Verdict::of(entry.checks.as_deref().unwrap_or_default(), is_ours);
    match own {
        Some((group, id)) => ours(&service.clone().with_group(group), id, found, meta, &verdict),
        None if is_ours => Err("its id is not one that callsign makes".to_owned()),
        None => theirs(service, entry, meta, &verdict),
    }
    // The former value of who cannot be read goes on getting traffic: not when checks say that nobody is there.
    .map_err(|reason| match verdict.health {
        Health::Critical => Box::new(Outcome::Nobody),
        _ => refuse(&reason),
    })
}

/// An instance that callsign has registered.
fn ours(
    service: &ServiceKey,
    id: InstanceId,
    found: &Service,
    meta: &BTreeMap<String, String>,
    verdict: &Verdict,
) -> Result<Instance, String> {
    let needed = |key: &str| meta.get(key).ok_or_else(|| format!("its `{key}` is missing"));
    let broken = |key: &str, text: &str| format!("its `{key}` cannot be read: {}", shown(text));
    let pair = needed(PAIR)?;
    let pair = meta::parse_pair(pair).ok_or_else(|| broken(PAIR, pair))?;
    let status = needed(STATUS)?;
    let status: Status = status.parse().map_err(|_| broken(STATUS, status))?;
    let at = needed(REGISTERED_AT)?;
    let at = at.parse().ok().and_then(time_at).ok_or_else(|| broken(REGISTERED_AT, at))?;
    let endpoints = chunks::take(meta, ENDPOINTS).ok_or("its endpoints are missing")?;
    let endpoints: Vec<Endpoint> = endpoints
        .split(' ')
        .map(|text| Endpoint::new(text).map_err(|error| error.context().to_owned()))
        .collect::<Result<_, _>>()?;
    let builder = Instance::builder(service)
        .id(id)
        .endpoints(endpoints)
        .weight(if meta.contains_key(WEIGHT) { Weight::ZERO } else { weight(found) })
        .locality(locality(meta.get(REGION), meta.get(ZONE)))
        .status(status)
        .health(verdict.health)
        .all_metadata(meta::decode(meta)?)
        .pair(pair)
        .registered_at(at);
    let builder = match meta.get(VERSION) {
        Some(version) => builder.version(version.as_str()),
        None => builder,
    };
    builder.build().map_err(|error| error.context().to_owned())
}

/// An instance that other software has registered: whatever it says is taken as far as it makes sense.
fn theirs(
    service: &ServiceKey,
    entry: &Entry,
    meta: &BTreeMap<String, String>,
    verdict: &Verdict,
) -> Result<Instance, String> {
    let found = &entry.service;
    let tags = found.tags.as_deref().unwrap_or_default();
    let tagged = |name: &str| tags.iter().find_map(|tag| tag.strip_prefix(name)?.strip_prefix('='));
    let group = group_in(tags.iter().map(String::as_str)).next().or(meta.get("group").map(String::as_str));
    let group = group.and_then(|group| Group::new(group).ok()).unwrap_or_default();
    let builder = Instance::builder(service.clone().with_group(group))
        .id(found.id.as_str())
        .endpoints(their_endpoints(entry, meta)?)
        .weight(weight(found))
        .locality(locality(meta.get("region"), meta.get("zone")))
        .status(if verdict.maintenance { Status::Draining } else { Status::Up })
        .health(verdict.health)
        .all_metadata(Metadata::from_remote(meta.clone()))
        .pair(Pair::NONE)
        .registered_at(std::time::UNIX_EPOCH);
    let version = tagged("version").or(meta.get("version").map(String::as_str));
    let builder = match version.filter(|version| callsign_core::Version::new(version).is_ok()) {
        Some(version) => builder.version(version),
        None => builder,
    };
    builder.build().map_err(|error| error.context().to_owned())
}

/// Kratos writes one URL for each protocol; others have an address and a port, and Spring says whether it is secure.
fn their_endpoints(entry: &Entry, meta: &BTreeMap<String, String>) -> Result<Vec<Endpoint>, String> {
    let found = &entry.service;
    let tagged = found.tagged_addresses.iter().flatten();
    let urls: Vec<_> = tagged
        .filter(|(name, _)| !name.starts_with("lan") && !name.starts_with("wan"))
        .filter_map(|(_, tagged)| Endpoint::new(tagged.address.as_deref()?).ok())
        .collect();
    if !urls.is_empty() {
        return Ok(urls);
    }
    let node = entry.node.as_ref().and_then(|node| node.address.as_deref());
    let host = found.address.as_deref().filter(|address| !address.is_empty()).or(node);
    let host = host.ok_or("it has no address")?;
    let port = found.port.unwrap_or_default();
    let scheme = if meta.get("secure").is_some_and(|secure| secure == "true") { "https" } else { "http" };
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    let endpoint = Endpoint::new(format!("{scheme}://{open}{host}{close}:{port}"));
    endpoint.map(|endpoint| vec![endpoint]).map_err(|error| error.context().to_owned())
}

fn weight(found: &Service) -> Weight {
    let passing = found.weights.as_ref().and_then(|weights| weights.passing);
    let clamped = passing.unwrap_or(1).clamp(0, i64::from(u16::MAX));
    Weight::new(u16::try_from(clamped).unwrap_or(u16::MAX))
}

fn locality(region: Option<&String>, zone: Option<&String>) -> Locality {
    let text = |place: Option<&String>| place.map(String::as_str).unwrap_or_default().to_owned();
    Locality::unknown().with_region(text(region)).with_zone(text(zone))
}

/// What the checks of an entry say together.
#[derive(Debug, PartialEq, Eq)]
struct Verdict {
    health: Health,
    maintenance: bool,
}

impl Verdict {
    /// The worst of all checks, those of the node included. Maintenance says what an operator wants: of others'
    /// instances it is their status; ours have one of their own, and an operator takes them out as a check would.
    fn of(checks: &[Check], ours: bool) -> Self {
        let (mut health, mut maintenance) = (Health::Unknown, false);
        for check in checks {
            if is_maintenance(check) {
                let own = check.notes.as_deref().is_some_and(|notes| notes.starts_with(MAINTENANCE));
                maintenance |= !own;
                if ours && !own {
                    health = Health::Critical;
                }
                continue;
            }
            let says = match check.status.as_deref() {
                Some("passing") => Health::Passing,
                Some("warning") => Health::Warning,
                Some("critical") => Health::Critical,
                _ => Health::Unknown,
            };
            health = worse(health, says);
        }
        Self { health, maintenance }
    }
}

/// Whether a check is there only because somebody has taken the instance or its node out.
pub(crate) fn is_maintenance(check: &Check) -> bool {
    let id = check.id.as_deref().unwrap_or_default();
    id == "_node_maintenance" || id.starts_with("_service_maintenance:")
}

fn worse(a: Health, b: Health) -> Health {
    let rank = |health: Health| match health {
        Health::Passing => 1,
        Health::Warning => 2,
        Health::Critical => 3,
        _ => 0,
    };
    if rank(a) >= rank(b) { a } else { b }
}

fn shown(text: &str) -> String {
    let mut line: String = text.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        line.push_str("...");
    }
    line
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use callsign_core::{Namespace, Record, Ttl};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::config::{CheckConfig, Tenancy};

    fn orders() -> ServiceKey {
        ServiceKey::new("orders").unwrap().with_namespace(Namespace::new("shop").unwrap())
    }

    fn full() -> Instance {
        let blue = orders().with_group(Group::new("blue").unwrap());
        Instance::builder(blue)
            .id("O-1")
            .endpoint("grpcs://10.0.0.5:9000")
            .endpoint("http://[::1]:80")
            .endpoint("http://10.0.0.5:80")
            .version("v1.4.0")
            .weight(7)
            .locality(Locality::unknown().with_region("eu").with_zone("eu-a"))
            .status(Status::OutOfService)
            .metadata("颜色", "蓝")
            .metadata("colour", "blue")
            .metadata("version", "mine")
            .pair(Pair::new(u64::MAX, 4))
            .registered_at(UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789))
            .build()
            .unwrap()
    }

    /// What Consul lists of an instance that was registered.
    fn listed(instance: &Instance, checks: &Value) -> Value {
        let record = Record::new(instance.clone(), Ttl::default());
        let registration = super::super::encode(&Tenancy::Prefix, &CheckConfig::default(), &record).unwrap();
        let mut service: Value = serde_json::from_slice(&registration.body().unwrap()).unwrap();
        service["Service"] = service["Name"].take();
        service["ModifyIndex"] = 17.into();
        json!({"Node": {"Node": "n1", "Address": "10.1.1.1"}, "Service": service, "Checks": checks})
    }

    fn read(value: &Value) -> Result<Instance, Skipped> {
        match decode(&orders(), "shop--orders", &value.to_string()) {
            Outcome::Instance(instance, _) => Ok(*instance),
            Outcome::Skipped(_, skipped) => Err(skipped),
            Outcome::Nobody => panic!("foreign"),
        }
    }

    #[test]
    fn an_instance_comes_back_as_it_was() {
        let passing = json!([{"CheckID": "serfHealth", "Status": "passing"}]);
        let mut expected = full();
        expected.health = Health::Passing;
        assert_eq!(read(&listed(&full(), &passing)).unwrap(), expected);
        let idle = full().to_builder().weight(0).build().unwrap();
        assert_eq!(read(&listed(&idle, &Value::Null)).unwrap(), idle);
    }

    #[test]
    fn the_worst_check_counts_and_our_own_maintenance_does_not() {
        let checks = |checks: &[(&str, &str, &str)]| {
            let check = |(id, status, notes): &(&str, &str, &str)| json!({"CheckID": id, "Status": status, "Notes": notes});
            Value::Array(checks.iter().map(check).collect())
        };
        let ttl = |status| ("service:x", status, "");
        for (found, health) in [
            (vec![ttl("passing"), ("serfHealth", "critical", "")], Health::Critical),
            (vec![ttl("warning"), ("serfHealth", "passing", "")], Health::Warning),
            (vec![], Health::Unknown),
            (
                vec![ttl("passing"), ("_service_maintenance:x", "critical", "callsign: draining")],
                Health::Passing,
            ),
            (vec![ttl("passing"), ("_service_maintenance:x", "critical", "by hand")], Health::Critical),
            (vec![ttl("passing"), ("_node_maintenance", "critical", "")], Health::Critical),
        ] {
            let read = read(&listed(&full(), &checks(&found))).unwrap();
            assert_eq!((read.health, read.status), (health, Status::OutOfService), "{found:?}");
        }
    }

    #[test]
    fn instances_of_other_software_are_read_as_far_as_they_make_sense() {
        let kratos = json!({
            "Node": {"Address": "10.1.1.1"},
            "Service": {
                "ID": "k-1", "Service": "shop--orders", "Tags": ["version=v2", "x"], "Port": 8000, "Address": "",
                "TaggedAddresses": {
                    "grpc": {"Address": "grpc://10.0.0.1:9000", "Port": 9000},
                    "lan_ipv4": {"Address": "10.0.0.1", "Port": 8000},
                },
                "Meta": {"zone": "a", "colour": "blue"}, "Weights": {"Passing": 3, "Warning": 1},
            },
            "Checks": [{"CheckID": "_node_maintenance", "Status": "critical"}],
        });
        let found = read(&kratos).unwrap();
        assert_eq!(
            found.endpoints.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["grpc://10.0.0.1:9000"]
        );
        assert_eq!((found.id().as_str(), found.weight.get(), found.pair()), ("k-1", 3, Pair::NONE));
        assert_eq!(found.version.unwrap().as_str(), "v2");
        assert_eq!(found.locality.zone.as_deref(), Some("a"));
        assert_eq!((found.status, found.health), (Status::Draining, Health::Unknown));
        assert_eq!(found.metadata.get("colour"), Some("blue"));

        let plain = json!({
            "Node": {"Address": "10.1.1.1"},
            "Service": {"ID": "p", "Service": "shop--orders", "Port": 80, "Meta": null, "Tags": null},
            "Checks": null,
        });
        let found = read(&plain).unwrap();
        assert_eq!(found.endpoints.primary().to_string(), "http://10.1.1.1:80");
        assert_eq!((found.weight.get(), found.status), (1, Status::Up));
    }

    #[test]
    fn what_cannot_be_read_is_skipped_with_its_id_and_a_reason() {
        let good = listed(&full(), &Value::Null);
        let with = |path: &str, value: Value| {
            let mut entry = good.clone();
            *entry.pointer_mut(path).unwrap() = value;
            read(&entry).unwrap_err()
        };
        for (path, value, reason) in [
            ("/Service/Meta/callsign-pair", json!("x"), "its `callsign-pair` cannot be read: x"),
            ("/Service/Meta/callsign-status", json!("down"), "its `callsign-status` cannot be read: down"),
            ("/Service/Meta", json!({}), "its `callsign-pair` is missing"),
        ] {
            let skipped = with(path, value);
            assert_eq!((&*skipped.id, &*skipped.reason), ("O-1", reason));
        }
        let odd = with("/Service/Port", json!("80"));
        assert!(odd.reason.contains("invalid type"), "{odd:?}");
        let foreign = with("/Service/ID", json!("x"));
        assert_eq!((&*foreign.id, &*foreign.reason), ("x", "its id is not one that callsign makes"));
        let port = json!({"Service": {"ID": "p", "Service": "shop--orders", "Port": 70000, "Address": "h"}});
        assert!(read(&port).unwrap_err().reason.contains("has the port `70000`"));
    }

    #[test]
    fn who_cannot_be_read_and_is_critical_is_nobody() {
        let broken = |status: &str| {
            let checks = json!([{"CheckID": "x", "Status": status}]);
            let mut entry = listed(&full(), &checks);
            entry["Service"]["Meta"][PAIR] = "none".into();
            decode(&orders(), "shop--orders", &entry.to_string())
        };
        assert!(matches!(broken("passing"), Outcome::Skipped(..)));
        assert!(matches!(broken("critical"), Outcome::Nobody));
    }

    #[test]
    fn a_service_that_differs_in_case_is_another_one() {
        let mut entry = listed(&full(), &Value::Null);
        entry["Service"]["Service"] = "shop--Orders".into();
        assert!(matches!(decode(&orders(), "shop--orders", &entry.to_string()), Outcome::Nobody));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC{0,80}", id in "\\PC{0,30}", value in "\\PC{0,30}", port: i64) {
            let _ = decode(&orders(), "x", &text);
            let entry = json!({"Service": {"ID": id, "Service": "x", "Port": port, "Address": value,
                "Meta": {"callsign-pair": value, "callsign-x0": value, "callsign-e0": value}}});
            let _ = decode(&orders(), "x", &entry.to_string());
        }
    }
}
