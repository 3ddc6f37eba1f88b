//! One of three members is killed or frozen: how soon a view that was connected to it is live again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use callsign_integration_tests::etcd::Etcd;
use etcd_client::GetOptions;
use tokio::time::{sleep, timeout};

use super::fleet::{Fleet, RECOVERED_WITHIN};
use super::{alone, runtime, start};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const LIVE: usize = 20;
const TTL: Duration = Duration::from_secs(15);
const TIMES: usize = 5;
/// Between two faults: a connection that breaks within 5 s is not replaced at once.
const PAUSE: Duration = Duration::from_secs(6);
/// Added to each pause: how soon a frozen member is noticed depends on when it was last asked.
const LONGER: Duration = Duration::from_millis(700);
const POLL: Duration = Duration::from_millis(10);
/// How long one question of the plain client may take.
const ANSWER: Duration = Duration::from_millis(200);

/// What the member is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Follower,
    Leader,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Freeze,
}

/// What was measured of one fault after the other.
#[derive(Debug, Default)]
struct Times {
    /// Until the view is live over another member.
    live: Vec<Duration>,
    /// Until a plain client of another member, which asks all the time, gets an answer that a quorum stands behind.
    raw: Vec<Duration>,
}

/// From `SIGKILL` of the follower that a view is connected to until the view is live again.
pub(crate) fn killed_live() -> Result<Vec<Measure>> {
    let times = runtime()?.block_on(live_again(Role::Follower, Fault::Kill))?;
    Ok(vec![row("etcd.member_killed_live", "kills", times, |_| 1.0)])
}

/// As [`killed_live`], of the leader: the others have to elect another one first, and every client waits for that.
pub(crate) fn leader_killed_live() -> Result<Vec<Measure>> {
    let times = runtime()?.block_on(live_again(Role::Leader, Fault::Kill))?;
    Ok(vec![row("etcd.leader_killed_live", "kills", times, |election| election + 1.0)])
}

/// From `SIGSTOP` of the follower that a view is connected to until the view is live again.
pub(crate) fn frozen_live() -> Result<Vec<Measure>> {
    let times = runtime()?.block_on(live_again(Role::Follower, Fault::Freeze))?;
    Ok(vec![row("etcd.member_frozen_live", "freezes", times, |_| 9.0)])
}

fn row(name: &str, what: &str, times: Times, target: impl FnOnce(f64) -> f64) -> Measure {
    let raw = Samples::new(times.raw, what).slowest();
    let live = Samples::new(times.live, what);
    Measure::slowest(name, &live, Unit::Seconds, target(raw)).beside(raw)
}

async fn live_again(role: Role, fault: Fault) -> Result<Times> {
    let etcd = start(alone().with_cluster().with_client_proxies()).await?;
    // Only the view comes through the proxies, which tell what it is connected to.
    let fleet = Fleet::start(&etcd, LIVE, TTL, etcd.endpoints()).await?;
    let mut times = Times::default();
    let mut pause = PAUSE;
    for _ in 0..TIMES {
        sleep(pause).await;
        pause += LONGER;
        let hurt = pinned(&etcd).await?;
        take_role(&etcd, hurt, role).await?;
        fleet.recovered().await?;
        ensure!(pinned(&etcd).await? == hurt, "the view has gone to another member by itself");

        let mut changes = fleet.changes();
        let clock = Stopwatch::start();
        let live = async {
            changes.until(false).await?;
            changes.until(true).await?;
            anyhow::Ok(clock.elapsed())
        };
        let raw = async {
            let guard = match fault {
                Fault::Kill => etcd.kill([hurt]).await,
                Fault::Freeze => etcd.freeze([hurt]).await,
            }?;
            answers(&etcd, (hurt + 1) % etcd.members().len()).await?;
            anyhow::Ok((guard, clock.elapsed()))
        };
        let (live, raw) = futures::join!(live, raw);
        let (guard, raw) = raw?;
        times.live.push(live?);
        times.raw.push(raw);
        guard.heal().await?;
        fleet.recovered().await?;
    }
    Ok(times)
}

/// The member that the view is connected to.
async fn pinned(etcd: &Etcd) -> Result<usize> {
    let is_connected = |member: &callsign_integration_tests::etcd::Member| {
        member.clients().is_some_and(|proxy| proxy.counts().live > 0)
    };
    let found = async {
        loop {
            let connected: Vec<_> = etcd.members().iter().map(is_connected).collect();
            // While it changes from one to another there may be two.
            if connected.iter().filter(|connected| **connected).count() == 1 {
                return connected.iter().position(|connected| *connected);
            }
            sleep(POLL).await;
        }
    };
    timeout(RECOVERED_WITHIN, found).await?.context("the view is connected to no member")
}

/// Has `member` lead, or another one if it is to follow.
async fn take_role(etcd: &Arc<Etcd>, member: usize, role: Role) -> Result<()> {
    let has_role = |leader: usize| (leader == member) == (role == Role::Leader);
    let took = async {
        loop {
            let leader = etcd.leader().await?;
            if has_role(leader) {
                return anyhow::Ok(());
            }
            let successor = if role == Role::Leader { member } else { (member + 1) % etcd.members().len() };
            let id = etcd.raw_at(successor).await?.status().await?;
            let id = id.header().context("a status without a header")?.member_id();
            etcd.raw_at(leader).await?.move_leader(id).await?;
            sleep(POLL).await;
        }
    };
    timeout(RECOVERED_WITHIN, took).await?
}

/// Waits until `member` answers with a quorum behind it.
async fn answers(etcd: &Etcd, member: usize) -> Result<()> {
    let mut client = etcd.raw_at(member).await?;
    let answered = async {
        loop {
            let get = client.get("/", Some(GetOptions::new().with_limit(1)));
            if matches!(timeout(ANSWER, get).await, Ok(Ok(_))) {
                return;
            }
            sleep(POLL).await;
        }
    };
    Ok(timeout(RECOVERED_WITHIN, answered).await?)
}
