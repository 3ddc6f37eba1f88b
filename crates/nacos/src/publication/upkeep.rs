//! The one writer: has the servers take what is wanted, and nothing that nobody has renewed.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{StreamExt, future};
use tokio::time::{Instant, interval, sleep};

use super::Keeper;
use super::sender::send;
use crate::session::{Live, State};

/// How late a removal may begin.
const TICK: Duration = Duration::from_millis(250);
/// So many services are written at a time, and so many subscriptions given up.
const REQUESTS: usize = 32;

/// Keeps servers and ledger in step, for as long as the session is open.
pub(super) async fn keep(keeper: Arc<Keeper>) {
    let mut states = keeper.session.states();
    loop {
        let state = states.borrow_and_update().clone();
        match state {
            State::Closed => return,
            State::Unknown | State::Away(_) => {
                keeper.ledger().disconnected();
                keeper.subscriptions.forget_abandoned();
                loop {
                    tokio::select! {
                        changed = states.changed() => match changed {
                            Ok(()) => break,
                            Err(_) => return,
                        },
                        () = sleep(TICK) => keeper.ledger().tick(Instant::now()),
                    }
                }
            }
            State::Live(live) => {
                let Ok(connection) = live.connection() else {
                    if states.changed().await.is_err() {
                        return;
                    }
                    continue;
                };
                keeper.ledger().connected(live.generation, connection.flavour, Instant::now());
                // What is under way on a connection ends with it. Only its owner may keep it.
                drop(connection);
                tokio::select! {
                    biased;
                    changed = states.changed() => if changed.is_err() { return },
                    _ = future::join(publish(&keeper, &live), leave(&keeper, &live)) => {}
                }
            }
        }
    }
}

/// Sends set after set.
async fn publish(keeper: &Keeper, live: &Live) {
    let mut under_way = FuturesUnordered::new();
    let mut ticks = interval(TICK);
    let mut replayed = false;
    loop {
        while under_way.len() < REQUESTS {
            let Some(plan) = keeper.ledger().next(Instant::now()) else { break };
            let connection = live.connection();
            under_way.push(async move {
                let result = match connection {
                    Ok(connection) => send(&plan, &connection).await,
                    Err(error) => {
                        Err(crate::error::Failure { error, verdict: crate::error::Verdict::Silence })
                    }
                };
                (plan, result)
            });
        }
        if !replayed && under_way.is_empty() && keeper.ledger().is_settled() {
            replayed = true;
            keeper.session.has_replayed(live.generation);
        }
        tokio::select! {
            Some((plan, result)) = under_way.next() => keeper.ledger().done(plan, result, Instant::now()),
            () = keeper.wanted.notified() => {}
            _ = ticks.tick() => keeper.ledger().tick(Instant::now()),
        }
    }
}

/// Gives up subscriptions that nobody needs any more.
async fn leave(keeper: &Keeper, live: &Live) {
    loop {
        let abandoned = keeper.subscriptions.abandoned();
        if let Ok(connection) = live.connection() {
            for some in abandoned.chunks(REQUESTS) {
                let leaving = FuturesUnordered::new();
                for slot in some {
                    leaving.push(keeper.subscriptions.give_up(slot, &connection));
                }
                leaving.collect::<()>().await;
            }
        }
        keeper.subscriptions.somebody_left().await;
    }
}
