//! The task that writes to one member. What it does, or does not, delays no other.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, ErrorKind, InstanceKey, LostSignal, Receipt, Result};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::Verb;
use super::ledger::Job;
use super::writer::outcome;
use crate::group::Evidence;
use crate::metrics;
use crate::shared::{Shared, evidence_of};

/// How many writes may be under way to one member.
const AT_ONCE: usize = 256;
/// How often removals that are due are looked for, and signals that nobody needs are forgotten.
const LOOK: Duration = Duration::from_millis(250);
const TIDY_EVERY: u32 = 40;
/// A member that asks for fewer requests is left alone for this long, unless it says how long, and at most this long.
const SLOW_DOWN: Duration = Duration::from_secs(1);
const SLOW_DOWN_AT_MOST: Duration = Duration::from_secs(20);

type Running = FuturesUnordered<BoxFuture<'static, (Job, Result<Receipt>)>>;
type Losses = FuturesUnordered<BoxFuture<'static, (InstanceKey, Option<Error>)>>;

/// Writes to `member` for ever.
pub(crate) async fn work(shared: Arc<Shared>, member: usize) {
    let mut running: Running = FuturesUnordered::new();
    let mut losses: Losses = FuturesUnordered::new();
    // Dropping one ends the wait for its loss.
    let mut armed: HashMap<InstanceKey, oneshot::Sender<()>> = HashMap::new();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut looks, mut resume_at) = (0_u32, Instant::now());
    loop {
        while running.len() < AT_ONCE && Instant::now() >= resume_at {
            let Some(job) = shared.writer.next(&shared, member) else { break };
            running.push(write(shared.clone(), member, job).boxed());
        }
        tokio::select! {
            biased;
            Some((job, answer)) = running.next() => {
                if let Err(error) = &answer
                    && error.kind() == ErrorKind::RateLimited
                {
                    let pause = error.retry_after().unwrap_or(SLOW_DOWN).min(SLOW_DOWN_AT_MOST);
                    resume_at = Instant::now() + pause;
                }
                match (&answer, job.verb) {
                    (Ok(_), Verb::Deregister) => drop(armed.remove(&job.key)),
                    (Ok(receipt), _) if !armed.contains_key(&job.key) => {
                        let (keep, given_up) = oneshot::channel();
                        armed.insert(job.key.clone(), keep);
                        losses.push(loss(job.key.clone(), receipt.lost.clone(), given_up).boxed());
                    }
                    _ => {}
                }
                shared.writer.done(&shared, member, &job.key, &answer);
            }
            Some((key, cause)) = losses.next() => {
                if let Some(cause) = cause {
                    armed.remove(&key);
                    shared.writer.lost(&shared, member, &key, &cause);
                }
            }
            () = shared.writer.woken(member), if running.len() < AT_ONCE => {}
            () = sleep_until(resume_at), if Instant::now() < resume_at => {}
            _ = look.tick() => {
                shared.writer.retry(&shared, member);
                looks = looks.wrapping_add(1);
                if looks.is_multiple_of(TIDY_EVERY) {
                    armed.retain(|key, _| shared.writer.knows(key));
                }
            }
        }
    }
}

/// Sends one write and learns from its answer. It is never cancelled: who waits for it is told when it takes too long.
async fn write(shared: Arc<Shared>, member: usize, job: Job) -> (Job, Result<Receipt>) {
    let backend = shared.members[member].backend.clone();
    let (verb, record) = (job.verb, job.record.clone());
    let call = async move {
        match verb {
            Verb::Register => backend.register(&record).await,
            Verb::Renew => backend.renew(&record).await,
            Verb::Deregister => backend.deregister(&record).await,
        }
    };
    let begun = Instant::now();
    let mut call = Box::pin(AssertUnwindSafe(call).catch_unwind());
    let limit = shared.settings.write_timeout;
    let answer = match timeout(limit, &mut call).await {
        Ok(answer) => answer,
        Err(_) => {
            let error = Error::timeout(format!("no answer within {limit:?}")).with_outcome_unknown();
            shared.writer.slow(&shared, member, &job.key, &error);
            shared.learn(member, Evidence::Trouble(error));
            call.await
        }
    };
    let answer =
        answer.unwrap_or_else(|_| Err(Error::unexpected("the backend panicked").with_outcome_unknown()));
    let (failover, name) = (&shared.info.name, &shared.members[member].name);
    metrics::operation(failover, name, job.verb.name(), outcome(&answer), begun.elapsed());
    let evidence = match &answer {
        Ok(receipt) if receipt.committed => Evidence::Proof,
        Ok(_) => Evidence::Answer,
        Err(error) => evidence_of(error),
    };
    shared.learn(member, evidence);
    (job, answer)
}

/// Waits until the member tells that it has lost the record; without a cause, until nobody needs to know.
async fn loss(
    key: InstanceKey,
    mut lost: LostSignal,
    given_up: oneshot::Receiver<()>,
) -> (InstanceKey, Option<Error>) {
    tokio::select! {
        cause = lost.fired() => (key, Some(cause)),
        _ = given_up => (key, None),
    }
}
