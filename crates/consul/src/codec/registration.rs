//! What is sent to an agent to register an instance.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callsign_core::{Endpoint, Error, Instance, Record, Result, Retry, Weight};
use serde::Serialize;

use super::names::{Place, check_id, check_id_of_probe, group_tag, instance_id};
use super::{MAX_METADATA, meta};
use crate::config::{CheckConfig, CheckKind, Tenancy};

/// A service as the agent's API takes it. Consul refuses fields that it does not know, so there are no more than needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Registration {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) tags: Vec<String>,
    pub(crate) address: String,
    pub(crate) port: u16,
    pub(crate) meta: BTreeMap<String, String>,
    tagged_addresses: BTreeMap<String, Tagged>,
    weights: Weights,
    checks: Vec<Check>,
    /// Consul Enterprise's namespace.
    #[serde(skip)]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tagged {
    address: String,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Weights {
    passing: u16,
    warning: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID")]
    id: String,
    name: &'static str,
    /// Of a check that is new: the record is written by its living owner.
    status: &'static str,
    deregister_critical_service_after: String,
    #[serde(rename = "TTL", skip_serializing_if = "Option::is_none")]
    ttl: Option<String>,
    #[serde(rename = "HTTP", skip_serializing_if = "Option::is_none")]
    http: Option<String>,
    #[serde(rename = "TCP", skip_serializing_if = "Option::is_none")]
    tcp: Option<String>,
    #[serde(rename = "GRPC", skip_serializing_if = "Option::is_none")]
    grpc: Option<String>,
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "std::ops::Not::not")]
    grpc_use_tls: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
}

impl Registration {
    /// The body of the request.
    ///
    /// # Errors
    /// `Unexpected` and permanent, should JSON refuse it.
    pub(crate) fn body(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| {
            Error::unexpected(format!("cannot turn the instance {} into JSON", self.id))
                .with_retry(Retry::Permanent)
                .with_source(error)
        })
    }

    /// Whether the agent makes a check beside the ttl.
    pub(crate) fn has_probe(&self) -> bool {
        self.checks.len() > 1
    }
}

/// What is sent to register `record`.
///
/// # Errors
/// `LimitExceeded` for what Consul cannot hold, `InvalidInput` for an instance that nothing can be checked of, or that
/// Consul does not take.
pub(crate) fn encode(tenancy: &Tenancy, check: &CheckConfig, record: &Record) -> Result<Registration> {
    let instance = &*record.instance;
    let place = Place::of(tenancy, &instance.key.service)?;
    let (id, primary) = (instance_id(&instance.key), instance.endpoints.primary());
    if primary.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) {
        return Err(Error::invalid_input(format!(
            "the endpoint `{primary}` of {} is no address that others can reach: name one",
            instance.key
        )));
    }
    let mut tags = vec![group_tag(&instance.key.service.group)];
    tags.extend(instance.version.as_ref().map(|version| format!("version={version}")));
    let mut checks = vec![ttl_check(check, &id, record.ttl.get())];
    checks.extend(probe(check, &id, instance)?);
    let weight = instance.weight.max(Weight::new(1)).get();
    Ok(Registration {
        name: place.name,
        namespace: place.namespace,
        tags,
        address: primary.host.to_string(),
        port: primary.port.get(),
        meta: meta::encode(instance)?,
        tagged_addresses: tagged(&instance.endpoints),
        weights: Weights { passing: weight, warning: weight },
        checks,
        id,
    })
}

/// The first endpoint of each protocol, as Kratos writes and reads it.
fn tagged(endpoints: &[Endpoint]) -> BTreeMap<String, Tagged> {
    let mut tagged = BTreeMap::new();
    for endpoint in endpoints {
        let url = endpoint.to_string();
        let Some((scheme, _)) = url.split_once("://") else { continue };
        // Consul's own begin so.
        if ["lan", "wan", "consul"].iter().any(|own| scheme.starts_with(own)) {
            continue;
        }
        let port = endpoint.port.get();
        tagged.entry(scheme.to_owned()).or_insert_with(|| Tagged { address: url.clone(), port });
    }
    tagged
}

fn ttl_check(config: &CheckConfig, id: &str, ttl: Duration) -> Check {
    Check {
        id: check_id(id),
        name: "callsign: renewed by its owner",
        status: "passing",
        deregister_critical_service_after: text(config.deregister_after),
        ttl: Some(text(ttl)),
        ..Check::default()
    }
}

fn probe(config: &CheckConfig, id: &str, instance: &Instance) -> Result<Option<Check>> {
    let of = |protocol: &str| {
        instance.endpoints.by_protocol(protocol).ok_or_else(|| {
            Error::invalid_input(format!(
                "{} has no `{protocol}` endpoint that `check.kind = \"{protocol}\"` could ask",
                instance.key
            ))
        })
    };
    let mut check = Check {
        id: check_id_of_probe(id),
        name: "callsign: checked by the agent",
        status: "passing",
        deregister_critical_service_after: text(config.deregister_after),
        interval: Some(text(config.interval)),
        timeout: Some(text(config.timeout)),
        ..Check::default()
    };
    match config.kind {
        CheckKind::Ttl => return Ok(None),
        CheckKind::Http => {
            let endpoint = of("http")?;
            let scheme = if endpoint.secure { "https" } else { "http" };
            check.http = Some(format!("{scheme}://{}{}", endpoint.authority(), config.path));
        }
        CheckKind::Tcp => check.tcp = Some(instance.endpoints.primary().authority()),
        CheckKind::Grpc => {
            let endpoint = of("grpc")?;
            check.grpc = Some(endpoint.authority());
            check.grpc_use_tls = endpoint.secure;
        }
    }
    Ok(Some(check))
}

/// A duration as Consul reads it.
fn text(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// Nanoseconds since 1970, as far as they can be told.
pub(super) fn nanos(at: SystemTime) -> i64 {
    let nanos = |span: Duration| i64::try_from(span.as_nanos());
    match at.duration_since(UNIX_EPOCH) {
        Ok(after) => nanos(after).unwrap_or(i64::MAX),
        Err(before) => nanos(before.duration()).map_or(i64::MIN, |nanos| -nanos),
    }
}

/// The time so many nanoseconds after 1970.
pub(super) fn time_at(nanos: i64) -> Option<SystemTime> {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    if nanos < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
}

const _: () = assert!(MAX_METADATA < u16::MAX as usize, "lengths of packed values have two bytes");

#[cfg(test)]
mod tests {
    use callsign_core::{Pair, Ttl};

    use super::*;

    fn record(endpoint: &str) -> Record {
        let builder =
            Instance::builder("orders").id("o-1").endpoint(endpoint).endpoint("grpcs://10.0.0.5:9000");
        let builder = builder.version("1.4.0").weight(0).pair(Pair::new(3, 4)).registered_at(UNIX_EPOCH);
        Record::new(builder.metadata("colour", "blue").build().unwrap(), Ttl::default())
    }

    fn json(check: &CheckConfig) -> serde_json::Value {
        let registration = encode(&Tenancy::Prefix, check, &record("http://10.0.0.5:80")).unwrap();
        serde_json::from_slice(&registration.body().unwrap()).unwrap()
    }

    #[test]
    fn the_format_is_the_documented_one() {
        assert_eq!(
            json(&CheckConfig::default()),
            serde_json::json!({
                "ID": "default:default:orders:o-1",
                "Name": "orders",
                "Tags": ["group=default", "version=1.4.0"],
                "Address": "10.0.0.5",
                "Port": 80,
                "Meta": {
                    "callsign-e0": "http://10.0.0.5:80 grpcs://10.0.0.5:9000",
                    "callsign-pair": "3.4",
                    "callsign-registered-at": "0",
                    "callsign-status": "up",
                    "callsign-version": "1.4.0",
                    "callsign-weight": "0",
                    "colour": "blue",
                },
                "TaggedAddresses": {
                    "http": {"Address": "http://10.0.0.5:80", "Port": 80},
                    "grpcs": {"Address": "grpcs://10.0.0.5:9000", "Port": 9000},
                },
                "Weights": {"Passing": 1, "Warning": 1},
                "Checks": [{
                    "CheckID": "service:default:default:orders:o-1",
                    "Name": "callsign: renewed by its owner",
                    "Status": "passing",
                    "TTL": "15000ms",
                    "DeregisterCriticalServiceAfter": "300000ms",
                }],
            })
        );
    }

    #[test]
    fn the_agent_can_check_what_an_instance_offers() {
        let check = |kind| json(&CheckConfig::default().with_kind(kind))["Checks"][1].clone();
        assert_eq!(check(CheckKind::Http)["HTTP"], "http://10.0.0.5:80/health");
        assert_eq!(check(CheckKind::Http)["Interval"], "10000ms");
        assert_eq!(check(CheckKind::Tcp)["TCP"], "10.0.0.5:80");
        assert_eq!(check(CheckKind::Grpc)["GRPC"], "10.0.0.5:9000");
        assert_eq!(check(CheckKind::Grpc)["GRPCUseTLS"], true);
        let http = CheckConfig::default().with_kind(CheckKind::Http);
        assert_eq!(
            encode(&Tenancy::Prefix, &http, &record("tcp://10.0.0.5:80")).unwrap_err().to_string(),
            "default/default/orders#o-1 has no `http` endpoint that `check.kind = \"http\"` could ask"
        );
    }

    #[test]
    fn an_address_that_nobody_can_reach_is_refused() {
        for host in ["0.0.0.0", "[::]"] {
            let record = record(&format!("http://{host}:80"));
            let error = encode(&Tenancy::Prefix, &CheckConfig::default(), &record).unwrap_err().to_string();
            assert!(error.ends_with("is no address that others can reach: name one"), "{error}");
        }
    }

    #[test]
    fn the_first_and_the_last_time_come_back() {
        for count in [i64::MIN, -1, 0, 1, i64::MAX] {
            assert_eq!(time_at(count).map(nanos), Some(count));
        }
    }
}
