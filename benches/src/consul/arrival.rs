//! How long it takes until others see who has registered: through the client, and with nothing but `reqwest`, in turn, at
//! one agent.

use std::time::Duration;

use anyhow::Result;
use callsign_benches::fleet;
use callsign_client::{Client, RegisterOptions, ServiceView};
use callsign_consul::instance_id;
use callsign_core::{Record, Registry, ServiceKey, Ttl};
use callsign_integration_tests::consul::{Consul, Kind, Options};
use futures::future::try_join_all;
use tokio::time::{sleep, timeout};

use super::raw::Raw;
use super::{backend, runtime, start};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

/// One agent takes few more well.
const OTHERS: usize = 50;
const ARRIVALS: usize = 100;
const WARM_UP: usize = 5;
const WITHIN: Duration = Duration::from_secs(10);
/// A watch asks no more than five times a second, so that a busy service does not eat up its agent.
const PAUSE: Duration = Duration::from_millis(800);
/// What callsign may add to the raw client's time.
const ADDED_MS: f64 = 2.0;

/// An instance arrives in a service that has 50 others: from the call until somebody else, over other connections, sees
/// it. It leaves before the next one comes.
pub(crate) fn register_to_seen() -> Result<Vec<Measure>> {
    let [raw, client] = runtime()?.block_on(arrivals())?;
    let (raw, client) = (Samples::new(raw, "arrivals"), Samples::new(client, "arrivals"));
    let p50 = raw.p50() * 1e3;
    Ok(vec![Measure::p50("consul.register_to_seen", &client, Unit::Milliseconds, p50 + ADDED_MS).beside(p50)])
}

async fn arrivals() -> Result<[Vec<Duration>; 2]> {
    let consul = start(Options::new(Kind::Single)).await?;
    let mut with_client = WithClient::begin(&consul).await?;
    let mut with_raw = WithRaw::begin(&consul).await?;
    let mut durations = [const { Vec::new() }; 2];
    for round in 0..WARM_UP + ARRIVALS {
        // Whoever comes second finds everybody awake.
        let taken = if round % 2 == 0 {
            let raw = timeout(WITHIN, with_raw.arrival(round)).await??;
            [raw, with_client.arrival(round).await?]
        } else {
            let client = with_client.arrival(round).await?;
            [timeout(WITHIN, with_raw.arrival(round)).await??, client]
        };
        if round >= WARM_UP {
            durations.iter_mut().zip(taken).for_each(|(durations, taken)| durations.push(taken));
        }
        sleep(PAUSE).await;
    }
    Ok(durations)
}

/// Registers the others, for as long as a ttl can be.
async fn fill(consul: &Consul, service: &ServiceKey) -> Result<()> {
    let backend = backend(consul)?;
    let records: Vec<_> = fleet::instances(service, OTHERS)?
        .into_iter()
        .map(|other| Ok(Record::new(other, Ttl::new(Ttl::MAX)?)))
        .collect::<callsign_core::Result<_>>()?;
    try_join_all(records.iter().map(|record| backend.register(record))).await?;
    Ok(())
}

struct WithClient {
    registering: Client,
    view: ServiceView,
}

impl WithClient {
    async fn begin(consul: &Consul) -> Result<Self> {
        let service = fleet::service()?;
        fill(consul, &service).await?;
        let registering = Client::new(backend(consul)?)?;
        // The instances leave without a word, and quickly: protection would hold them.
        let looking = Client::builder(backend(consul)?).protection(false).build()?;
        let view = looking.service(service);
        view.ready(WITHIN).await?;
        Ok(Self { registering, view })
    }

    async fn arrival(&mut self, round: usize) -> Result<Duration> {
        let instance = fleet::instance(self.view.service(), OTHERS + round)?;
        let id = instance.id().clone();
        let clock = Stopwatch::start();
        let view = self.view.clone();
        let seen = async {
            view.wait_for(WITHIN, |snapshot| snapshot.get(id.as_str()).is_some()).await?;
            anyhow::Ok(clock.elapsed())
        };
        let registered = self.registering.register(instance, RegisterOptions::new());
        let (seen, registered) = futures::join!(seen, registered);
        let (elapsed, registration) = (seen?, registered?);
        drop(registration);
        self.view.wait_for(WITHIN, |snapshot| snapshot.get(id.as_str()).is_none()).await?;
        Ok(elapsed)
    }
}

/// A registration with a TTL check, and the answer to another client's query that waits for a change.
struct WithRaw {
    writer: Raw,
    reader: Raw,
    service: ServiceKey,
}

impl WithRaw {
    async fn begin(consul: &Consul) -> Result<Self> {
        let service = ServiceKey::new("payments")?;
        fill(consul, &service).await?;
        let mut reader = Raw::new(consul, service.clone())?;
        reader.until("", false).await?;
        Ok(Self { writer: Raw::new(consul, service.clone())?, reader, service })
    }

    async fn arrival(&mut self, round: usize) -> Result<Duration> {
        let instance = fleet::instance(&self.service, OTHERS + round)?;
        let id = instance_id(&instance.key);
        let clock = Stopwatch::start();
        let seen = async {
            self.reader.until(&id, true).await?;
            anyhow::Ok(clock.elapsed())
        };
        let (seen, registered) = futures::join!(seen, self.writer.register(&instance));
        registered?;
        self.writer.deregister(&instance).await?;
        self.reader.until(&id, false).await?;
        seen
    }
}
