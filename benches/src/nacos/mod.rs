//! What callsign needs on r-nacos, and on a fake whose push delay is known.

pub(crate) mod arrival;
pub(crate) mod outages;

use std::sync::Arc;

use anyhow::Result;
use callsign_core::Backend;
use callsign_integration_tests::nacos::{self, RNacos, RNacosOptions, config_of_rnacos};
use callsign_nacos::Nacos;
use tokio::runtime::{self, Runtime};

use crate::measure::Skipped;

/// A single r-nacos of its own for a measure.
async fn start() -> Result<Arc<RNacos>> {
    nacos::program().map_err(Skipped)?;
    Ok(RNacos::start(RNacosOptions::default()).await?)
}

/// A backend of its own: a connection that nobody else uses.
fn backend(rnacos: &RNacos) -> Result<Arc<dyn Backend>> {
    Ok(Arc::new(Nacos::new(&config_of_rnacos(rnacos), "main")?))
}

/// As an application has it.
fn runtime() -> Result<Runtime> {
    Ok(runtime::Builder::new_multi_thread().enable_all().build()?)
}
