//! Who is registered through this backend, on which lease, and what has to be written next. Pure: what it asks for is
//! done by the [driver](super::driver), and what came of it is told back.

use std::collections::{BTreeMap, BTreeSet};

use callsign_core::{Error, ErrorKind, Pair, Receipt, Record, Result};
use tokio::time::Instant;

use super::member::{Action, Key, Member, Op, Stored};
use super::shard::{Class, Lease, Shard, Waiter};

/// With authentication on, a put costs etcd time in proportion to the keys on its lease (cilium#25966 caps them, too).
const KEYS_PER_LEASE: usize = 256;
/// etcd takes 128 operations at a time (`--max-txn-ops`), of which each that is guarded by itself needs one more.
const KEYS_PER_TXN: usize = 100;
/// Well below the 1.5 MiB that etcd takes (`--max-request-bytes`).
const BYTES_PER_TXN: usize = 512 * 1024;
/// A guard that fails so often has another writer against it that never rests.
pub(super) const ROUNDS: u32 = 16;

/// Who asked, and waits for the answer.
pub(crate) trait Caller {
    fn answer(self, result: Result<Receipt>);
    /// Whether nobody waits any more.
    fn is_gone(&self) -> bool;
}

pub(crate) type ShardId = u64;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Output {
    Grant {
        shard: ShardId,
        seconds: u64,
    },
    Write {
        shard: ShardId,
        items: Vec<Item>,
    },
    KeepAlive {
        shard: ShardId,
        lease: i64,
    },
    /// Compare the keys' revisions.
    Prove {
        shard: ShardId,
        expected: Vec<(Key, i64)>,
    },
    /// List the keys of the lease.
    Inspect {
        shard: ShardId,
        lease: i64,
    },
    Watch(Key),
    Unwatch(Key),
}

/// A write of one key, which happens if the key's `mod_revision` is `expected`.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) key: Key,
    pub(crate) expected: i64,
    /// What a put is attached to.
    pub(crate) lease: i64,
    pub(crate) action: Action,
}

/// What became of an [`Item`].
#[derive(Debug)]
pub(crate) enum Outcome {
    Applied {
        mod_revision: i64,
    },
    /// The guard did not hold: this is there.
    Refused(Option<Stored>),
}

#[derive(Debug)]
pub(crate) struct Ledger<C> {
    pub(super) members: BTreeMap<Key, Member<C>>,
    pub(super) shards: BTreeMap<ShardId, Shard<C>>,
    next_shard: ShardId,
    /// Those that may have something to send.
    pub(super) due: BTreeSet<ShardId>,
    pub(super) outputs: Vec<Output>,
}

impl<C: Caller> Ledger<C> {
    pub(crate) fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            shards: BTreeMap::new(),
            next_shard: 0,
            due: BTreeSet::new(),
            outputs: Vec::new(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.shards.is_empty()
    }

    /// What is to be done since the last call.
    pub(crate) fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    pub(crate) fn register(&mut self, key: &Key, record: &Record, value: Vec<u8>, caller: C, now: Instant) {
        let action = Action::Put { record: record.clone(), value: value.into() };
        self.enqueue(key, record, Op::new(action, Some(caller)), now);
    }

    pub(crate) fn deregister(&mut self, key: &Key, record: &Record, caller: C, now: Instant) {
        self.enqueue(key, record, Op::new(Action::Delete { pair: record.pair() }, Some(caller)), now);
    }

    pub(crate) fn renew(&mut self, key: Key, record: &Record, caller: C, now: Instant) {
        match self.renewed(&key, record, now) {
            Err(error) => caller.answer(Err(error)),
            Ok((shard, proof)) => {
                let beat = self.shards.get(&shard).is_some_and(|shard| shard.needs_beat(now));
                self.wait(shard, Waiter { caller, key, beat, proof, put: None }, now);
            }
        }
    }

    /// Takes note of a renewal: whose lease the record is on, and whether it is to be proven.
    fn renewed(&mut self, key: &Key, record: &Record, now: Instant) -> Result<(ShardId, bool)> {
        let unknown = || Error::not_found("the record was not registered here, or not renewed in time");
        let member = self.members.get_mut(key).ok_or_else(unknown)?;
        let Some(written) = &member.written else {
            return Err(member.lost_cause.clone().unwrap_or_else(unknown));
        };
        let holder = written.record.pair();
        if holder > record.pair() {
            return Err(conflict(holder));
        }
        if written.record.instance != record.instance {
            return Err(Error::not_found("the record is there with other content"));
        }
        let shard = written.shard;
        member.renewed_at = now;
        Ok((shard, now >= member.prove_at))
    }

    pub(super) fn wait(&mut self, id: ShardId, waiter: Waiter<C>, now: Instant) {
        let Some(shard) = self.shards.get_mut(&id) else {
            return waiter.caller.answer(Err(Error::not_found("the lease is gone")));
        };
        shard.waiters.push(waiter);
        self.beat_and_prove(id, now);
        self.answer_waiters(id, now);
    }

    /// Starts what the waiters of a shard wait for, and is not under way.
    pub(super) fn beat_and_prove(&mut self, id: ShardId, now: Instant) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        if let (false, Some(lease)) = (shard.beating, shard.lease_id())
            && shard.waiters.iter().any(|waiter| waiter.beat)
        {
            shard.beating = true;
            self.outputs.push(Output::KeepAlive { shard: id, lease });
        }
        if shard.proving || !shard.waiters.iter().any(|waiter| waiter.proof) {
            return;
        }
        // Who else is due comes along.
        let due =
            |member: &Member<C>| member.written.is_some() && !member.is_busy() && now >= member.prove_at;
        let waiting = shard.waiters.iter().filter(|waiter| waiter.proof).map(|waiter| &waiter.key);
        let mut expected: Vec<(Key, i64)> = Vec::new();
        for key in waiting {
            if expected.len() < KEYS_PER_TXN
                && let Some(member) = self.members.get(key).filter(|member| due(member))
                && !expected.iter().any(|(known, _)| known == key)
            {
                expected.push((key.clone(), member.expected));
            }
        }
        if expected.is_empty() {
            // A write is on its way: it proves more than a look.
            shard.waiters.iter_mut().for_each(|waiter| waiter.proof = false);
        } else {
            shard.proving = true;
            self.outputs.push(Output::Prove { shard: id, expected });
        }
    }

    pub(super) fn answer_waiters(&mut self, id: ShardId, now: Instant) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let (ready, waiting) =
            std::mem::take(&mut shard.waiters).into_iter().partition(|waiter| !waiter.beat && !waiter.proof);
        shard.waiters = waiting;
        let remaining = shard.remaining(now);
        for waiter in ready {
            let Some(waiter) = self.put_again(waiter) else { continue };
            waiter.caller.answer(match self.members.get(&waiter.key) {
                Some(member @ Member { written: Some(_), .. }) => {
                    let ttl = remaining.min(member.remaining(now));
                    Ok(Receipt::new(ttl).with_lost(member.signal.clone()))
                }
                Some(Member { lost_cause: Some(cause), .. }) => Err(cause.clone()),
                _ => Err(Error::not_found("the record was removed meanwhile")),
            });
        }
        self.send();
    }

    /// Puts again what was lost before its caller heard of it, as it is when the lease that it was put on was at its end.
    /// Who waits for anything else, or is overtaken by another write, is handed back.
    fn put_again(&mut self, mut waiter: Waiter<C>) -> Option<Waiter<C>> {
        let is_lost = |member: &Member<C>| {
            let cause = member.lost_cause.as_ref().map(Error::kind);
            member.written.is_none() && !member.is_busy() && cause == Some(ErrorKind::NotFound)
        };
        let member = self.members.get_mut(&waiter.key).filter(|member| is_lost(member));
        let (Some(member), Some((action, rounds))) = (member, waiter.put.take()) else { return Some(waiter) };
        Self::again(member, Op { action, caller: Some(waiter.caller), rounds: rounds + 1 });
        self.make_ready(&waiter.key);
        None
    }

    /// Has the next put of a member attached to a lease of `class`. Until then it stays on the lease that it stands on:
    /// the put may fail, and what stands there is renewed.
    fn house(&mut self, key: &Key, class: &Class) {
        let Some(member) = self.members.get(key) else { return };
        let (home, left, stands) = (member.shard, member.left, member.written.is_some());
        if self.shards.get(&home).is_some_and(|shard| shard.class == *class) {
            return;
        }
        let id = self.room(class);
        let mut left = left.or(stands.then_some(home));
        if left != Some(home) {
            self.leave(home);
        }
        // Back where it stands.
        if let Some(back) = left.take_if(|left| *left == id) {
            self.leave(back);
        }
        if let Some(member) = self.members.get_mut(key) {
            (member.shard, member.left) = (id, left);
        }
    }

    /// A shard of `class` that takes one more, and counts it.
    fn room(&mut self, class: &Class) -> ShardId {
        let fits = |shard: &Shard<C>| shard.class == *class && shard.members < KEYS_PER_LEASE;
        if let Some((id, shard)) = self.shards.iter_mut().find(|(_, shard)| fits(shard)) {
            shard.members += 1;
            return *id;
        }
        let id = self.next_shard;
        self.next_shard += 1;
        self.shards.insert(id, Shard { members: 1, ..Shard::new(class.clone()) });
        id
    }

    /// One member less.
    pub(super) fn leave(&mut self, id: ShardId) {
        if let Some(shard) = self.shards.get_mut(&id) {
            shard.members -= 1;
        }
    }

    fn enqueue(&mut self, key: &Key, record: &Record, op: Op<C>, now: Instant) {
        if !self.members.contains_key(key) {
            let id = self.room(&Class::of(record));
            self.members.insert(key.clone(), Member::new(id, record.ttl.get(), now));
        }
        if let Some(member) = self.members.get_mut(key) {
            member.stop_evicting();
            member.queue.push_back(op);
        }
        self.make_ready(key);
        self.send();
    }

    /// Puts a member with a write that may be sent where it is sent from.
    pub(super) fn make_ready(&mut self, key: &Key) {
        let Some(member) = self.members.get(key).filter(|member| member.in_flight.is_none()) else { return };
        let Some(op) = member.queue.front() else { return };
        if let Some(class) = op.class() {
            self.house(key, &class);
        }
        let Some(home) = self.members.get(key).map(|member| member.shard) else { return };
        if let Some(shard) = self.shards.get_mut(&home)
            && !shard.ready.contains(key)
        {
            shard.ready.push_back(key.clone());
        }
        self.due.insert(home);
    }

    /// Sends what is ready.
    pub(super) fn send(&mut self) {
        while let Some(id) = self.due.pop_first() {
            self.send_from(id);
        }
    }

    /// Sends what is ready, unless something is under way: what comes meanwhile goes together, next time.
    fn send_from(&mut self, id: ShardId) {
        let Some(shard) = self.shards.get_mut(&id).filter(|shard| !shard.writing) else { return };
        let lease = shard.lease_id();
        let mut items = Vec::new();
        let mut bytes = 0;
        let mut others = Vec::new();
        while items.len() < KEYS_PER_TXN {
            let Some(key) = shard.ready.pop_front() else { break };
            let member = self.members.get_mut(&key).filter(|member| member.in_flight.is_none());
            let Some(member) = member else { continue };
            while member.queue.front().is_some_and(Op::is_given_up) {
                member.queue.pop_front();
            }
            let Some(op) = member.queue.front().filter(|op| op.class().is_none_or(|of| of == shard.class))
            else {
                others.push(key);
                continue;
            };
            if op.is_put() && lease.is_none() {
                shard.ready.push_front(key);
                if shard.lease == Lease::Missing {
                    shard.lease = Lease::Asked;
                    self.outputs.push(Output::Grant { shard: id, seconds: shard.class.seconds });
                }
                break;
            }
            bytes += key.len() + op.bytes();
            if bytes > BYTES_PER_TXN && !items.is_empty() {
                shard.ready.push_front(key);
                break;
            }
            let expected = member.expected_by(op);
            items.push(Item { key, expected, lease: lease.unwrap_or_default(), action: op.action.clone() });
            member.in_flight = member.queue.pop_front();
        }
        if !items.is_empty() {
            shard.writing = true;
            self.outputs.push(Output::Write { shard: id, items });
        }
        // Their callers were gone: there is nothing to write, or for another lease.
        for key in &others {
            self.make_ready(key);
            self.forget_if_idle(key);
        }
    }
}

pub(super) fn conflict(holder: Pair) -> Error {
    Error::conflict(holder, format!("the registry holds a record of this id with the pair {holder}"))
}
