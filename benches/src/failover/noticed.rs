//! From the fault until another registry is read.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use callsign_benches::fleet;
use callsign_client::Client;
use callsign_core::{Backend, EventKind, MemberState};
use callsign_failover::{Failover, State};
use callsign_integration_tests::etcd;
use callsign_testkit::Guard;
use futures::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use super::{Both, WITHIN, alone, reads_backup, reads_main, runtime, until};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const LIVE: usize = 20;
const KILLS: usize = 10;
const FREEZES: usize = 6;
const QUORUMS: usize = 4;
/// Between two faults, a little more each time: how soon one is noticed depends on when it was last asked.
const PAUSE: Duration = Duration::from_millis(700);

#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Freeze,
    LoseQuorum,
}

impl Fault {
    async fn make(self, both: &Both) -> Result<Guard> {
        Ok(match self {
            Self::Kill => both.main.kill_all().await?,
            Self::Freeze => both.main.freeze_all().await?,
            Self::LoseQuorum => both.main.lose_quorum().await?,
        })
    }
}

/// From `SIGKILL`.
pub(crate) fn killed() -> Result<Vec<Measure>> {
    let times = runtime()?.block_on(times(alone(), KILLS, Fault::Kill, reads_backup))?;
    let switched = Samples::new(times.iter().map(|time| time.seen), "kills");
    let noticed = Samples::new(times.iter().map(|time| time.noticed), "kills");
    Ok(vec![
        Measure::slowest("failover.killed_noticed", &noticed, Unit::Seconds, 1.0),
        Measure::slowest("failover.switch_warm", &switched, Unit::Milliseconds, 50.0),
    ])
}

/// From `SIGSTOP`.
pub(crate) fn frozen() -> Result<Vec<Measure>> {
    let times = runtime()?.block_on(times(alone(), FREEZES, Fault::Freeze, reads_backup))?;
    let noticed = Samples::new(times.iter().map(|time| time.noticed), "freezes");
    Ok(vec![Measure::slowest("failover.frozen_noticed", &noticed, Unit::Seconds, 4.0)])
}

/// From the end of the second of three members, until nobody believes the third one any more.
pub(crate) fn quorum_lost() -> Result<Vec<Measure>> {
    let doubted = |state: &State| matches!(state.members[0].state, MemberState::Degraded | MemberState::Down);
    let three = etcd::Options::new(etcd::Version::V3_5).with_cluster();
    let times = runtime()?.block_on(times(three, QUORUMS, Fault::LoseQuorum, doubted))?;
    let noticed = Samples::new(times.iter().map(|time| time.noticed), "lost quorums");
    Ok(vec![Measure::slowest("failover.quorum_noticed", &noticed, Unit::Seconds, 3.0)])
}

struct Time {
    /// From the fault until it shows.
    noticed: Duration,
    /// From the decision to read another registry until a view shows what that one has.
    seen: Duration,
}

async fn times(
    main: etcd::Options,
    count: usize,
    fault: Fault,
    noticed: fn(&State) -> bool,
) -> Result<Vec<Time>> {
    let both = Both::start(main).await?;
    let failover = both.failover(both.endpoints())?;
    let client = Client::new(Arc::new(failover.clone()))?;
    let service = fleet::service()?;
    let mut registrations = Vec::with_capacity(LIVE);
    for number in 0..LIVE {
        let options = callsign_client::RegisterOptions::new().required();
        registrations.push(client.register(fleet::instance(&service, number)?, options).await?);
    }
    let view = client.service(&service);
    let from = |member: &'static str| {
        view.wait_for(WITHIN, move |seen| {
            seen.source.as_ref().is_some_and(|source| source.ends_with(member))
                && seen.routable().len() == LIVE
        })
    };
    from("main").await?;
    let mut times = Vec::with_capacity(count);
    let mut pause = PAUSE;
    for _ in 0..count {
        sleep(pause).await;
        pause += PAUSE;
        let switched = switched(&failover);
        let clock = Stopwatch::start();
        let hurt = fault.make(&both);
        let shows = async { until(&failover, noticed).await.map(|()| clock.elapsed()) };
        let read = async {
            let at = switched.await?;
            from("backup").await?;
            anyhow::Ok(at.elapsed())
        };
        let (guard, shows, seen) = futures::join!(hurt, shows, read);
        times.push(Time { noticed: shows?, seen: seen? });
        guard?.heal().await?;
        until(&failover, reads_main).await?;
        from("main").await?;
    }
    Ok(times)
}

/// When the next switch is decided on. It listens from now on.
fn switched(failover: &Failover) -> impl Future<Output = Result<Instant>> + use<> {
    let mut events = failover.events();
    async move {
        let decided = async {
            while let Some(event) = events.next().await {
                if matches!(event.kind, EventKind::Switched { .. }) {
                    return event.at;
                }
            }
            std::future::pending().await
        };
        Ok(timeout(WITHIN, decided).await?)
    }
}
