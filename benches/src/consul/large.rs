//! A service of 10 000 instances: from its answer to a view.

use std::time::Duration;

use anyhow::{Result, ensure};
use callsign_benches::fleet;
use callsign_client::Client;
use callsign_core::ServiceKey;
use callsign_integration_tests::consul::{Kind, Options};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::raw::Raw;
use super::{backend, runtime, start};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const MANY: usize = 10_000;
const TIMES: usize = 15;
const WITHIN: Duration = Duration::from_secs(60);
/// What reading and showing it may add to fetching it.
const ADDED_MS: f64 = 100.0;

/// A view of 10 000 instances begins: until it shows them; beside it, what `reqwest` alone needs to fetch the same bytes.
pub(crate) fn view_10k() -> Result<Vec<Measure>> {
    let [raw, view] = runtime()?.block_on(views())?;
    let (raw, view) = (Samples::new(raw, "fetches"), Samples::new(view, "views"));
    let p50 = raw.p50() * 1e3;
    Ok(vec![Measure::p50("consul.view_10k", &view, Unit::Milliseconds, p50 + ADDED_MS).beside(p50)])
}

async fn views() -> Result<[Vec<Duration>; 2]> {
    let consul = start(Options::new(Kind::Dev)).await?;
    let service = ServiceKey::new("orders")?;
    let raw = Raw::new(&consul, service.clone())?;
    let instances = fleet::instances(&service, MANY)?;
    stream::iter(instances.iter().map(|instance| raw.put_into_catalog(instance)))
        .buffer_unordered(32)
        .try_collect::<()>()
        .await?;
    let mut durations = [const { Vec::new() }; 2];
    for _ in 0..TIMES {
        let clock = Stopwatch::start();
        raw.fetch().await?;
        durations[0].push(clock.elapsed());
        let client = Client::new(backend(&consul)?)?;
        let clock = Stopwatch::start();
        let view = client.service(service.clone());
        view.ready(WITHIN).await?;
        durations[1].push(clock.elapsed());
        let shown = view.snapshot().instances.len();
        ensure!(shown == MANY, "{shown} of {MANY} are shown");
        client.close(WITHIN).await?;
    }
    Ok(durations)
}
