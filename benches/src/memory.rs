//! Registering, with the embedded registry below: what the client itself adds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use callsign_benches::fleet;
use callsign_client::{Client, RegisterOptions, RegistrationState};
use callsign_core::{Record, Registry, Ttl};
use callsign_memory::{Memory, Store};
use futures::future::try_join_all;
use tokio::runtime::{self, Runtime};

use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const OTHERS: usize = 100;
const ARRIVALS: usize = 1_000;
const WARM_UP: usize = 100;
const WITHIN: Duration = Duration::from_secs(5);
const MANY: usize = 10_000;
const ROUNDS: usize = 5;

/// An instance arrives in a service that has 100 others: from the call of `register` until the view of another client
/// shows it. It leaves before the next one comes.
pub(crate) fn register_to_seen() -> Result<Vec<Measure>> {
    let durations = runtime()?.block_on(async {
        let service = fleet::service()?;
        let store = Store::new();
        let memory = || Arc::new(Memory::new(store.clone(), "main"));
        let ttl = Ttl::new(Ttl::MAX)?;
        for other in fleet::instances(&service, OTHERS)? {
            memory().register(&Record::new(other, ttl)).await?;
        }
        let registering = Client::new(memory())?;
        // The instances leave without a word, and quickly: protection would hold them.
        let looking = Client::builder(memory()).protection(false).build()?;
        let view = looking.service(&service);
        view.ready(WITHIN).await?;

        let mut durations = Vec::with_capacity(WARM_UP + ARRIVALS);
        for round in 0..WARM_UP + ARRIVALS {
            let instance = fleet::instance(&service, OTHERS + round)?;
            let id = instance.id().clone();
            let clock = Stopwatch::start();
            let registration = registering.register(instance, RegisterOptions::new()).await?;
            view.wait_for(WITHIN, |snapshot| snapshot.get(id.as_str()).is_some()).await?;
            durations.push(clock.elapsed());
            drop(registration);
            view.wait_for(WITHIN, |snapshot| snapshot.get(id.as_str()).is_none()).await?;
        }
        anyhow::Ok(durations)
    })?;
    let samples = Samples::new(durations.into_iter().skip(WARM_UP), "arrivals");
    Ok(vec![
        Measure::p50("memory.register_to_seen", &samples, Unit::Milliseconds, 5.0),
        Measure::p99("memory.register_to_seen_p99", &samples, Unit::Milliseconds, 5.0),
    ])
}

/// 10 000 registrations through one client, all at once, until the last one is registered.
pub(crate) fn register_10k() -> Result<Vec<Measure>> {
    let mut durations = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        // One for each round: what the last one has left to do does not disturb the next.
        durations.push(runtime()?.block_on(register_all())?);
    }
    let samples = Samples::new(durations, format!("times {MANY} registrations"));
    Ok(vec![Measure::p50("memory.register_10k", &samples, Unit::Seconds, 1.5)])
}

async fn register_all() -> Result<Duration> {
    let service = fleet::service()?;
    let client = Client::new(Arc::new(Memory::new(Store::new(), "main")))?;
    let instances = (0..MANY).map(|number| fleet::instance(&service, number));
    let instances: Vec<_> = instances.collect::<Result<_, _>>()?;
    let clock = Stopwatch::start();
    let calls =
        instances.into_iter().map(|instance| client.register(instance, RegisterOptions::new().required()));
    let registrations = try_join_all(calls).await?;
    let elapsed = clock.elapsed();
    let all = registrations
        .iter()
        .all(|registration| matches!(registration.state(), RegistrationState::Registered { .. }));
    ensure!(all, "not everything is registered");
    Ok(elapsed)
}

/// As an application has it.
fn runtime() -> Result<Runtime> {
    Ok(runtime::Builder::new_multi_thread().enable_all().build()?)
}
