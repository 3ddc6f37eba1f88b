//! A registry that does not answer, or not well.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{MemberState, SwitchReason};
use callsign_failover::Topology;
use callsign_testkit::Guard;
use tokio::time::{Instant, sleep};

use super::onlooker::Onlooker;
use super::stage::{IDS, RETURNED, SLACK, Stage};
use super::ways::Group;
use crate::proxy::{Direction, Mode};

const SECOND: Duration = Duration::from_secs(1);
/// How long one that is refused may be read from; by probes alone it is twice as long.
pub(super) const REFUSED: Duration = Duration::from_secs(2);
/// How long one that is silent may be.
pub(super) const SILENT: Duration = Duration::from_secs(4);

pub(super) async fn kill(stage: &Stage) -> Result<Guard, String> {
    let main = &stage.pair.main.0;
    let all = main.shape().all();
    main.kill(&all).await.map_err(|error| format!("it is not killed: {error}"))
}

/// It is well again, and read again. There and back is all, but on a machine that has so much to do that the other one
/// seems to be away, too.
async fn returns(stage: &Stage, begin: Instant) -> Result<(), String> {
    stage.main.mend();
    if stage.topology == Topology::Union {
        return stage.until("well", RETURNED, Stage::well).await.map(drop);
    }
    stage.until_returned().await?;
    // What is told is written down by a task, which gets its turn.
    let told = stage.until("there and back", SECOND, |stage| {
        let onlookers = stage.onlookers();
        let strays = |one: &&Arc<Onlooker>| {
            !(2..=4).contains(&one.switches(begin)) || one.switched(begin, SwitchReason::Outage).is_none()
        };
        let other = onlookers.iter().find(strays);
        other.map_or(Ok(()), |one| Err(format!("{}: {}", one.name, one.story(begin))))
    });
    told.await.map(drop)
}

pub(super) async fn killed(stage: Arc<Stage>) -> Result<(), String> {
    let begin = Instant::now();
    let guard = kill(&stage).await?;
    stage.until_left(begin, REFUSED).await?;
    sleep(3 * SECOND).await;
    stage.heal(guard).await?;
    returns(&stage, begin).await
}

pub(super) async fn frozen(stage: Arc<Stage>) -> Result<(), String> {
    let main = &stage.pair.main.0;
    let all = main.shape().all();
    let begin = Instant::now();
    let guard = main.freeze(&all).await.map_err(|error| format!("it is not frozen: {error}"))?;
    stage.until_left(begin, SILENT).await?;
    sleep(3 * SECOND).await;
    stage.heal(guard).await?;
    returns(&stage, begin).await
}

async fn disturbed(stage: &Stage, mode: Mode, bound: Duration) -> Result<(), String> {
    let begin = Instant::now();
    stage.main.set(&Group::ALL, mode).await;
    stage.until_left(begin, bound).await?;
    sleep(3 * SECOND).await;
    returns(stage, begin).await
}

pub(super) async fn black_hole(stage: Arc<Stage>) -> Result<(), String> {
    disturbed(&stage, Mode::HalfOpen, SILENT).await
}

pub(super) async fn answers_lost(stage: Arc<Stage>) -> Result<(), String> {
    let begin = Instant::now();
    stage.main.set(&Group::ALL, Mode::Drop(Direction::ToClient)).await;
    // Somebody comes meanwhile, and does not have to wait for who is silent.
    stage.register(IDS).await.map_err(|error| error.to_string())?;
    stage.until_left(begin, SILENT).await?;
    stage.until("seen", SILENT + stage.ttl, Stage::well).await?;
    returns(&stage, begin).await
}

pub(super) async fn reset(stage: Arc<Stage>) -> Result<(), String> {
    disturbed(&stage, Mode::Refuse, REFUSED).await
}

pub(super) async fn slow(stage: Arc<Stage>) -> Result<(), String> {
    let begin = Instant::now();
    stage.main.set(&Group::ALL, Mode::Delay(SECOND / 2)).await;
    sleep(12 * SECOND).await;
    for onlooker in stage.onlookers() {
        let switches = onlooker.switches(begin);
        if switches > 2 {
            return Err(format!("{} has switched {switches} times: it flaps", onlooker.name));
        }
    }
    Ok(())
}

pub(super) async fn restarted_empty(stage: Arc<Stage>) -> Result<(), String> {
    let begin = Instant::now();
    let guard = kill(&stage).await?;
    stage.until_left(begin, REFUSED).await?;
    let main = &stage.pair.main.0;
    main.wipe(&main.shape().all()).await.map_err(|error| error.to_string())?;
    stage.heal(guard).await?;
    returns(&stage, begin).await?;
    let listed = stage.listed(0).await.map_err(|error| error.to_string())?;
    if listed.instances.len() != IDS && stage.topology != Topology::Union {
        return Err(format!("main is read again, and lists {} of {IDS}", listed.instances.len()));
    }
    Ok(())
}

pub(super) async fn rolling_restart(stage: Arc<Stage>) -> Result<(), String> {
    let begin = Instant::now();
    let main = &stage.pair.main.0;
    for member in 0..main.shape().members {
        main.restart(member).await.map_err(|error| error.to_string())?;
        sleep(SECOND).await;
    }
    if main.is_silent_between_leaders() {
        // A death that is to be noticed within a second looks the same: who is left for that is returned to.
        return stage.until_returned().await;
    }
    for onlooker in stage.onlookers() {
        let down = onlooker.first("main", begin, |state| state == MemberState::Down);
        if onlooker.switches(begin) > 0 || down.is_some() {
            return Err(format!("{} has turned away: {}", onlooker.name, onlooker.story(begin)));
        }
    }
    Ok(())
}

/// How long a start may take while nobody answers; of it 300 ms are promised.
const COLD: Duration = Duration::from_millis(300);

pub(super) async fn all_down(stage: Arc<Stage>) -> Result<(), String> {
    let text = |error: callsign_core::Error| error.to_string();
    let store = stage.folder.path().join("views");
    let start = |name: &str| {
        let failover = stage.failover(Group::Onlookers, |_| true, None)?;
        Onlooker::start(name, failover, &stage.service, &stage.book, Some(&store))
    };
    let former = start("former").map_err(text)?;
    former.watcher.view().ready(SILENT).await.map_err(text)?;
    let kept = |_: &Stage| {
        let files = std::fs::read_dir(&store).into_iter().flatten().flatten();
        let kept = files.filter(|file| file.path().extension().is_some_and(|end| end == "view")).count();
        if kept > 0 { Ok(()) } else { Err("there is no file".to_owned()) }
    };
    stage.until("kept on disk", SILENT, kept).await?;
    drop(former);
    let guard = kill(&stage).await?;
    let backup = &stage.pair.backup.0;
    let all = backup.shape().all();
    let other = backup.kill(&all).await.map_err(text)?;
    let restarted = Arc::new(start("restarted").map_err(text)?);
    stage.all_onlookers().push(restarted.clone());
    let seen = |_: &Stage| {
        let shown = restarted.watcher.view().snapshot().instances.len();
        if shown == IDS { Ok(()) } else { Err(format!("{shown} of {IDS}")) }
    };
    stage.until("seen from disk", COLD + SLACK, seen).await?;
    sleep(2 * SECOND).await;
    stage.heal(guard).await?;
    stage.heal(other).await?;
    stage.until("well", RETURNED, Stage::well).await.map(drop)
}
