//! What the registry said, and what follows from it.

use std::time::Duration;

use callsign_core::{Error, ErrorKind, Receipt, Result};
use tokio::time::Instant;

use super::ledger::{Caller, Item, Ledger, Outcome, Output, ROUNDS, ShardId, conflict};
use super::member::{Action, Key, Member, Op, Stored, Written};
use super::shard::{Inspection, Lease, Shard, Waiter};

impl<C: Caller> Ledger<C> {
    pub(crate) fn granted(&mut self, id: ShardId, asked_at: Instant, result: Result<(i64, Duration)>) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        match result {
            Ok((lease, ttl)) => {
                shard.lease = Lease::Granted { id: lease, ttl, renewed_at: asked_at };
                shard.inspection = Inspection::Needless;
                self.due.insert(id);
            }
            Err(error) => {
                shard.lease = Lease::Missing;
                self.refuse_puts(id, &error);
            }
        }
        self.send();
    }

    /// Answers every waiting put of a shard that gets no lease.
    fn refuse_puts(&mut self, id: ShardId, error: &Error) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let ready: Vec<_> = shard.ready.drain(..).collect();
        for key in ready {
            if let Some(member) = self.members.get_mut(&key)
                && member.queue.front().is_some_and(Op::is_put)
                && let Some(op) = member.queue.pop_front()
            {
                op.answer(Err(error.clone()));
            }
            self.make_ready(&key);
            self.forget_if_idle(&key);
        }
    }

    /// What came of a write; `doubtful`: it may be made yet, whatever `result` says.
    pub(crate) fn wrote(
        &mut self,
        id: ShardId,
        items: Vec<Item>,
        doubtful: bool,
        result: Result<Vec<Outcome>>,
        now: Instant,
    ) {
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.writing = false;
            if doubtful {
                shard.doubt(now);
            }
        }
        match result {
            Ok(outcomes) => {
                for (item, outcome) in items.into_iter().zip(outcomes) {
                    self.settle(id, item, outcome, now);
                }
            }
            Err(error) => {
                let lease_gone = error.kind() == ErrorKind::NotFound;
                if lease_gone {
                    let lease = items.first().map_or(0, |item| item.lease);
                    self.lease_lost(id, lease, &error);
                }
                for item in items {
                    self.failed(&item.key, lease_gone, &error);
                }
            }
        }
        self.beat_and_prove(id, now);
        self.answer_waiters(id, now);
        self.due.insert(id);
        self.send();
    }

    fn failed(&mut self, key: &Key, again: bool, error: &Error) {
        let Some(member) = self.members.get_mut(key) else { return };
        let Some(mut op) = member.in_flight.take() else { return };
        op.rounds += 1;
        if again && op.rounds < ROUNDS {
            member.queue.push_front(op);
        } else {
            op.answer(Err(error.clone()));
        }
        member.judge();
        self.make_ready(key);
        self.forget_if_idle(key);
    }

    fn settle(&mut self, id: ShardId, item: Item, outcome: Outcome, now: Instant) {
        let Some(member) = self.members.get_mut(&item.key) else { return };
        let Some(mut op) = member.in_flight.take() else { return };
        let lease_gone = self.shards.get(&id).and_then(Shard::lease_id) != Some(item.lease);
        match (item.action, outcome) {
            (Action::Put { .. }, Outcome::Applied { .. }) if lease_gone => {
                // It has ended since, and the record with it.
                member.expect(None);
                op.rounds += 1;
                Self::again(member, op);
            }
            (Action::Put { record, value }, Outcome::Applied { mod_revision }) => {
                let first = member.written.is_none();
                let beat = self.shards.get(&id).is_some_and(|shard| shard.needs_beat(now));
                let put =
                    beat.then(|| (Action::Put { record: record.clone(), value: value.clone() }, op.rounds));
                let written = Written { record, value, lease: item.lease, shard: id };
                member.wrote(written, mod_revision, now);
                if first {
                    self.outputs.push(Output::Watch(item.key.clone()));
                }
                if let Some(left) = member.left.take_if(|_| member.shard == id) {
                    self.leave(left);
                }
                if let Some(caller) = op.caller {
                    let key = item.key.clone();
                    self.wait(id, Waiter { caller, key, beat, proof: false, put }, now);
                }
            }
            (Action::Put { record, value }, Outcome::Refused(Some(stored)))
                if stored.lease == item.lease && stored.value == *value =>
            {
                // An earlier try whose answer was lost.
                member.in_flight = Some(op);
                let applied = Outcome::Applied { mod_revision: stored.mod_revision };
                let action = Action::Put { record, value };
                return self.settle(id, Item { action, ..item }, applied, now);
            }
            (
                Action::Delete { .. } | Action::Evict { .. },
                Outcome::Applied { .. } | Outcome::Refused(None),
            ) => {
                member.removed();
                op.answer(Ok(Receipt::new(member.ttl)));
            }
            (action, Outcome::Refused(stored)) => Self::refused(member, op, &action, stored),
        }
        self.make_ready(&item.key);
        self.forget_if_idle(&item.key);
    }

    /// A guard did not hold: tries again with what is there, or lets it stand.
    fn refused(member: &mut Member<C>, mut op: Op<C>, action: &Action, stored: Option<Stored>) {
        let pair = match (action, &stored) {
            (Action::Evict { lease }, Some(stored)) if stored.lease == *lease => stored.pair,
            (Action::Evict { .. }, _) => return member.removed(),
            (Action::Put { record, .. }, _) => record.pair(),
            (Action::Delete { pair }, _) => *pair,
        };
        member.found(stored.as_ref());
        if let Some(stored) = stored.filter(|stored| stored.pair > pair) {
            return op.answer(Err(conflict(stored.pair)));
        }
        op.rounds += 1;
        Self::again(member, op);
    }

    pub(super) fn again(member: &mut Member<C>, op: Op<C>) {
        if op.rounds < ROUNDS {
            member.queue.push_front(op);
        } else {
            op.answer(Err(Error::unavailable("other writers keep changing the record")));
        }
    }

    pub(crate) fn kept_alive(
        &mut self,
        id: ShardId,
        lease: i64,
        sent_at: Instant,
        result: Result<()>,
        now: Instant,
    ) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        shard.beating = false;
        match (result, &mut shard.lease) {
            (Ok(()), Lease::Granted { id: current, renewed_at, .. }) if *current == lease => {
                *renewed_at = sent_at;
                shard.waiters.iter_mut().for_each(|waiter| waiter.beat = false);
            }
            (Err(error), _) if error.kind() == ErrorKind::NotFound => self.lease_lost(id, lease, &error),
            (Err(error), Lease::Granted { id: current, .. }) if *current == lease => {
                self.fail_waiters(id, |waiter| waiter.beat, &error);
            }
            // There is another lease by now, and who waits for that one goes on waiting.
            _ => {}
        }
        self.beat_and_prove(id, now);
        self.answer_waiters(id, now);
        self.due.insert(id);
        self.send();
    }

    pub(crate) fn proved(
        &mut self,
        id: ShardId,
        expected: &[(Key, i64)],
        result: Result<Vec<Outcome>>,
        now: Instant,
    ) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        shard.proving = false;
        match result {
            Err(error) => self.fail_waiters(id, |waiter| waiter.proof, &error),
            Ok(outcomes) => {
                let looked_at = |key: &Key| expected.iter().any(|(known, _)| known == key);
                let waiting = shard.waiters.iter_mut().filter(|waiter| looked_at(&waiter.key));
                waiting.for_each(|waiter| waiter.proof = false);
                for ((key, revision), outcome) in expected.iter().zip(outcomes) {
                    // A write that is under way, or has come in between, knows more.
                    let fits = |member: &&mut Member<C>| member.expected == *revision && !member.is_busy();
                    if let Some(member) = self.members.get_mut(key).filter(fits) {
                        member.proved(outcome, now);
                    }
                }
            }
        }
        self.beat_and_prove(id, now);
        self.answer_waiters(id, now);
    }

    fn fail_waiters(&mut self, id: ShardId, which: impl Fn(&Waiter<C>) -> bool, error: &Error) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let (failed, waiting) = std::mem::take(&mut shard.waiters).into_iter().partition(which);
        shard.waiters = waiting;
        let failed: Vec<Waiter<C>> = failed;
        for waiter in failed {
            let error = error.clone();
            waiter.caller.answer(Err(if waiter.put.is_some() {
                error.with_outcome_unknown()
            } else {
                error
            }));
        }
    }

    /// The registry has let go of a lease: every record on it is gone.
    fn lease_lost(&mut self, id: ShardId, lease: i64, cause: &Error) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        if shard.lease_id() == Some(lease) {
            shard.lease = Lease::Missing;
            shard.waiters.iter_mut().for_each(|waiter| (waiter.beat, waiter.proof) = (false, false));
        }
        for member in self.members.values_mut() {
            if member.written.as_ref().is_some_and(|written| written.lease == lease) {
                member.lose(cause.clone());
                member.expect(None);
            }
        }
    }
}
