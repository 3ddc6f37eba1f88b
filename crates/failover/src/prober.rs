//! The task that watches over one member: it hears its events, and probes it within a budget.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Backend, Error, ErrorKind, EventKind, EventStream, MemberState, Probe, Result};
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout};

use crate::group::Evidence;
use crate::shared::{Shared, evidence_of_event};

/// How many seconds' worth of probes may be sent in a row.
const BURST: f64 = 10.0;

/// Watches over `member` for ever.
pub(crate) async fn watch_over(shared: Arc<Shared>, member: usize) {
    let one = &shared.members[member];
    let mut events = hear(&*one.backend);
    let mut look_again = shared.look_again.subscribe();
    let mut budget = Budget::new(shared.settings.probe_budget, Instant::now());
    let mut dice = fastrand::Rng::new();
    let mut probed_at = Instant::now();
    let mut pause = Duration::ZERO;
    loop {
        let (state, counts_from) = how_it_is(&shared, member);
        // Before that it could only cost one of the probes that are left.
        let due = (probed_at + pause).max(budget.next_at()).max(counts_from);
        tokio::select! {
            biased;
            event = AssertUnwindSafe(events.next()).catch_unwind() => {
                let Ok(Some(event)) = event else {
                    // It has ended, or panicked: what happens is learnt by probes.
                    events = futures::stream::pending().boxed();
                    continue;
                };
                let evidence = evidence_of_event(&event);
                let look = evidence.is_some() || event.kind == EventKind::Ready;
                if let Some(evidence) = evidence {
                    shared.learn(member, evidence);
                }
                if look {
                    pause = Duration::ZERO;
                }
                continue;
            }
            () = one.poke.notified() => {
                // What is new decides how soon it is looked at.
                pause = next_pause(&shared, member, &mut dice).min(pause);
                continue;
            }
            // The sender lives as long as `shared`.
            _ = look_again.changed() => {
                pause = Duration::ZERO;
                continue;
            }
            () = sleep_until(due) => {}
        }
        probed_at = Instant::now();
        let (evidence, probes) = look_at(&shared, member, state).await;
        budget.spend(probes, probed_at);
        shared.learn(member, evidence);
        pause = next_pause(&shared, member, &mut dice);
    }
}

/// What it says of itself, and how many probes that took.
async fn look_at(shared: &Shared, member: usize, state: MemberState) -> (Evidence, f64) {
    let authority = probe(shared, member, Probe::Authority);
    let reachable = probe(shared, member, Probe::Reachable);
    if state == MemberState::Suspect {
        // What it is has to be known soon.
        let (authority, reachable) = futures::join!(authority, reachable);
        return (judge(authority, Some(reachable)), 2.0);
    }
    if state == MemberState::Healthy || shared.refuses(member) {
        return (judge(authority.await, None), 1.0);
    }
    tokio::pin!(authority);
    match timeout(shared.settings.suspect_interval / 2, &mut authority).await {
        Ok(Ok(())) => (judge(Ok(()), None), 1.0),
        Ok(failed) => (judge(failed, Some(reachable.await)), 2.0),
        // One that is read while it recovers may have frozen.
        Err(_) => {
            let (authority, reachable) = futures::join!(authority, reachable);
            (judge(authority, Some(reachable)), 2.0)
        }
    }
}

fn hear(backend: &dyn Backend) -> EventStream {
    let events = std::panic::catch_unwind(AssertUnwindSafe(|| backend.events()));
    events.unwrap_or_else(|_| futures::stream::pending().boxed())
}

/// Its state, and from when on a failed probe says something new.
fn how_it_is(shared: &Shared, member: usize) -> (MemberState, Instant) {
    let group = shared.group();
    let machine = &group.members()[member];
    (machine.state(), machine.counts_from(&shared.settings))
}

fn next_pause(shared: &Shared, member: usize, dice: &mut fastrand::Rng) -> Duration {
    shared.group().members()[member].probe_pause(&shared.settings, dice.f64())
}

async fn probe(shared: &Shared, member: usize, level: Probe) -> Result<()> {
    ask(shared, &*shared.members[member].backend, level).await
}

/// Asks a member for a sign of life, within the time it has.
pub(crate) async fn ask(shared: &Shared, backend: &dyn Backend, level: Probe) -> Result<()> {
    let limit = shared.settings.probe_timeout;
    let probe = AssertUnwindSafe(async { backend.probe(level).await }).catch_unwind();
    match timeout(limit, probe).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(Error::unexpected("the backend panicked")),
        Err(_) => Err(Error::timeout(format!("no answer to a probe within {limit:?}"))),
    }
}

/// What the answers to both probes say of a member; who proves authority, or was healthy, is asked for nothing else.
pub(crate) fn judge(authority: Result<()>, reachable: Option<Result<()>>) -> Evidence {
    let error = match authority {
        Ok(()) => return Evidence::Probed,
        Err(error) => error,
    };
    if error.is_misconfiguration() {
        return Evidence::Refusal(error);
    }
    if !error.counts_as_outage() && error.kind() != ErrorKind::Closed {
        return Evidence::Answer;
    }
    match reachable {
        None => Evidence::Trouble(error),
        Some(Ok(())) => Evidence::NoProof(error),
        Some(Err(plain)) if plain.is_misconfiguration() => Evidence::Refusal(plain),
        Some(Err(_)) => Evidence::Unreachable(error),
    }
}

/// A bucket of probes.
#[derive(Debug)]
struct Budget {
    rate: f64,
    tokens: f64,
    at: Instant,
}

impl Budget {
    fn new(rate: u32, now: Instant) -> Self {
        let rate = f64::from(rate);
        Self { rate, tokens: rate * BURST, at: now }
    }

    fn spend(&mut self, probes: f64, now: Instant) {
        let filled = self.tokens + now.duration_since(self.at).as_secs_f64() * self.rate;
        self.tokens = filled.min(self.rate * BURST) - probes;
        self.at = now;
    }

    /// When there is room for a probe again.
    fn next_at(&self) -> Instant {
        if self.tokens >= 0.0 { self.at } else { self.at + Duration::from_secs_f64(-self.tokens / self.rate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn probes_stay_within_their_budget() {
        let start = Instant::now();
        let mut budget = Budget::new(2, start);
        let mut probes = 0;
        while start.elapsed() < Duration::from_secs(60) {
            sleep_until(budget.next_at()).await;
            budget.spend(2.0, Instant::now());
            probes += 2;
        }
        assert!(probes <= 2 * 60 + 20 + 2, "{probes} probes in a minute");
    }

    #[test]
    fn no_quorum_is_told_from_silence() {
        let down = || Err(Error::unavailable("no leader"));
        assert!(matches!(judge(Ok(()), Some(down())), Evidence::Probed));
        assert!(matches!(judge(down(), Some(Ok(()))), Evidence::NoProof(_)));
        assert!(matches!(judge(down(), Some(down())), Evidence::Unreachable(_)));
        assert!(matches!(judge(down(), None), Evidence::Trouble(_)));
        let refused = Err(Error::new(ErrorKind::Unauthorized, "who are you"));
        assert!(matches!(judge(refused, None), Evidence::Refusal(_)));
        assert!(matches!(
            judge(Err(Error::new(ErrorKind::RateLimited, "slow down")), None),
            Evidence::Answer
        ));
    }
}
