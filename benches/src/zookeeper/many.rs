//! Ten thousand registrations from one process: to make, and to list.

use std::time::Duration;

use anyhow::{Result, ensure};
use callsign_benches::fleet;
use callsign_core::{Read, Record, Ttl};
use futures::future::try_join_all;

use super::{backend, runtime, start};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const MANY: usize = 10_000;
const ROUNDS: usize = 5;
const LISTINGS: usize = 20;
const WITHIN_S: f64 = 3.0;
const LISTED_MS: f64 = 150.0;

/// 10 000 registrations, all at once, until the last one is registered; and listings of them by another client.
pub(crate) fn ten_thousand() -> Result<Vec<Measure>> {
    let (mut registered, mut listed) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // One for each round: what the last one has left to do does not disturb the next.
        let (once, times) = runtime()?.block_on(round())?;
        registered.push(once);
        listed.extend(times);
    }
    let registered = Samples::new(registered, format!("times {MANY} registrations"));
    let listed = Samples::new(listed, format!("listings of {MANY}"));
    Ok(vec![
        Measure::p50("zookeeper.register_10k", &registered, Unit::Seconds, WITHIN_S),
        Measure::p50("zookeeper.list_10k", &listed, Unit::Milliseconds, LISTED_MS),
    ])
}

async fn round() -> Result<(Duration, Vec<Duration>)> {
    let zookeeper = start().await?;
    let (writer, reader) = (backend(&zookeeper)?, backend(&zookeeper)?);
    let service = fleet::service()?;
    let ttl = Ttl::new(Ttl::MAX)?;
    let records: Vec<_> =
        fleet::instances(&service, MANY)?.into_iter().map(|instance| Record::new(instance, ttl)).collect();
    reader.list(&service, Read::Quorum).await?;
    let clock = Stopwatch::start();
    try_join_all(records.iter().map(|record| writer.register(record))).await?;
    let registered = clock.elapsed();
    let mut listed = Vec::with_capacity(LISTINGS);
    for _ in 0..LISTINGS {
        let clock = Stopwatch::start();
        let listing = reader.list(&service, Read::Quorum).await?;
        listed.push(clock.elapsed());
        ensure!(listing.instances.len() == MANY, "{} were listed", listing.instances.len());
    }
    Ok((registered, listed))
}
