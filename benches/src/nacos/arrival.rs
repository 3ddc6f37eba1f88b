//! How long a registration takes, and how long it takes until others see it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use callsign_benches::fleet;
use callsign_core::{Backend, Read, Record, ServiceKey, Ttl, WatchEvent, WatchStream};
use callsign_integration_tests::nacos::{Fake, FakeOptions, config_of_fake};
use callsign_nacos::Nacos;
use futures::StreamExt;
use tokio::time::timeout;

use super::{backend, runtime, start};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const REGISTRATIONS: usize = 500;
const WARM_UP: usize = 50;
const REGISTERED_MS: f64 = 3.0;
const ARRIVALS: usize = 20;
const WITHIN: Duration = Duration::from_secs(10);
/// What callsign may add to the time after which a server pushes.
const ADDED_MS: f64 = 50.0;
/// r-nacos collects changes for half a second, and looks for them every half second.
const RNACOS_PUSH_MS: f64 = 1_000.0;

/// One registration after the other, each of another service, on r-nacos.
pub(crate) fn register() -> Result<Vec<Measure>> {
    let taken = runtime()?.block_on(async {
        let rnacos = start().await?;
        let backend = backend(&rnacos)?;
        let mut taken = Vec::with_capacity(REGISTRATIONS);
        for round in 0..WARM_UP + REGISTRATIONS {
            let service = ServiceKey::new(format!("orders-{round}"))?;
            let record = Record::new(fleet::instance(&service, round)?, Ttl::new(Ttl::MAX)?);
            let clock = Stopwatch::start();
            backend.register(&record).await?;
            if round >= WARM_UP {
                taken.push(clock.elapsed());
            }
        }
        anyhow::Ok(taken)
    })?;
    let samples = Samples::new(taken, "registrations");
    Ok(vec![Measure::p50("nacos.register", &samples, Unit::Milliseconds, REGISTERED_MS)])
}

/// From the call until a watch over another connection has shown it: on a fake, which pushes after a known delay, and on
/// r-nacos.
pub(crate) fn register_to_seen() -> Result<Vec<Measure>> {
    let options = FakeOptions::default();
    let delay = options.push_delay.as_secs_f64() * 1e3;
    let strict = runtime()?.block_on(async {
        let fake = Fake::start(options)?;
        let client = || anyhow::Ok(Arc::new(Nacos::new(&config_of_fake(&fake), "main")?) as Arc<dyn Backend>);
        arrivals(client()?, client()?).await
    })?;
    let real = runtime()?.block_on(async {
        let rnacos = start().await?;
        arrivals(backend(&rnacos)?, backend(&rnacos)?).await
    })?;
    let (strict, real) = (Samples::new(strict, "arrivals"), Samples::new(real, "arrivals"));
    Ok(vec![
        Measure::p50("nacos.register_to_seen", &strict, Unit::Milliseconds, delay + ADDED_MS).beside(delay),
        Measure::p50("nacos.register_to_seen_rnacos", &real, Unit::Milliseconds, RNACOS_PUSH_MS + ADDED_MS)
            .beside(RNACOS_PUSH_MS),
    ])
}

async fn arrivals(writer: Arc<dyn Backend>, reader: Arc<dyn Backend>) -> Result<Vec<Duration>> {
    let service = ServiceKey::new("payments")?;
    writer.list(&service, Read::Any).await?;
    let mut watch = reader.watch(&service);
    wait_for(&mut watch, "", false).await?;
    let mut taken = Vec::with_capacity(ARRIVALS);
    for round in 0..ARRIVALS {
        let record = Record::new(fleet::instance(&service, round)?, Ttl::default());
        let id = record.instance.id().as_str();
        let clock = Stopwatch::start();
        writer.register(&record).await?;
        timeout(WITHIN, wait_for(&mut watch, id, true)).await??;
        taken.push(clock.elapsed());
        writer.deregister(&record).await?;
        timeout(WITHIN, wait_for(&mut watch, id, false)).await??;
    }
    Ok(taken)
}

/// Waits for a listing that has `id`, or has not.
async fn wait_for(watch: &mut WatchStream, id: &str, there: bool) -> Result<()> {
    while let Some(event) = watch.next().await {
        if let WatchEvent::Listing(listing) = event?
            && listing.instances.iter().any(|instance| instance.id().as_str() == id) == there
        {
            return Ok(());
        }
    }
    anyhow::bail!("the watch has ended")
}
