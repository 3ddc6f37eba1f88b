//! What is asked and answered, as JSON.
//!
//! Everything is sent, and nothing is expected: r-nacos refuses a message that lacks a field, and each version of Nacos
//! leaves out or adds others.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A question, and what its answer holds.
pub(crate) trait Request: Serialize + Sync {
    /// The simple name of its class.
    const TYPE: &'static str;
    type Answer: DeserializeOwned + Send;
}

macro_rules! requests {
    ($($request:ty => $answer:ty;)*) => {$(
        impl Request for $request {
            const TYPE: &'static str = class(stringify!($request));
            type Answer = $answer;
        }
    )*};
}

/// The name of a type without its lifetime.
const fn class(text: &'static str) -> &'static str {
    let bytes = text.as_bytes();
    let mut end = 0;
    while end < bytes.len() && bytes[end].is_ascii_alphanumeric() {
        end += 1;
    }
    text.split_at(end).0
}

requests! {
    ServerCheckRequest => ServerCheck;
    HealthCheckRequest => Nothing;
    InstanceRequest<'_> => Nothing;
    BatchInstanceRequest<'_> => Nothing;
    ServiceQueryRequest<'_> => Queried;
    SubscribeServiceRequest<'_> => Queried;
    ServiceListRequest<'_> => ServiceList;
}

/// Who is there.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ServerCheckRequest {}

/// Whether the connection is known.
#[derive(Debug, Default, Serialize)]
pub(crate) struct HealthCheckRequest {}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Verb {
    #[serde(rename = "registerInstance")]
    Register,
    #[serde(rename = "deregisterInstance")]
    Deregister,
    #[serde(rename = "batchRegisterInstance")]
    Batch,
}

/// One instance is published, or what is published is withdrawn.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceRequest<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) group_name: &'a str,
    pub(crate) service_name: &'a str,
    pub(crate) r#type: Verb,
    pub(crate) instance: &'a Host,
}

/// Several instances are published instead of what was.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchInstanceRequest<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) group_name: &'a str,
    pub(crate) service_name: &'a str,
    pub(crate) r#type: Verb,
    pub(crate) instances: Vec<&'a Host>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceQueryRequest<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) group_name: &'a str,
    pub(crate) service_name: &'a str,
    pub(crate) cluster: &'static str,
    pub(crate) healthy_only: bool,
    pub(crate) udp_port: u16,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SubscribeServiceRequest<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) group_name: &'a str,
    pub(crate) service_name: &'a str,
    pub(crate) subscribe: bool,
    /// Always all: there is one filter for each connection and service.
    pub(crate) clusters: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceListRequest<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) group_name: &'a str,
    pub(crate) service_name: &'static str,
    pub(crate) page_no: u32,
    pub(crate) page_size: u32,
    pub(crate) selector: &'static str,
}

/// The first message on the stream.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConnectionSetupRequest {
    pub(crate) client_version: &'static str,
    pub(crate) tenant: &'static str,
    /// `module` has to be `naming`: only of such connections instances go when they end.
    pub(crate) labels: BTreeMap<&'static str, &'static str>,
    /// A server tells its own abilities only to who has told some.
    pub(crate) ability_table: BTreeMap<&'static str, bool>,
}

/// What is answered on the stream.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Acknowledgement {
    pub(crate) result_code: u16,
    pub(crate) request_id: String,
}

/// What is said of every answer.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Outcome {
    pub(crate) result_code: i64,
    pub(crate) error_code: i64,
    pub(crate) message: Option<String>,
}

/// An answer of which nothing else matters.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Nothing {}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServerCheck {
    pub(crate) connection_id: Option<String>,
    pub(crate) support_ability_negotiation: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceList {
    pub(crate) count: u64,
    pub(crate) service_names: Option<Vec<String>>,
}

/// Whatever holds a service: an answer, or what the server sends by itself.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Queried {
    pub(crate) service_info: Option<ServiceInfo>,
}

/// A service as a whole.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ServiceInfo {
    pub(crate) name: Option<String>,
    pub(crate) group_name: Option<String>,
    pub(crate) hosts: Option<Vec<Box<RawValue>>>,
    /// By the server's clock, in milliseconds.
    pub(crate) last_ref_time: i64,
    /// Whether all are said to be healthy because too few are.
    pub(crate) reach_protection_threshold: bool,
}

/// Which service the server sends by itself.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Notification {
    pub(crate) request_id: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) group_name: Option<String>,
    pub(crate) service_name: Option<String>,
}

/// Something else that a server asks for on the stream.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Asked {
    pub(crate) request_id: Option<String>,
    pub(crate) server_ip: Option<String>,
    pub(crate) server_port: Option<Text>,
    pub(crate) ability_table: Option<BTreeMap<String, bool>>,
}

/// What some versions write as a number, and others as text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Text {
    Text(String),
    Number(u64),
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
        }
    }
}

/// An instance as Nacos has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Host {
    pub(crate) ip: String,
    pub(crate) port: u32,
    #[serde(default = "one")]
    pub(crate) weight: f64,
    #[serde(default = "yes")]
    pub(crate) healthy: bool,
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    #[serde(default = "yes")]
    pub(crate) ephemeral: bool,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) cluster_name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) metadata: BTreeMap<String, String>,
}

const fn one() -> f64 {
    1.0
}

const fn yes() -> bool {
    true
}

/// `null` is what is not there.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_names_of_their_classes() {
        assert_eq!(ServerCheckRequest::TYPE, "ServerCheckRequest");
        assert_eq!(InstanceRequest::TYPE, "InstanceRequest");
        assert_eq!(SubscribeServiceRequest::TYPE, "SubscribeServiceRequest");
    }

    #[test]
    fn every_field_of_an_instance_is_sent() {
        let host = Host {
            ip: "10.0.0.5".to_owned(),
            port: 80,
            weight: 1.0,
            healthy: true,
            enabled: true,
            ephemeral: true,
            cluster_name: "DEFAULT".to_owned(),
            metadata: BTreeMap::new(),
        };
        let request = InstanceRequest {
            namespace: "public",
            group_name: "DEFAULT_GROUP",
            service_name: "orders",
            r#type: Verb::Register,
            instance: &host,
        };
        let expected = r#"{"namespace":"public","groupName":"DEFAULT_GROUP","serviceName":"orders","type":"registerInstance","instance":{"ip":"10.0.0.5","port":80,"weight":1.0,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT","metadata":{}}}"#;
        assert_eq!(serde_json::to_string(&request).unwrap(), expected);
    }

    #[test]
    fn what_a_version_leaves_out_or_adds_does_not_matter() {
        let json = r#"{"resultCode":200,"requestId":null,"serviceInfo":{"name":"g@@s","clusters":null,"allIps":false,
            "hosts":[{"instanceId":"x","ip":"h","port":1,"clusterName":null,"metadata":null,"instanceHeartBeatInterval":5000}]}}"#;
        let queried: Queried = serde_json::from_str(json).unwrap();
        let hosts = queried.service_info.unwrap().hosts.unwrap();
        let host: Host = serde_json::from_str(hosts[0].get()).unwrap();
        assert!(host.healthy && host.metadata.is_empty() && host.cluster_name.is_empty());
        let reset: Asked = serde_json::from_str(r#"{"serverIp":"h","serverPort":8848}"#).unwrap();
        assert_eq!(reset.server_port.unwrap().to_string(), "8848");
        let none: Queried = serde_json::from_str(r#"{"serviceInfo":null}"#).unwrap();
        assert!(none.service_info.is_none());
    }
}
