//! callsign on real Consul agents.

pub(crate) mod agents;
pub(crate) mod arrival;
pub(crate) mod large;
mod raw;

use std::sync::Arc;

use anyhow::Result;
use callsign_integration_tests::consul::{Consul, Options, config, program};
use tokio::runtime::{self, Runtime};

use crate::measure::Skipped;

/// A Consul of its own for a measure.
async fn start(options: Options) -> Result<Arc<Consul>> {
    program().map_err(Skipped)?;
    Ok(Consul::start(options).await?)
}

/// A backend of its own: connections that nobody else uses.
fn backend(consul: &Consul) -> Result<Arc<callsign_consul::Consul>> {
    Ok(Arc::new(callsign_consul::Consul::new(&config(consul)?, "main")?))
}

/// As an application has it.
fn runtime() -> Result<Runtime> {
    Ok(runtime::Builder::new_multi_thread().enable_all().build()?)
}
