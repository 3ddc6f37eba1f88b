//! On real servers: what callsign adds to ZooKeeper.

pub(crate) mod arrival;
pub(crate) mod many;

use std::sync::Arc;

use anyhow::Result;
use callsign_core::Backend;
use callsign_integration_tests::zookeeper::{Options, Version, ZooKeeper, config};
use tokio::runtime::{self, Runtime};

use crate::measure::Skipped;

/// A single server of its own for a measure.
async fn start() -> Result<Arc<ZooKeeper>> {
    let options = Options::new(Version::V3_9);
    options.version.jar().map_err(Skipped)?;
    Ok(ZooKeeper::start(options).await?)
}

/// A backend of its own: sessions that nobody else uses.
fn backend(zookeeper: &ZooKeeper) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(callsign_zookeeper::ZooKeeper::new(&config(zookeeper), "main")?))
}

/// As an application has it.
fn runtime() -> Result<Runtime> {
    Ok(runtime::Builder::new_multi_thread().enable_all().build()?)
}
