//! Ten thousand registrations from one process: to make, and to keep.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use callsign_benches::fleet;
use callsign_client::{Client, RegisterOptions, Registration, RegistrationState};
use callsign_core::{Record, Registry, Ttl};
use callsign_integration_tests::etcd::Etcd;
use etcd_client::PutOptions;
use futures::future::try_join_all;
use tokio::time::sleep;

use super::{alone, backend, metrics, runtime, start};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const MANY: usize = 10_000;
const ROUNDS: usize = 5;
const WITHIN_S: f64 = 1.5;
/// Records that share a lease at the most, and may cost a request each second.
const SHARE: f64 = 256.0;
/// Until the last watch of a record has begun, and each record has been proven once because of it.
const SETTLED: Duration = Duration::from_secs(30);
/// Renewals come every 5 s, and proofs every 37.5 s: two of these.
const COUNTED: Duration = Duration::from_secs(75);

/// 10 000 registrations, all at once, until the last one is registered: through one client, through one backend, and
/// as puts of the raw client with one lease. Each on an etcd of its own.
pub(crate) fn register_10k() -> Result<Vec<Measure>> {
    let mut durations = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        // One for each round: what the last one has left to do does not disturb the next.
        durations[0].push(runtime()?.block_on(with_raw())?);
        durations[1].push(runtime()?.block_on(with_backend())?);
        durations[2].push(runtime()?.block_on(with_client())?);
    }
    let [raw, backend, client] =
        durations.map(|durations| Samples::new(durations, format!("times {MANY} registrations")));
    let row = |name, samples| Measure::p50(name, samples, Unit::Seconds, WITHIN_S).beside(raw.p50());
    Ok(vec![row("etcd.register_10k", &client), row("etcd.register_10k_backend", &backend)])
}

async fn with_client() -> Result<Duration> {
    let etcd = start(alone()).await?;
    let (elapsed, _registrations) = register_all(&etcd).await?;
    Ok(elapsed)
}

async fn register_all(etcd: &Etcd) -> Result<(Duration, Vec<Registration>)> {
    let service = fleet::service()?;
    let client = Client::new(backend(etcd.endpoints())?)?;
    let instances: Vec<_> =
        (0..MANY).map(|number| fleet::instance(&service, number)).collect::<Result<_, _>>()?;
    let clock = Stopwatch::start();
    let calls =
        instances.into_iter().map(|instance| client.register(instance, RegisterOptions::new().required()));
    let registrations = try_join_all(calls).await?;
    let elapsed = clock.elapsed();
    ensure!(all_registered(&registrations), "not everything is registered");
    Ok((elapsed, registrations))
}

fn all_registered(registrations: &[Registration]) -> bool {
    let registered = |it: &Registration| matches!(it.state(), RegistrationState::Registered { .. });
    registrations.iter().all(registered)
}

async fn with_backend() -> Result<Duration> {
    let etcd = start(alone()).await?;
    let backend = backend(etcd.endpoints())?;
    let records: Vec<_> = fleet::instances(&fleet::service()?, MANY)?
        .into_iter()
        .map(|instance| Record::new(instance, Ttl::default()))
        .collect();
    let clock = Stopwatch::start();
    try_join_all(records.iter().map(|record| backend.register(record))).await?;
    Ok(clock.elapsed())
}

async fn with_raw() -> Result<Duration> {
    let etcd = start(alone()).await?;
    let client = etcd.raw().await?;
    let clock = Stopwatch::start();
    let lease = client.lease_client().grant(15, None).await?.id();
    // As large as a record.
    let value: Arc<[u8]> = vec![b'x'; 400].into();
    let puts = (0..MANY).map(|number| {
        let (mut kv, value) = (client.kv_client(), value.clone());
        let options = PutOptions::new().with_lease(lease);
        async move { kv.put(format!("/raw/{number}"), &*value, Some(options)).await }
    });
    try_join_all(puts).await?;
    Ok(clock.elapsed())
}

/// How often 10 000 registrations at the default ttl ask etcd for anything, as etcd counts it: every message of every
/// call and stream, also those by which watches are kept.
pub(crate) fn renew_requests() -> Result<Vec<Measure>> {
    let per_second = runtime()?.block_on(async {
        let etcd = start(alone()).await?;
        let (_, registrations) = register_all(&etcd).await?;
        sleep(SETTLED).await;
        let endpoint = etcd.member(0)?.direct();
        let before = metrics::messages_received(endpoint).await?;
        let clock = Stopwatch::start();
        sleep(COUNTED).await;
        let messages = metrics::messages_received(endpoint).await? - before;
        let elapsed = clock.elapsed();
        ensure!(all_registered(&registrations), "not everything is registered any more");
        anyhow::Ok(messages / elapsed.as_secs_f64())
    })?;
    #[expect(clippy::cast_precision_loss, reason = "ten thousand is not much")]
    let target = MANY as f64 / SHARE;
    let samples = format!("{} s of {MANY} registrations", COUNTED.as_secs());
    Ok(vec![Measure::count("etcd.renew_requests", per_second, "/s", target, samples)])
}
