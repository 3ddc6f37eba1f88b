//! On real servers: what callsign adds to etcd, and what it takes away from etcd's bad days.

pub(crate) mod arrival;
mod fleet;
pub(crate) mod many;
pub(crate) mod members;
mod metrics;
pub(crate) mod outages;

use std::sync::Arc;

use anyhow::Result;
use callsign_etcd::EtcdConfig;
use callsign_integration_tests::etcd::{Etcd, Options, PREFIX, Version};
use tokio::runtime::{self, Runtime};

use crate::measure::Skipped;

/// The version that is measured.
const VERSION: Version = Version::V3_5;

/// An etcd of its own for a measure.
async fn start(options: Options) -> Result<Arc<Etcd>> {
    options.version.program().map_err(Skipped)?;
    Ok(Etcd::start(options).await?)
}

/// One member.
fn alone() -> Options {
    Options::new(VERSION)
}

/// A backend of its own: a connection that nobody else uses.
fn backend(endpoints: Vec<String>) -> Result<Arc<callsign_etcd::Etcd>> {
    let config = EtcdConfig::default().with_endpoints(endpoints).with_prefix(PREFIX);
    Ok(Arc::new(callsign_etcd::Etcd::new(&config, "main")?))
}

/// As an application has it.
fn runtime() -> Result<Runtime> {
    Ok(runtime::Builder::new_multi_thread().enable_all().build()?)
}
