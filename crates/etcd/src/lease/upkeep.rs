//! What has to be done without being asked: removing who was not renewed, and what should not be there.

use std::collections::BTreeSet;
use std::time::Duration;

use callsign_core::Result;
use tokio::time::Instant;

use super::ledger::{Caller, Ledger, Output, ShardId};
use super::member::{Action, Key, Member, Op, Stored};
use super::shard::{Inspection, Lease};

impl<C: Caller> Ledger<C> {
    /// Time has passed, and the registry can be reached.
    pub(crate) fn tick(&mut self, now: Instant) {
        let keys: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.is_overdue(now))
            .map(|(key, _)| key.clone())
            .collect();
        for key in keys {
            match self.members.get_mut(&key).and_then(Member::evict) {
                Some(lease) => self.evict(&key, lease),
                None => self.forget_if_idle(&key),
            }
        }
        self.send();
        self.shards.retain(|_, shard| !shard.is_over(now));
        for (id, shard) in &mut self.shards {
            if let (Lease::Granted { id: lease, .. }, Inspection::DueAt(at)) = (shard.lease, shard.inspection)
                && now >= at
            {
                shard.inspection = Inspection::UnderWay;
                self.outputs.push(Output::Inspect { shard: *id, lease });
            }
        }
    }

    fn evict(&mut self, key: &Key, lease: i64) {
        let Some(member) = self.members.get_mut(key) else { return };
        member.queue.push_back(Op::new(Action::Evict { lease }, None));
        self.make_ready(key);
    }

    /// The registry can be reached again. Nobody could renew for as long as it was `away`: that time does not count.
    pub(crate) fn reconnected(&mut self, away: Duration, now: Instant) {
        for member in self.members.values_mut().filter(|member| member.written.is_some()) {
            member.renewed_at = (member.renewed_at + away).min(now);
        }
    }

    /// The watch shows what `key` holds since `revision`: nothing, where it was deleted.
    pub(crate) fn saw(&mut self, key: &Key, revision: i64, stored: Option<Stored>) {
        if let Some(member) = self.members.get_mut(key) {
            member.saw(revision, stored);
        }
    }

    /// The watch of a key has begun, and does not know what was before: the next renewal looks.
    pub(crate) fn watched(&mut self, key: &Key, now: Instant) {
        if let Some(member) = self.members.get_mut(key) {
            member.prove_at = member.prove_at.min(now);
        }
    }

    /// What is attached to a lease of which not every write is known to have failed or to have been made: what is no
    /// member would live on the members' renewals for ever.
    pub(crate) fn inspected(&mut self, id: ShardId, lease: i64, result: Result<Vec<Vec<u8>>>, now: Instant) {
        let Some(shard) = self.shards.get_mut(&id) else { return };
        let Lease::Granted { id: current, ttl, .. } = shard.lease else { return };
        if current != lease {
            return;
        }
        shard.inspection = Inspection::DueAt(now + ttl * 2);
        let Ok(keys) = result else { return };
        let attached: BTreeSet<Key> = keys.into_iter().map(Into::into).collect();
        for key in attached {
            if !self.members.contains_key(&key) {
                self.members.insert(key.clone(), Member::new(id, ttl, now));
                if let Some(shard) = self.shards.get_mut(&id) {
                    shard.members += 1;
                }
                self.evict(&key, lease);
            }
        }
        self.send();
    }

    /// Forgets a member that nothing is known of, wanted from or waited for.
    pub(super) fn forget_if_idle(&mut self, key: &Key) {
        let idle = |member: &Member<C>| !member.is_busy() && member.is_forgotten();
        if self.members.get(key).is_some_and(idle)
            && let Some(member) = self.members.remove(key)
        {
            for home in [Some(member.shard), member.left].into_iter().flatten() {
                self.leave(home);
            }
            self.outputs.push(Output::Unwatch(key.clone()));
        }
    }
}
