//! What Consul answers, as far as it is read. Everything may be missing: versions differ in what is `null`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An entry of `/v1/health/service/<name>`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Entry {
    pub(crate) node: Option<Node>,
    pub(crate) service: Service,
    pub(crate) checks: Option<Vec<Check>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Node {
    pub(crate) address: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Service {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "Service")]
    pub(crate) name: String,
    pub(crate) tags: Option<Vec<String>>,
    pub(crate) address: Option<String>,
    pub(crate) tagged_addresses: Option<BTreeMap<String, Tagged>>,
    pub(crate) meta: Option<BTreeMap<String, String>>,
    /// Whatever was registered: 70000 is taken, and comes back.
    pub(crate) port: Option<i64>,
    pub(crate) weights: Option<Weights>,
    pub(crate) modify_index: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tagged {
    pub(crate) address: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Weights {
    pub(crate) passing: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Check {
    #[serde(rename = "CheckID")]
    pub(crate) id: Option<String>,
    pub(crate) status: Option<String>,
    pub(crate) notes: Option<String>,
}

/// As much of an entry as names it, where the rest cannot be read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Named {
    pub(crate) service: NamedService,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct NamedService {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    pub(crate) service: Option<String>,
}

/// An entry of `/v1/catalog/service/<name>`.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct CatalogEntry {
    #[serde(rename = "ServiceID")]
    pub(crate) id: String,
    #[serde(rename = "ServiceAddress")]
    pub(crate) address: Option<String>,
    #[serde(rename = "ServicePort")]
    pub(crate) port: Option<i64>,
    #[serde(rename = "ServiceMeta")]
    pub(crate) meta: Option<BTreeMap<String, String>>,
}

/// What an agent knows of one of its own services: `/v1/agent/health/service/id/<id>`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Own {
    pub(crate) aggregated_status: String,
    pub(crate) service: Option<OwnService>,
    pub(crate) checks: Option<Vec<Check>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct OwnService {
    pub(crate) address: Option<String>,
    pub(crate) port: Option<i64>,
    pub(crate) meta: Option<BTreeMap<String, String>>,
}
