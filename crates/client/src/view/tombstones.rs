//! Remembering who has left, so that no registry brings them back.

use std::collections::HashMap;
use std::time::Duration;

use callsign_core::{Instance, InstanceId, Pair, Status};
use tokio::time::Instant;

/// How long a departure is remembered: longer than any lease and any stale replica worth the name.
const REMEMBER: Duration = Duration::from_secs(600);
/// How often the forgotten are swept out.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The instances that have left.
#[derive(Debug, Default)]
pub(crate) struct Tombstones {
    stones: HashMap<InstanceId, Stone>,
    sweep_at: Option<Instant>,
}

/// The highest pairs that are over. No pair is lower than [`Pair::NONE`].
#[derive(Debug)]
struct Stone {
    /// Of who announced its leaving: no registry brings it back.
    announced: Pair,
    /// Of who was no longer listed: a registry that stands behind its answer may list it again; a stale one may not,
    /// for as long as the owner is the same.
    unlisted: Pair,
    until: Instant,
}

impl Tombstones {
    /// `instance` has left. A record of other software has no pair, so a later life of its id could not be told
    /// from this one: it is not remembered.
    pub(crate) fn bury(&mut self, instance: &Instance, now: Instant) {
        if self.sweep_at.is_none_or(|at| at <= now) {
            self.stones.retain(|_, stone| stone.until > now);
            self.sweep_at = Some(now + SWEEP_EVERY);
        }
        if instance.pair().is_none() {
            return;
        }
        let until = now + REMEMBER;
        let fresh = || Stone { announced: Pair::NONE, unlisted: Pair::NONE, until };
        let stone = self.stones.entry(instance.id().clone()).or_insert_with(fresh);
        let announced = instance.status == Status::Draining;
        let pair = if announced { &mut stone.announced } else { &mut stone.unlisted };
        *pair = instance.pair().max(*pair);
        stone.until = until;
    }

    /// Whether `instance`, listed by a registry that is `stale` or not, is somebody who has left, and not a later
    /// life of the same id.
    pub(crate) fn is_ghost(&self, instance: &Instance, stale: bool, now: Instant) -> bool {
        let stone = self.stones.get(instance.id()).filter(|stone| stone.until > now);
        stone.is_some_and(|stone| {
            let pair = instance.pair();
            let over = stale && pair.incarnation <= stone.unlisted.incarnation;
            !pair.is_none() && (pair <= stone.announced || over)
        })
    }
}
