//! What the store on disk gives an application that starts while no registry answers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use callsign_benches::fleet;
use callsign_client::{Client, Freshness};
use callsign_core::{Backend, Error, Record, Registry, Ttl};
use callsign_memory::{Fault, Memory, Store};
use tokio::runtime;
use tokio::time::timeout;

use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

/// A backend over a store.
type Over = fn(&Store) -> Result<Arc<dyn Backend>>;

const INSTANCES: usize = 10_000;
const STARTS: usize = 30;
const WITHIN: Duration = Duration::from_secs(10);

/// From building a client, over a registry that is down, to a view that shows what was saved. The file is in the
/// page cache.
pub(crate) fn cold_start() -> Result<Vec<Measure>> {
    cold_start_over("disk.cold_start_10k", |store| Ok(Arc::new(Memory::new(store.clone(), "main"))))
}

/// The same, over what `backend` makes of the store.
pub(crate) fn cold_start_over(name: &str, backend: Over) -> Result<Vec<Measure>> {
    let folder = tempfile::tempdir()?;
    let durations = runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        let store = Store::new();
        let _down = store.inject(Fault::Unavailable);
        save(&store_with_instances().await?, folder.path(), &store, backend).await?;
        let mut durations = Vec::with_capacity(STARTS);
        for _ in 0..STARTS {
            let clock = Stopwatch::start();
            let seen = start(&store, folder.path(), WITHIN, backend).await?;
            durations.push(clock.elapsed());
            ensure!(seen == INSTANCES, "{seen} instances were read");
        }
        anyhow::Ok(durations)
    })?;
    let samples = Samples::new(durations, "starts");
    Ok(vec![Measure::p50(name, &samples, Unit::Milliseconds, 300.0)])
}

async fn store_with_instances() -> Result<Store> {
    let store = Store::new();
    let memory = Memory::new(store.clone(), "main");
    let ttl = Ttl::new(Ttl::MAX)?;
    for instance in fleet::instances(&fleet::service()?, INSTANCES)? {
        memory.register(&Record::new(instance, ttl)).await?;
    }
    Ok(store)
}

/// Runs a client over `up` until a start over `down` finds its file.
async fn save(up: &Store, folder: &Path, down: &Store, backend: Over) -> Result<()> {
    let client = Client::builder(backend(up)?).store_dir(folder).build()?;
    let _view = client.service(fleet::service()?);
    let found = async { while !matches!(start(down, folder, WITHIN / 20, backend).await, Ok(INSTANCES)) {} };
    timeout(WITHIN, found).await.map_err(|_| Error::timeout("the client did not save its view"))?;
    Ok(())
}

/// A client starts while `store` is down; how many instances its view has read.
async fn start(store: &Store, folder: &Path, within: Duration, backend: Over) -> Result<usize> {
    let client = Client::builder(backend(store)?).store_dir(folder).build()?;
    let view = client.service(fleet::service()?);
    let snapshot = view.ready(within).await?;
    let freshness = &snapshot.freshness;
    ensure!(matches!(freshness, Freshness::Bootstrap { .. }), "the view is {}", freshness.as_str());
    Ok(snapshot.instances.len())
}
