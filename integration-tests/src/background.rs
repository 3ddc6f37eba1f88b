//! The runtime of what outlives a single test, such as the proxies of a server that several tests use in turn.

use std::sync::LazyLock;

use callsign_core::task::Spawner;
use callsign_core::{Error, Result};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<std::io::Result<Runtime>> = LazyLock::new(|| {
    Builder::new_multi_thread().worker_threads(2).thread_name("background").enable_all().build()
});

/// Spawns on the runtime that lives as long as the process.
pub(crate) fn spawner() -> Result<Spawner> {
    match &*RUNTIME {
        Ok(runtime) => {
            let _inside = runtime.enter();
            Spawner::current()
        }
        Err(error) => Err(Error::unexpected(format!("no runtime in the background: {error}"))),
    }
}
