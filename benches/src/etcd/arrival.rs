//! How long it takes until others see who has registered: through the client, through the backend alone, and with
//! nothing but `etcd-client`, in turn, on one etcd.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use callsign_benches::fleet;
use callsign_client::{Client, RegisterOptions, ServiceView};
use callsign_core::{Discovery, Record, Registry, ServiceKey, Ttl, WatchEvent, WatchStream};
use callsign_integration_tests::etcd::{Etcd, PREFIX};
use etcd_client::{EventType, GetOptions, PutOptions, WatchOptions, WatchStream as RawWatch};
use futures::StreamExt;
use tokio::time::timeout;

use super::{alone, backend, runtime, start};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const OTHERS: usize = 100;
const ARRIVALS: usize = 1_000;
const WARM_UP: usize = 100;
const WITHIN: Duration = Duration::from_secs(10);
/// What callsign may add to a tenth of the raw client's time.
const ADDED_MS: f64 = 1.0;

/// An instance arrives in a service that has 100 others: from the call until somebody else, over another connection,
/// sees it. It leaves before the next one comes.
pub(crate) fn register_to_seen() -> Result<Vec<Measure>> {
    let [raw, backend, client] = runtime()?.block_on(arrivals())?;
    let raw = Samples::new(raw, "arrivals");
    let (p50, p99) = (raw.p50() * 1e3, raw.p99() * 1e3);
    let target = |peer: f64| 1.1 * peer + ADDED_MS;
    let rows = |name: &str, durations| {
        let samples = Samples::new(durations, "arrivals");
        let name_p99 = format!("{name}_p99");
        [
            Measure::p50(name, &samples, Unit::Milliseconds, target(p50)).beside(p50),
            Measure::p99(&name_p99, &samples, Unit::Milliseconds, target(p99)).beside(p99),
        ]
    };
    let through_client = rows("etcd.register_to_seen", client);
    Ok(through_client.into_iter().chain(rows("etcd.register_to_seen_backend", backend)).collect())
}

async fn arrivals() -> Result<[Vec<Duration>; 3]> {
    let etcd = start(alone()).await?;
    let mut with_client = WithClient::begin(&etcd).await?;
    let mut with_backend = WithBackend::begin(&etcd).await?;
    // Large, because of the plain client.
    let mut raw = Box::pin(Raw::begin(&etcd)).await?;
    let mut durations = [const { Vec::new() }; 3];
    for round in 0..WARM_UP + ARRIVALS {
        let taken = [
            timeout(WITHIN, raw.arrival(round)).await??,
            timeout(WITHIN, with_backend.arrival(round)).await??,
            with_client.arrival(round).await?,
        ];
        if round >= WARM_UP {
            durations.iter_mut().zip(taken).for_each(|(durations, taken)| durations.push(taken));
        }
    }
    Ok(durations)
}

/// Registers the others, for as long as a ttl can be.
async fn fill(etcd: &Etcd, service: &ServiceKey) -> Result<()> {
    let backend = backend(etcd.endpoints())?;
    for other in fleet::instances(service, OTHERS)? {
        backend.register(&Record::new(other, Ttl::new(Ttl::MAX)?)).await?;
    }
    Ok(())
}

struct WithClient {
    registering: Client,
    view: ServiceView,
}

impl WithClient {
    async fn begin(etcd: &Etcd) -> Result<Self> {
        let service = fleet::service()?;
        fill(etcd, &service).await?;
        let registering = Client::new(backend(etcd.endpoints())?)?;
        // The instances leave without a word, and quickly: protection would hold them.
        let looking = Client::builder(backend(etcd.endpoints())?).protection(false).build()?;
        let view = looking.service(service);
        view.ready(WITHIN).await?;
        Ok(Self { registering, view })
    }

    async fn arrival(&mut self, round: usize) -> Result<Duration> {
        let instance = fleet::instance(self.view.service(), OTHERS + round)?;
        let id = instance.id().clone();
        let clock = Stopwatch::start();
        let registration = self.registering.register(instance, RegisterOptions::new()).await?;
        self.view.wait_for(WITHIN, |snapshot| snapshot.get(id.as_str()).is_some()).await?;
        let elapsed = clock.elapsed();
        drop(registration);
        self.view.wait_for(WITHIN, |snapshot| snapshot.get(id.as_str()).is_none()).await?;
        Ok(elapsed)
    }
}

struct WithBackend {
    service: ServiceKey,
    registering: Arc<callsign_etcd::Etcd>,
    watch: WatchStream,
}

impl WithBackend {
    async fn begin(etcd: &Etcd) -> Result<Self> {
        let service = ServiceKey::new("payments")?;
        fill(etcd, &service).await?;
        let watch = backend(etcd.endpoints())?.watch(&service);
        let mut this = Self { service, registering: backend(etcd.endpoints())?, watch };
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

/// One lease, granted once; a put with it and the event of another client's watch: as little as can be done.
struct Raw {
    writer: etcd_client::Client,
    watch: RawWatch,
    lease: i64,
    /// As large as what callsign writes.
    value: Vec<u8>,
}

impl Raw {
    async fn begin(etcd: &Etcd) -> Result<Self> {
        let mut writer = etcd.raw().await?;
        let lease = writer.lease_grant(3600, None).await?.id();
        let first = GetOptions::new().with_prefix().with_limit(1);
        let value = writer.get(PREFIX, Some(first)).await?.kvs().first().map(|kv| kv.value().to_vec());
        let prefix = WatchOptions::new().with_prefix();
        let mut watch = etcd.raw().await?.watch("/raw/", Some(prefix)).await?;
        // It has begun.
        watch.message().await?;
        Ok(Self { writer, watch, lease, value: value.unwrap_or_default() })
    }

    async fn arrival(&mut self, round: usize) -> Result<Duration> {
        let key = format!("/raw/{round}");
        let (value, options) = (self.value.clone(), PutOptions::new().with_lease(self.lease));
        let clock = Stopwatch::start();
        self.writer.put(key.as_str(), value, Some(options)).await?;
        self.wait_for(&key, EventType::Put).await?;
        let elapsed = clock.elapsed();
        self.writer.delete(key.as_str(), None).await?;
        self.wait_for(&key, EventType::Delete).await?;
        Ok(elapsed)
    }

    async fn wait_for(&mut self, key: &str, what: EventType) -> Result<()> {
        loop {
            let response = self.watch.message().await?;
            let response = response.ok_or_else(|| anyhow::anyhow!("the watch has ended"))?;
            ensure!(!response.canceled(), "the watch was cancelled");
            let mut events = response.events().iter();
            if events.any(|event| {
                event.event_type() == what && event.kv().is_some_and(|kv| kv.key() == key.as_bytes())
            }) {
                return Ok(());
            }
        }
    }
}
