//! Owners that come and go while a registry is away, and records that go without them.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Instance, Pair, Record, Ttl};
use tokio::time::{Instant, sleep};

use super::availability::{REFUSED, SILENT, kill};
use super::stage::{PROCESSES, RETURNED, SLACK, Stage, name};
use crate::rounds::process::Leave;

const SECOND: Duration = Duration::from_secs(1);

#[expect(clippy::needless_pass_by_value, reason = "handed to `map_err`")]
fn text(error: callsign_core::Error) -> String {
    error.to_string()
}

/// Waits until no onlooker shows this id, and then for a while longer whether one does again.
async fn goes_for_good(stage: &Stage, id: usize, within: Duration) -> Result<(), String> {
    let ids = [name(id).map_err(text)?];
    let shown = |stage: &Stage| {
        let onlookers = stage.onlookers();
        let shows = onlookers.iter().find(|one| one.watcher.shows_any_of(&ids));
        shows.map_or(Ok(()), |one| Err(format!("{} shows {}", one.name, ids[0])))
    };
    stage.until("gone", within, shown).await?;
    stage.main.mend();
    let begin = Instant::now();
    while begin.elapsed() < 2 * stage.ttl {
        shown(stage)?;
        sleep(SECOND / 50).await;
    }
    Ok(())
}

pub(super) async fn crashed_in_the_outage(stage: Arc<Stage>) -> Result<(), String> {
    let begin = Instant::now();
    let guard = kill(&stage).await?;
    stage.until_left(begin, REFUSED).await?;
    stage.until("well", RETURNED, Stage::well).await?;
    let process = stage.all_processes()[0].take();
    if let Some(process) = process {
        process.crash();
    }
    sleep(SECOND).await;
    stage.heal(guard).await?;
    goes_for_good(&stage, 0, stage.ttl + 2 * SECOND + SLACK).await
}

pub(super) async fn left_in_the_outage(stage: Arc<Stage>) -> Result<(), String> {
    let begin = Instant::now();
    let guard = kill(&stage).await?;
    stage.until_left(begin, REFUSED).await?;
    stage.until("well", RETURNED, Stage::well).await?;
    let id = name(1).map_err(text)?;
    if let Some(process) = stage.all_processes()[1].as_mut() {
        process.leave(&id, Leave::Drain(SECOND)).map_err(text)?;
    }
    sleep(2 * SECOND).await;
    stage.heal(guard).await?;
    goes_for_good(&stage, 1, SILENT).await
}

pub(super) async fn restarted_in_the_outage(stage: Arc<Stage>) -> Result<(), String> {
    let begin = Instant::now();
    let guard = kill(&stage).await?;
    stage.until_left(begin, REFUSED).await?;
    stage.until("well", RETURNED, Stage::well).await?;
    let process = stage.all_processes()[2].take();
    let ids: Vec<_> = (2..super::stage::IDS).step_by(PROCESSES).collect();
    if let Some(process) = process {
        process.crash();
    }
    for id in ids {
        stage.register(id).await.map_err(text)?;
    }
    stage.until("well", RETURNED, Stage::well).await?;
    stage.heal(guard).await?;
    stage.until_returned().await
}

/// An administrator's client deletes everything that one registry has of the service.
pub(super) async fn emptied(stage: Arc<Stage>) -> Result<(), String> {
    let main = &stage.pair.main.0;
    let admin = main.client(&main.doors().map_err(text)?).map_err(text)?;
    let listing = stage.listed(0).await.map_err(text)?;
    // One after the other they are unannounced removals, and the first few of those are believed.
    listing.instances.iter().for_each(|instance| stage.book.lapses(instance.id()));
    for instance in listing.instances.iter() {
        // Of a later incarnation than any, so that it may delete all of them.
        let builder = Instance::builder(&stage.service).id(instance.id()).endpoint("http://127.0.0.1:1");
        let instance = builder.pair(Pair::new(u64::MAX >> 1, 1)).build().map_err(text)?;
        admin.deregister(&Record::new(instance, Ttl::new(stage.ttl).map_err(text)?)).await.map_err(text)?;
    }
    let begin = Instant::now();
    let again = 5 * stage.ttl + SILENT;
    while stage.listed(0).await.map_err(text)?.instances.len() < listing.instances.len() {
        if begin.elapsed() > again {
            return Err(format!("after {again:?} not everybody is registered again"));
        }
        sleep(SECOND / 20).await;
    }
    Ok(())
}

pub(super) async fn all_leases_ended(stage: Arc<Stage>) -> Result<(), String> {
    let main = &stage.pair.main.0;
    let all = main.shape().all();
    let guard = main.freeze(&all).await.map_err(text)?;
    sleep(2 * stage.ttl + SECOND).await;
    stage.heal(guard).await
}
