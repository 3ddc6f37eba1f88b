//! One record that shares a lease: what is known of it, and the writes that wait for their turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, LostSignal, LostTrigger, Pair, Record, Result};
use tokio::time::Instant;

use super::ledger::{Caller, Outcome, ShardId};
use super::shard::Class;

/// A key as the registry stores it.
pub(crate) type Key = Arc<[u8]>;

/// The registry's record of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) mod_revision: i64,
    pub(crate) lease: i64,
    pub(crate) value: Vec<u8>,
    /// [`Pair::NONE`] where the value is not one of ours.
    pub(crate) pair: Pair,
}

/// What a write is to do, if its guard holds.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    Put {
        record: Record,
        value: Arc<[u8]>,
    },
    /// Deletes what has no higher pair.
    Delete {
        pair: Pair,
    },
    /// Deletes what is attached to the lease, whatever its pair.
    Evict {
        lease: i64,
    },
}

/// A write that waits, or is under way.
#[derive(Debug)]
pub(crate) struct Op<C> {
    pub(crate) action: Action,
    /// Nobody, for what the ledger does by itself.
    pub(crate) caller: Option<C>,
    /// How often its guard did not hold, or its lease was gone.
    pub(crate) rounds: u32,
}

impl<C: Caller> Op<C> {
    pub(crate) fn new(action: Action, caller: Option<C>) -> Self {
        Self { action, caller, rounds: 0 }
    }

    pub(crate) fn is_put(&self) -> bool {
        matches!(self.action, Action::Put { .. })
    }

    pub(crate) fn answer(self, result: Result<callsign_core::Receipt>) {
        if let Some(caller) = self.caller {
            caller.answer(result);
        }
    }

    /// What its lease has to be of, if it needs one.
    pub(crate) fn class(&self) -> Option<Class> {
        if let Action::Put { record, .. } = &self.action { Some(Class::of(record)) } else { None }
    }

    /// What it adds to a request, apart from its key.
    pub(crate) fn bytes(&self) -> usize {
        if let Action::Put { value, .. } = &self.action { value.len() } else { 0 }
    }

    /// The pair that stands behind it, where it may not overwrite a higher one.
    fn pair(&self) -> Option<Pair> {
        match &self.action {
            Action::Put { record, .. } => Some(record.pair()),
            Action::Delete { pair } => Some(*pair),
            Action::Evict { .. } => None,
        }
    }

    /// Whether its caller has given it up before it was sent.
    pub(crate) fn is_given_up(&self) -> bool {
        self.caller.as_ref().is_some_and(Caller::is_gone)
    }
}

/// What this process wrote last, proven.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub(crate) record: Record,
    pub(crate) value: Arc<[u8]>,
    pub(crate) lease: i64,
    /// Whose lease that is.
    pub(crate) shard: ShardId,
}

#[derive(Debug)]
pub(crate) struct Member<C> {
    /// Where it is written next.
    pub(crate) shard: ShardId,
    /// Where it may stand until then.
    pub(crate) left: Option<ShardId>,
    pub(crate) written: Option<Written>,
    /// The `mod_revision` that the next write expects to find; 0: nothing.
    pub(crate) expected: i64,
    /// The pair of what is expected.
    standing: Pair,
    /// The newest change that the watch has shown: its revision, and the record, unless it was deleted.
    seen: Option<(i64, Option<Stored>)>,
    pub(crate) queue: VecDeque<Op<C>>,
    pub(crate) in_flight: Option<Op<C>>,
    /// The last `register` or `renew`.
    pub(crate) renewed_at: Instant,
    pub(crate) ttl: Duration,
    /// When presence and content are to be proven again.
    pub(crate) prove_at: Instant,
    lost: LostTrigger,
    pub(crate) signal: LostSignal,
    /// Why the record is lost, until it is registered again.
    pub(crate) lost_cause: Option<Error>,
    /// The lease that it is to be removed from: nobody has renewed it.
    evict: Option<i64>,
}

impl<C: Caller> Member<C> {
    pub(crate) fn new(shard: ShardId, ttl: Duration, now: Instant) -> Self {
        let (lost, signal) = LostSignal::channel();
        Self {
            shard,
            left: None,
            written: None,
            expected: 0,
            standing: Pair::NONE,
            seen: None,
            queue: VecDeque::new(),
            in_flight: None,
            renewed_at: now,
            ttl,
            prove_at: now,
            lost,
            signal,
            lost_cause: None,
            evict: None,
        }
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.is_some() || !self.queue.is_empty()
    }

    /// How long it lasts from now on without being renewed.
    pub(crate) fn remaining(&self, now: Instant) -> Duration {
        (self.renewed_at + self.ttl).saturating_duration_since(now)
    }

    /// Whether nobody has renewed it in time, and nothing is written that would say otherwise.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        !self.is_busy() && self.remaining(now).is_zero()
    }

    /// A put has happened, at `mod_revision`.
    pub(crate) fn wrote(&mut self, written: Written, mod_revision: i64, now: Instant) {
        let incarnation = written.record.instance.incarnation;
        if self.written.as_ref().is_none_or(|former| former.record.instance.incarnation != incarnation) {
            // The signal of a former receipt may have fired, or belongs to another owner.
            (self.lost, self.signal) = LostSignal::channel();
        }
        self.ttl = written.record.ttl.get();
        self.renewed_at = now;
        self.lost_cause = None;
        self.evict = None;
        self.expect(Some((mod_revision, written.record.pair())));
        self.written = Some(written);
        self.prove_at = now + self.ttl.mul_f64(PROVE_EVERY_TTLS);
        self.judge();
    }

    /// The revision that `op` is guarded with. What is known is of no use to a write that is older than it: the guard
    /// then fails, and shows whether that is still there.
    pub(crate) fn expected_by(&self, op: &Op<C>) -> i64 {
        if op.pair().is_some_and(|pair| self.standing > pair) { 0 } else { self.expected }
    }

    /// What the next write expects to find.
    pub(crate) fn expect(&mut self, stored: Option<(i64, Pair)>) {
        (self.expected, self.standing) = stored.unwrap_or((0, Pair::NONE));
    }

    /// Nobody has renewed it in time: it is to be removed from its lease, so that it does not live on the renewals of
    /// others, until that succeeds.
    pub(crate) fn evict(&mut self) -> Option<i64> {
        self.evict = self.evict.or(self.written.as_ref().map(|written| written.lease));
        self.lose(Error::not_found("the record was not renewed in time"));
        if self.evict.is_none() {
            self.lost_cause = None;
        }
        self.evict
    }

    /// Another write is about to settle what stands there. If it fails, what is to be removed still is.
    pub(crate) fn stop_evicting(&mut self) {
        self.queue.retain(|op| !matches!(op.action, Action::Evict { .. }));
    }

    /// The key is empty, or holds what is none of ours.
    pub(crate) fn removed(&mut self) {
        self.written = None;
        self.expect(None);
        self.evict = None;
        self.lost_cause = None;
    }

    /// Whether there is nothing left to know of it.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.written.is_none() && self.evict.is_none() && self.lost_cause.is_none()
    }

    /// A look at the registry was taken while nothing was being written.
    pub(crate) fn proved(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Applied { .. } => self.prove_at = now + self.ttl.mul_f64(PROVE_EVERY_TTLS),
            // Whatever its revision is: that of a registry that was wiped is lower.
            Outcome::Refused(stored) => self.found(stored.as_ref()),
        }
    }

    /// The watch shows what the key holds since `revision`.
    pub(crate) fn saw(&mut self, revision: i64, stored: Option<Stored>) {
        if self.seen.as_ref().is_none_or(|(known, _)| revision > *known) {
            self.seen = Some((revision, stored));
        }
        if !self.is_busy() {
            self.judge();
        }
    }

    /// Believes what the watch has shown, unless something newer is known.
    pub(crate) fn judge(&mut self) {
        if let Some((revision, stored)) = self.seen.take()
            && revision > self.expected
            && self.written.is_some()
        {
            self.found(stored.as_ref());
        }
    }

    /// This is what the key holds: notices that it is not what was written.
    pub(crate) fn found(&mut self, stored: Option<&Stored>) {
        self.expect(stored.map(|stored| (stored.mod_revision, stored.pair)));
        self.evict.take_if(|lease| stored.is_none_or(|stored| stored.lease != *lease));
        let Some(written) = &self.written else { return };
        self.lose(match stored {
            // A duplicate of our own write that came through late.
            Some(stored) if stored.value == *written.value && stored.lease == written.lease => return,
            Some(stored) if stored.pair.incarnation > written.record.instance.incarnation => {
                Error::conflict(stored.pair, "another owner has taken the id over")
            }
            Some(_) => Error::not_found("the record was overwritten"),
            None => Error::not_found("the record was deleted"),
        });
    }

    pub(crate) fn lose(&mut self, cause: Error) {
        if self.written.take().is_some() {
            self.lost.fire(cause.clone());
            self.lost_cause = Some(cause);
        }
    }
}

/// The contract is 3 ttls; renewals come every third of one.
const PROVE_EVERY_TTLS: f64 = 2.5;
