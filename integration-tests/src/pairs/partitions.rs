//! A registry of which a part, or a part of its clients, is cut off.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use callsign_core::MemberState;
use tokio::time::{Instant, sleep};

use super::availability::SILENT;
use super::stage::{IDS, RETURNED, SLACK, Stage, name};
use super::ways::Group;
use crate::proxy::{Direction, Mode};
use crate::rounds::process::Leave;

const SECOND: Duration = Duration::from_secs(1);
/// How long a member may answer without a quorum and not be told from one with it.
const DEGRADED: Duration = Duration::from_secs(3);
/// A watch that says nothing is opened anew after this.
const SILENT_WATCH: Duration = Duration::from_secs(30);

#[expect(clippy::needless_pass_by_value, reason = "handed to `map_err`")]
fn text(error: callsign_core::Error) -> String {
    error.to_string()
}

fn is_doubted(state: MemberState) -> bool {
    matches!(state, MemberState::Degraded | MemberState::Down)
}

/// One comes, one goes.
async fn churn(stage: &Stage) -> Result<(), String> {
    stage.register(IDS + 1).await.map_err(text)?;
    let id = name(3).map_err(text)?;
    if let Some(process) = stage.all_processes()[3].as_mut() {
        process.leave(&id, Leave::Drain(SECOND)).map_err(text)?;
    }
    Ok(())
}

pub(super) async fn quorum_lost(stage: Arc<Stage>) -> Result<(), String> {
    let begin = Instant::now();
    let guard = stage.pair.main.0.kill(&[0, 1]).await.map_err(text)?;
    stage
        .until("doubted", DEGRADED + SLACK, |stage| {
            let onlookers = stage.onlookers();
            let late = onlookers.iter().find(|one| one.first("main", begin, is_doubted).is_none());
            late.map_or(Ok(()), |one| Err(format!("{} sees {:?}", one.name, one.control.members())))
        })
        .await?;
    stage.until_left(begin, SILENT).await?;
    churn(&stage).await?;
    stage.until("what has happened is seen", SILENT + stage.ttl, Stage::well).await?;
    stage.heal(guard).await
}

pub(super) async fn minority(stage: Arc<Stage>) -> Result<(), String> {
    let cut_off =
        stage.look_on("with the minority", Group::OtherOnlookers, |door| door == 2).map_err(text)?;
    stage.until("everybody is seen", SILENT, Stage::well).await?;
    let begin = Instant::now();
    let guard = stage.pair.main.0.isolate(2).await.map_err(text)?;
    stage
        .until("doubted", DEGRADED + SLACK, |_| match cut_off.first("main", begin, is_doubted) {
            Some(_) => Ok(()),
            None => Err(format!("it sees {:?}", cut_off.control.members())),
        })
        .await?;
    churn(&stage).await?;
    stage.until("what has happened is seen", SILENT + stage.ttl, Stage::well).await?;
    stage.heal(guard).await
}

pub(super) async fn each_half_reaches_another(stage: Arc<Stage>) -> Result<(), String> {
    // Their leases end one after the other, and the first few of those removals are believed.
    stage.believed.store(true, Ordering::SeqCst);
    stage.main.set(&[Group::Owners, Group::Onlookers], Mode::HalfOpen).await;
    stage.backup.set(&[Group::OtherOwners, Group::OtherOnlookers], Mode::HalfOpen).await;
    sleep(3 * stage.ttl).await;
    stage.main.mend();
    stage.backup.mend();
    stage.until("well", RETURNED, Stage::well).await.map(drop)
}

pub(super) async fn silent_watch(stage: Arc<Stage>) -> Result<(), String> {
    let onlookers = [Group::Onlookers, Group::OtherOnlookers];
    stage.main.set(&onlookers, Mode::Drop(Direction::ToClient)).await;
    churn(&stage).await?;
    stage.until("what has happened is seen", SILENT_WATCH, Stage::well).await.map(drop)
}
