//! How long it takes until others see who has registered: through the backend, and with nothing but `zookeeper-client`,
//! in turn, on one ZooKeeper.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use callsign_benches::fleet;
use callsign_core::{Backend, Record, ServiceKey, Ttl, WatchEvent, WatchStream};
use callsign_integration_tests::zookeeper::{Raw, ZooKeeper};
use futures::StreamExt;
use tokio::time::timeout;
use zookeeper_client as zk;

use super::{backend, runtime, start};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const OTHERS: usize = 100;
const ARRIVALS: usize = 1_000;
const WARM_UP: usize = 100;
const WITHIN: Duration = Duration::from_secs(10);
/// What callsign may take of the raw client's time.
const RATIO: f64 = 1.3;
/// What the slowest may take on top: two tasks of ours have to get their turn, on a machine that others use, too.
const ADDED_MS: f64 = 1.0;

/// An instance arrives in a service that has 100 others: from the call until somebody else, over another connection,
/// has read it. It leaves before the next one comes.
pub(crate) fn register_to_seen() -> Result<Vec<Measure>> {
    let [raw, backend] = runtime()?.block_on(arrivals())?;
    let (raw, backend) = (Samples::new(raw, "arrivals"), Samples::new(backend, "arrivals"));
    let (p50, p99) = (raw.p50() * 1e3, raw.p99() * 1e3);
    Ok(vec![
        Measure::p50("zookeeper.register_to_seen", &backend, Unit::Milliseconds, RATIO * p50).beside(p50),
        Measure::p99("zookeeper.register_to_seen_p99", &backend, Unit::Milliseconds, RATIO * p99 + ADDED_MS)
            .beside(p99),
    ])
}

async fn arrivals() -> Result<[Vec<Duration>; 2]> {
    let zookeeper = start().await?;
    let mut with_backend = WithBackend::begin(&zookeeper).await?;
    let mut raw = WithLibrary::begin(&zookeeper).await?;
    let mut durations = [const { Vec::new() }; 2];
    for round in 0..WARM_UP + ARRIVALS {
        let taken = [
            timeout(WITHIN, raw.arrival(round)).await??,
            timeout(WITHIN, with_backend.arrival(round)).await??,
        ];
        if round >= WARM_UP {
            durations.iter_mut().zip(taken).for_each(|(durations, taken)| durations.push(taken));
        }
    }
    Ok(durations)
}

struct WithBackend {
    service: ServiceKey,
    registering: Arc<dyn Backend>,
    watch: WatchStream,
}

impl WithBackend {
    async fn begin(zookeeper: &ZooKeeper) -> Result<Self> {
        let service = ServiceKey::new("payments")?;
        let registering = backend(zookeeper)?;
        for other in fleet::instances(&service, OTHERS)? {
            registering.register(&Record::new(other, Ttl::new(Ttl::MAX)?)).await?;
        }
        let watch = backend(zookeeper)?.watch(&service);
        let mut this = Self { service, registering, watch };
        this.wait_for("", false).await?;
        Ok(this)
    }

    async fn arrival(&mut self, round: usize) -> Result<Duration> {
        let instance = Arc::new(fleet::instance(&self.service, OTHERS + round)?);
        let record = Record::new(instance, Ttl::default());
        let id = record.instance.id().as_str();
        let clock = Stopwatch::start();
        self.registering.register(&record).await?;
        self.wait_for(id, true).await?;
        let elapsed = clock.elapsed();
        self.registering.deregister(&record).await?;
        self.wait_for(id, false).await?;
        Ok(elapsed)
    }

    /// Waits for a listing that has `id`, or has not.
    async fn wait_for(&mut self, id: &str, there: bool) -> Result<()> {
        while let Some(event) = self.watch.next().await {
            if let WatchEvent::Listing(listing) = event?
                && listing.instances.binary_search_by(|instance| instance.id().as_str().cmp(id)).is_ok()
                    == there
            {
                return Ok(());
            }
        }
        anyhow::bail!("the watch has ended")
    }
}

/// An ephemeral node, the event of another client's watch, and the node's data: as little as can be done.
struct WithLibrary {
    writer: Raw,
    reader: Raw,
    watcher: zk::PersistentWatcher,
    /// As large as what callsign writes.
    value: Vec<u8>,
}

impl WithLibrary {
    async fn begin(zookeeper: &ZooKeeper) -> Result<Self> {
        let (writer, reader) = (zookeeper.raw().await?, zookeeper.raw().await?);
        let open = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
        writer.client().mkdir("/raw", &open).await?;
        let mode = zk::AddWatchMode::PersistentRecursive;
        let watcher = reader.client().watch("/raw", mode).await?;
        Ok(Self { writer, reader, watcher, value: vec![b'x'; 400] })
    }

    async fn arrival(&mut self, round: usize) -> Result<Duration> {
        let path = format!("/raw/{round}");
        let options = zk::CreateMode::Ephemeral.with_acls(zk::Acls::anyone_all());
        let clock = Stopwatch::start();
        self.writer.client().create(&path, &self.value, &options).await?;
        self.wait_for(&path, zk::EventType::NodeCreated).await?;
        self.reader.client().get_data(&path).await?;
        let elapsed = clock.elapsed();
        self.writer.client().delete(&path, None).await?;
        self.wait_for(&path, zk::EventType::NodeDeleted).await?;
        Ok(elapsed)
    }

    async fn wait_for(&mut self, path: &str, what: zk::EventType) -> Result<()> {
        loop {
            let event = self.watcher.changed().await;
            anyhow::ensure!(!event.session_state.is_terminated(), "the session has ended");
            if event.event_type == what && event.path == path {
                return Ok(());
            }
        }
    }
}
