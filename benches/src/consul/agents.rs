//! One agent with a lot to do: registrations, watches, and a restart that forgets all of them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use callsign_benches::fleet;
use callsign_client::{Client, ClientEvent, RegisterOptions, Registration, RegistrationState};
use callsign_core::{Discovery, Instance, Read, ServiceKey, Ttl};
use callsign_integration_tests::consul::{Consul, Kind, Options};
use futures::FutureExt;
use futures::future::{join_all, try_join_all};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::time::{sleep, timeout};

use super::raw::Raw;
use super::{backend, runtime, start};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const MANY: usize = 200;
const TIMES: usize = 5;
const TTL: Duration = Duration::from_secs(15);
const WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// 200 registrations at one agent, all at once, until the last one is registered: through a client, and as calls of
/// `reqwest`, 32 at a time. Each at an agent of its own.
pub(crate) fn register_200() -> Result<Vec<Measure>> {
    let (mut client, mut raw) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        raw.push(runtime()?.block_on(with_raw())?);
        client.push(runtime()?.block_on(with_client())?);
    }
    let [raw, client] =
        [raw, client].map(|durations| Samples::new(durations, format!("times {MANY} registrations")));
    Ok(vec![Measure::p50("consul.register_200", &client, Unit::Seconds, 4.0).beside(raw.p50())])
}

async fn with_raw() -> Result<Duration> {
    let consul = start(Options::new(Kind::Single)).await?;
    let service = fleet::service()?;
    let raw = Raw::new(&consul, service.clone())?;
    let instances = fleet::instances(&service, MANY)?;
    let clock = Stopwatch::start();
    stream::iter(instances.iter().map(|instance| raw.register(instance)))
        .buffer_unordered(32)
        .try_collect::<()>()
        .await?;
    Ok(clock.elapsed())
}

async fn with_client() -> Result<Duration> {
    let consul = start(Options::new(Kind::Single)).await?;
    let service = fleet::service()?;
    let client = Client::new(backend(&consul)?)?;
    let clock = Stopwatch::start();
    let registrations = register_all(&client, &service, MANY).await?;
    let elapsed = clock.elapsed();
    ensure!(registrations.iter().all(is_registered), "not everything is registered");
    Ok(elapsed)
}

async fn register_all(client: &Client, service: &ServiceKey, count: usize) -> Result<Vec<Registration>> {
    let instances: Vec<Instance> =
        (0..count).map(|number| fleet::instance(service, number)).collect::<Result<_, _>>()?;
    let options = || RegisterOptions::new().required().with_wait(WITHIN);
    let calls = instances.into_iter().map(|instance| client.register(instance, options()));
    Ok(try_join_all(calls).await?)
}

fn is_registered(registration: &Registration) -> bool {
    matches!(registration.state(), RegistrationState::Registered { .. })
}

/// 50 registrations, after a restart of an agent that forgets everything: from when it serves until all of them are
/// there.
pub(crate) fn back_after_restart() -> Result<Vec<Measure>> {
    let durations = runtime()?.block_on(restarts())?;
    let samples = Samples::new(durations, format!("restarts, {RESTARTED} registrations"));
    let target = TTL.as_secs_f64() / 3.0 + 5.0;
    Ok(vec![Measure::slowest("consul.back_after_restart", &samples, Unit::Seconds, target)])
}

const RESTARTED: usize = 50;

async fn restarts() -> Result<Vec<Duration>> {
    let consul = start(Options::new(Kind::Dev)).await?;
    let service = fleet::service()?;
    let client = Client::builder(backend(&consul)?).ttl(Ttl::new(TTL)?).build()?;
    let registrations = register_all(&client, &service, RESTARTED).await?;
    let witness = backend(&consul)?;
    let mut durations = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        consul.wipe().await?;
        let clock = Stopwatch::start();
        let there =
            async {
                while !witness.list(&service, Read::Quorum).await.is_ok_and(|listing| {
                    listing.instances.iter().filter(|it| it.routable()).count() == RESTARTED
                }) {
                    sleep(POLL).await;
                }
            };
        timeout(WITHIN, there).await?;
        durations.push(clock.elapsed());
        // Everybody has heard of it.
        timeout(WITHIN, async {
            while !registrations.iter().all(is_registered) {
                sleep(POLL).await;
            }
        })
        .await?;
    }
    Ok(durations)
}

const WATCHED: usize = 300;
const OWNERS: usize = 50;
const WATCHING: Duration = Duration::from_secs(60);

/// 300 services watched by one process at the limits that an agent has by default, and 50 registrations kept: how many
/// renewals failed in a minute.
pub(crate) fn renewals_lost() -> Result<Vec<Measure>> {
    let lost = runtime()?.block_on(watch_many())?;
    #[expect(clippy::cast_precision_loss, reason = "no minute has 2^53 renewals")]
    let lost = lost as f64;
    let what = format!("{WATCHED} watches, {OWNERS} registrations, {} s", WATCHING.as_secs());
    Ok(vec![Measure::count("consul.renewals_lost", lost, "renewals", 0.0, what)])
}

async fn watch_many() -> Result<usize> {
    let consul: Arc<Consul> = start(Options::new(Kind::Dev).with_default_limits()).await?;
    let client = Client::builder(backend(&consul)?).ttl(Ttl::new(TTL)?).build()?;
    let registrations = register_all(&client, &fleet::service()?, OWNERS).await?;
    let views: Vec<_> = (0..WATCHED)
        .map(|number| Ok(client.service(ServiceKey::new(format!("orders-{number}"))?)))
        .collect::<callsign_core::Result<_>>()?;
    for ready in join_all(views.iter().map(|view| view.ready(WITHIN))).await {
        ready?;
    }
    let mut events: BoxStream<'_, Arc<ClientEvent>> = client.events();
    sleep(WATCHING).await;
    let told = std::iter::from_fn(|| events.next().now_or_never().flatten());
    let lost = told.filter(|event| matches!(&**event, ClientEvent::Registration { .. })).count();
    ensure!(views.iter().all(|view| view.snapshot().freshness.is_live()), "not every view is live");
    ensure!(registrations.iter().all(is_registered), "not everything is registered");
    Ok(lost)
}
