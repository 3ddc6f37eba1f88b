//! What a write costs while one of the registries swallows everything.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use callsign_benches::fleet;
use callsign_core::{Record, Registry, Ttl};
use callsign_integration_tests::proxy::{Mode, Proxy};

use super::{Both, alone, runtime};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const WRITES: usize = 100;
/// A port on the server's address that nothing else uses.
const PROXY: u16 = 12_406;

/// From `register` to its receipt, from the moment on in which nothing is answered any more.
pub(crate) fn register_blackholed() -> Result<Vec<Measure>> {
    let durations = runtime()?.block_on(async {
        let both = Both::start(alone()).await?;
        let endpoint = both.endpoints().swap_remove(0);
        let door: SocketAddr = endpoint.strip_prefix("http://").context("no plain address")?.parse()?;
        let proxy = Proxy::start(SocketAddr::new(door.ip(), PROXY), door)?;
        let failover = both.failover(vec![format!("http://{}", proxy.address())])?;
        let (service, ttl) = (fleet::service()?, Ttl::new(Ttl::MAX)?);
        let record = |number| anyhow::Ok(Record::new(fleet::instance(&service, number)?, ttl));
        failover.register(&record(WRITES)?).await?;
        proxy.set(Mode::HalfOpen).await;
        let mut durations = Vec::with_capacity(WRITES);
        for number in 0..WRITES {
            let record = record(number)?;
            let clock = Stopwatch::start();
            failover.register(&record).await?;
            durations.push(clock.elapsed());
        }
        anyhow::Ok(durations)
    })?;
    let samples = Samples::new(durations, "writes");
    Ok(vec![
        Measure::p50("failover.register_blackholed", &samples, Unit::Milliseconds, 500.0),
        Measure::slowest("failover.register_blackholed_slowest", &samples, Unit::Milliseconds, 500.0),
    ])
}
