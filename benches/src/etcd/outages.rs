//! A lone etcd is killed, frozen and wiped: how soon it shows, what is read meanwhile, and how soon all are back.

use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::fleet::Fleet;
use super::{alone, runtime, start};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::readers::read_through;
use crate::samples::Samples;

const LIVE: usize = 20;
const TTL: Duration = Duration::from_secs(15);
const KILLS: usize = 10;
const FREEZES: usize = 6;
/// Between two faults, a little more each time: how soon a frozen server is noticed depends on when it was last asked.
const PAUSE: Duration = Duration::from_millis(700);

/// From `SIGKILL` until the view is stale.
pub(crate) fn killed_stale() -> Result<Vec<Measure>> {
    let durations = runtime()?.block_on(noticed(KILLS, Fault::Kill))?;
    let samples = Samples::new(durations, "kills");
    Ok(vec![Measure::slowest("etcd.killed_stale", &samples, Unit::Seconds, 1.0)])
}

/// From `SIGSTOP` until the view is stale.
pub(crate) fn frozen_stale() -> Result<Vec<Measure>> {
    let durations = runtime()?.block_on(noticed(FREEZES, Fault::Freeze))?;
    let samples = Samples::new(durations, "freezes");
    Ok(vec![Measure::slowest("etcd.frozen_stale", &samples, Unit::Seconds, 9.0)])
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Freeze,
}

async fn noticed(times: usize, fault: Fault) -> Result<Vec<Duration>> {
    let etcd = start(alone()).await?;
    let fleet = Fleet::start(&etcd, LIVE, TTL, etcd.endpoints()).await?;
    let mut durations = Vec::with_capacity(times);
    let mut pause = PAUSE;
    for _ in 0..times {
        sleep(pause).await;
        pause += PAUSE;
        let mut changes = fleet.changes();
        let clock = Stopwatch::start();
        let hurt = async {
            match fault {
                Fault::Kill => etcd.kill_all().await,
                Fault::Freeze => etcd.freeze_all().await,
            }
        };
        let noticed = async {
            let noticed = changes.until(false).await;
            noticed.map(|()| clock.elapsed())
        };
        let (guard, elapsed) = futures::join!(hurt, noticed);
        durations.push(elapsed?);
        guard?.heal().await?;
        fleet.recovered().await?;
    }
    Ok(durations)
}

/// Leases end while it is frozen, and with them all records while it is wiped.
const SHORT_TTL: Duration = Duration::from_secs(2);
const OUTAGE: Duration = Duration::from_secs(3);
const FAULTS: usize = 3;

/// The view of 20 live instances is read while etcd is killed, frozen and wiped in turn.
pub(crate) fn reads_under_fault() -> Result<Vec<Measure>> {
    let runtime = runtime()?;
    let (etcd, fleet) = runtime.block_on(async {
        let etcd = start(alone()).await?;
        let fleet = Fleet::start(&etcd, LIVE, SHORT_TTL, etcd.endpoints()).await?;
        anyhow::Ok((etcd, fleet))
    })?;
    let faults = async {
        let kill = etcd.kill_all().await?;
        sleep(OUTAGE).await;
        kill.heal().await?;
        fleet.recovered().await?;
        let mut changes = fleet.changes();
        let freeze = etcd.freeze_all().await?;
        // Until it is noticed, and then some.
        changes.until(false).await?;
        sleep(OUTAGE).await;
        freeze.heal().await?;
        fleet.recovered().await?;
        etcd.wipe().await?;
        fleet.recovered().await
    };
    let tally = read_through(&runtime, &fleet.view, &fleet.ids, faults)?;
    Ok(vec![tally.measured("etcd.reads_under_fault", FAULTS)])
}

const MANY: usize = 1_000;
const OUTAGES: usize = 3;
/// Longer than the ttl.
const LONG_OUTAGE: Duration = Duration::from_secs(20);

/// 1000 registrations, after an outage in which etcd lost everything: from when it serves until it lists all of them.
pub(crate) fn back_after_outage() -> Result<Vec<Measure>> {
    let durations = runtime()?.block_on(async {
        let etcd = start(alone()).await?;
        let fleet = Fleet::start(&etcd, MANY, TTL, etcd.endpoints()).await?;
        let mut durations = Vec::with_capacity(OUTAGES);
        for _ in 0..OUTAGES {
            let _killed = etcd.kill_all().await?;
            sleep(LONG_OUTAGE).await;
            etcd.wipe().await?;
            let clock = Stopwatch::start();
            fleet.listed().await?;
            durations.push(clock.elapsed());
            fleet.recovered().await?;
        }
        anyhow::Ok(durations)
    })?;
    let samples =
        Samples::new(durations, format!("outages of {} s, {MANY} registrations", LONG_OUTAGE.as_secs()));
    let target = TTL.as_secs_f64() / 3.0 + 5.0;
    Ok(vec![Measure::slowest("etcd.back_after_outage", &samples, Unit::Seconds, target)])
}
