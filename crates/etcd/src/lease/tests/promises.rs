//! What has to be true of whatever the ledger asks for and answers.

use std::collections::HashSet;
use std::mem::discriminant;

use callsign_core::{ErrorKind, Receipt, Result};
use futures::FutureExt;

use super::super::ledger::{Item, Output};
use super::super::member::{Action, Stored};
use super::callers::{Call, value_of};
use super::trouble::Mood;
use super::world::{AFTERMATH, PATIENCE, Request, SLACK, TICK, World};
use crate::session::Verb;

impl World {
    pub(super) fn one_at_a_time(&self, output: &Output) {
        if matches!(output, Output::Inspect { .. }) {
            return;
        }
        let same = |request: &&Request| {
            discriminant(&*request.output) == discriminant(output)
                && shard_of(&request.output) == shard_of(output)
        };
        let under_way = self.requests.values().find(same);
        assert!(under_way.is_none(), "two at a time: {under_way:?}, {output:?}");
    }

    pub(super) fn well_formed(&self, output: &Output) {
        match output {
            Output::Write { items, .. } => {
                let keys: HashSet<_> = items.iter().map(|item| &item.key).collect();
                assert_eq!(keys.len(), items.len(), "a key twice in a transaction");
                assert!((1..=100).contains(&items.len()), "{} operations in a transaction", items.len());
                let homeless = |item: &&Item| item.lease == 0 && matches!(item.action, Action::Put { .. });
                assert!(!items.iter().any(|item| homeless(&item)), "a put without a lease");
            }
            Output::Prove { expected, .. } => {
                let keys: HashSet<_> = expected.iter().map(|(key, _)| key).collect();
                assert_eq!(keys.len(), expected.len(), "a key twice in a transaction");
                assert!(
                    (1..=100).contains(&expected.len()),
                    "{} operations in a transaction",
                    expected.len()
                );
            }
            Output::KeepAlive { lease, .. } => {
                if let (Some(at), Some(ttl)) = (self.renewed_at.get(lease), self.registry.ttl_of(*lease)) {
                    assert!(self.now >= *at + ttl / 4, "a lease is renewed again after {:?}", self.now - *at);
                }
            }
            _ => {}
        }
    }

    pub(super) fn hear(&mut self, id: usize, result: Option<Result<Receipt>>) {
        let call = &self.calls[id];
        let Some(result) = result else {
            assert!(call.gone.get(), "nobody answers {call:?}");
            return;
        };
        assert!(call.answer.is_none(), "two answers to {call:?}");
        if !call.gone.get() {
            self.is_true(call, &result);
            if let (Verb::Register, Ok(receipt)) = (call.verb, &result) {
                // What it lasts without being renewed is what the receipt says.
                let lasts_until = self.now + receipt.ttl;
                self.wanted_at.insert(call.key.clone(), lasts_until - call.record.ttl.get());
                self.signals.push((id, receipt.lost.clone()));
            }
        }
        self.calls[id].answer = Some(result);
    }

    /// Whether an answer fits what the registry held.
    fn is_true(&self, call: &Call, result: &Result<Receipt>) {
        let Call { verb, key, record, asked_at, .. } = call;
        let (pair, value) = (record.pair(), value_of(record));
        let ttl = record.ttl.get();
        let from = match verb {
            Verb::Renew => self.now - ttl * 3 - PATIENCE,
            _ => *asked_at,
        };
        let holds = |fits: &dyn Fn(Option<&Stored>) -> bool| self.registry.held(key, from, fits);
        match result {
            Ok(receipt) => {
                let so = match verb {
                    Verb::Deregister => holds(&|stored| stored.is_none()),
                    _ => holds(&|stored| stored.is_some_and(|stored| stored.value == value)),
                };
                assert!(so, "{call:?} was answered with {receipt:?}");
                assert!(*verb == Verb::Deregister || receipt.ttl <= ttl, "{receipt:?} to {call:?}");
            }
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let holder = error.holder().unwrap();
                let so = holder > pair
                    && (*verb == Verb::Renew
                        || holds(&|stored| stored.is_some_and(|stored| stored.pair == holder)));
                assert!(so, "{call:?} was answered with {error:?}");
            }
            Err(error) if *verb == Verb::Register && !error.outcome_unknown() => {
                let has_happened = self
                    .registry
                    .first_held(key, *asked_at, |stored| stored.is_some_and(|stored| stored.value == value));
                let same = |other: &&Call| other.key == *key && value_of(&other.record) == value;
                let by_another = self.calls.iter().filter(same).count() > 1;
                assert!(
                    has_happened.is_none() || by_another || error.kind() == ErrorKind::NotFound,
                    "{call:?} was answered with {error:?}, and has happened"
                );
            }
            Err(_) => {}
        }
    }

    /// What `lost` tells has happened: the key held something else, or nobody has renewed.
    pub(super) fn losses_are_losses(&mut self) {
        for (id, mut signal) in std::mem::take(&mut self.signals) {
            let call = &self.calls[id];
            let Some(cause) = signal.fired().now_or_never() else {
                self.signals.push((id, signal));
                continue;
            };
            let value = value_of(&call.record);
            let there = |stored: Option<&Stored>| stored.is_some_and(|stored| stored.value == value);
            let begun = self.registry.first_held(&call.key, call.asked_at, there).unwrap_or(call.asked_at);
            let wanted_at = self.wanted_at.get(&call.key).copied().unwrap_or(begun);
            let so = self.registry.held(&call.key, begun, |stored| !there(stored))
                || self.now >= wanted_at + call.record.ttl.get();
            assert!(so, "{call:?} was told a loss that was none: {cause:?}");
        }
    }

    pub(super) fn nothing_lives_on_its_neighbours(&self) {
        if self.mood != Mood::Fine || self.now < self.fine_since + AFTERMATH {
            return;
        }
        for (key, held) in self.registry.keys.iter().filter(|(_, held)| self.is_ours(held.stored.lease)) {
            let ttl = self.registry.ttl_of(held.stored.lease).unwrap();
            let wanted_at = self.wanted_at.get(key).copied().unwrap_or(held.since);
            let since = wanted_at.max(held.since).max(self.fine_since + AFTERMATH - ttl);
            let lives = if held.unheard { ttl * 2 } else { ttl } + TICK * 2 + SLACK;
            assert!(
                self.now <= since + lives,
                "{key:?} lives although nobody has renewed it for {:?}: {held:?}\n{:?}",
                self.now - since,
                self.ledger
            );
        }
    }

    pub(super) fn everybody_is_answered(&self) {
        for call in &self.calls {
            assert!(call.answer.is_some() || call.gone.get(), "nobody answers {call:?}\n{:?}", self.ledger);
        }
    }
}

fn shard_of(output: &Output) -> Option<u64> {
    match output {
        Output::Grant { shard, .. }
        | Output::Write { shard, .. }
        | Output::KeepAlive { shard, .. }
        | Output::Prove { shard, .. }
        | Output::Inspect { shard, .. } => Some(*shard),
        Output::Watch(_) | Output::Unwatch(_) => None,
    }
}
