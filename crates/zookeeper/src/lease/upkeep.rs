//! What has to be done without being asked: removing who was not renewed, noticing who is missing, and removing what
//! should not be there.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep};

use super::Keeper;
use crate::error::Call;
use crate::session::{Live, State};

/// How late a removal may begin.
const TICK: Duration = Duration::from_millis(250);
/// How often all nodes of the session are listed. A write that was given up may happen after that, and nobody else would
/// find its node.
const INSPECTION: Duration = Duration::from_secs(15);
/// How many nodes are removed at a time.
const REMOVALS: usize = 64;

/// Keeps the ledger and the registry in step, for as long as the session is open.
pub(super) async fn keep(keeper: Arc<Keeper>) {
    let mut states = keeper.session.states();
    let mut away_since = None;
    let mut connection = None;
    let mut inspect_at = Instant::now();
    loop {
        let state = states.borrow_and_update().clone();
        match state {
            State::Closed => return,
            State::Unknown | State::Away(_) => {
                away_since.get_or_insert_with(Instant::now);
                if states.changed().await.is_err() {
                    return;
                }
            }
            State::Live(live) => {
                let now = Instant::now();
                if let Some(since) = away_since.take() {
                    keeper.ledger().reconnected(now - since, now);
                }
                if connection.replace(live.connection) != Some(live.connection) {
                    keeper.ledger().session(live.id);
                    inspect_at = now;
                }
                if now >= inspect_at {
                    inspect(&keeper, &live).await;
                    inspect_at = Instant::now() + INSPECTION;
                }
                sweep(&keeper, &live).await;
                tokio::select! {
                    changed = states.changed() => if changed.is_err() { return },
                    () = sleep(TICK) => {}
                }
            }
        }
    }
}

async fn inspect(keeper: &Keeper, live: &Live) {
    let settings = keeper.session.settings();
    let mark = keeper.ledger().mark();
    let Ok(client) = live.client() else { return };
    let call = Call::read("list the nodes of the session");
    let listed = client.list_ephemerals(settings.paths.root());
    if let Ok(nodes) = keeper.session.run(live, settings.list_timeout, call, listed).await {
        keeper.ledger().inspected(mark, nodes, Instant::now());
    }
}

/// What fails stays overdue, and is tried again.
async fn sweep(keeper: &Keeper, live: &Live) {
    let overdue = keeper.ledger().overdue(Instant::now());
    stream::iter(overdue)
        .for_each_concurrent(REMOVALS, |path| async move {
            let _ = keeper.evict(live, &path).await;
        })
        .await;
}
