//! A registry to play against: keys, leases and guarded writes as etcd has them. It remembers what every key held, and
//! objects where a write breaks a promise.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use callsign_core::{Error, Pair, Result};
use tokio::time::Instant;

use super::super::ledger::{Item, Outcome};
use super::super::member::{Action, Key, Stored};
use super::super::shard::Class;

/// What a key holds.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) stored: Stored,
    pub(super) since: Instant,
    /// Whether nobody has heard that it was put.
    pub(super) unheard: bool,
}

#[derive(Debug)]
struct Granted {
    ttl: Duration,
    ends_at: Instant,
    class: Option<Class>,
}

/// A change, for those who watch.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) key: Key,
    pub(super) revision: i64,
    pub(super) stored: Option<Stored>,
}

#[derive(Debug)]
pub(super) struct Registry {
    pub(super) keys: BTreeMap<Key, Held>,
    leases: BTreeMap<i64, Granted>,
    revision: i64,
    last_lease: i64,
    history: HashMap<Key, Vec<(Instant, Option<Stored>)>>,
    pub(super) changes: Vec<Change>,
    /// How many transactions have been made.
    pub(super) writes: usize,
}

impl Registry {
    pub(super) fn new() -> Self {
        Self {
            keys: BTreeMap::new(),
            leases: BTreeMap::new(),
            revision: 100,
            last_lease: 0,
            history: HashMap::new(),
            changes: Vec::new(),
            writes: 0,
        }
    }

    pub(super) fn grant(&mut self, seconds: u64, now: Instant) -> (i64, Duration) {
        self.last_lease += 1;
        let ttl = Duration::from_secs(seconds);
        self.leases.insert(self.last_lease, Granted { ttl, ends_at: now + ttl, class: None });
        (self.last_lease, ttl)
    }

    pub(super) fn keep_alive(&mut self, lease: i64, now: Instant) -> Result<()> {
        let lease = self.leases.get_mut(&lease).ok_or_else(lease_not_found)?;
        lease.ends_at = now + lease.ttl;
        Ok(())
    }

    /// Another leader: every lease begins anew.
    pub(super) fn extend_all(&mut self, now: Instant) {
        for lease in self.leases.values_mut() {
            lease.ends_at = now + lease.ttl;
        }
    }

    /// When the next lease ends by itself.
    pub(super) fn ends_next(&self) -> Option<(Instant, i64)> {
        self.leases.iter().map(|(id, lease)| (lease.ends_at, *id)).min()
    }

    pub(super) fn leases(&self) -> Vec<i64> {
        self.leases.keys().copied().collect()
    }

    pub(super) fn ttl_of(&self, lease: i64) -> Option<Duration> {
        self.leases.get(&lease).map(|lease| lease.ttl)
    }

    pub(super) fn revoke(&mut self, lease: i64, now: Instant) {
        self.leases.remove(&lease);
        self.revision += 1;
        for key in self.keys_of(lease) {
            self.set(&key, None, false, now);
        }
    }

    pub(super) fn keys_of(&self, lease: i64) -> Vec<Key> {
        self.keys.iter().filter(|(_, held)| held.stored.lease == lease).map(|(key, _)| key.clone()).collect()
    }

    /// All records are gone, as from a backup that is older than they are, and revisions go back.
    pub(super) fn restore(&mut self, now: Instant) {
        for key in self.keys.keys().cloned().collect::<Vec<_>>() {
            self.set(&key, None, false, now);
        }
        self.changes.clear();
        self.revision = 1;
    }

    /// The leases are gone, too.
    pub(super) fn wipe(&mut self, now: Instant) {
        self.restore(now);
        self.leases.clear();
    }

    /// Somebody else puts a record that has no lease.
    pub(super) fn put(&mut self, key: &Key, pair: Pair, value: Vec<u8>, now: Instant) {
        self.revision += 1;
        let stored = Stored { mod_revision: self.revision, lease: 0, value, pair };
        self.set(key, Some(stored), false, now);
    }

    pub(super) fn delete(&mut self, key: &Key, now: Instant) {
        if self.keys.contains_key(key) {
            self.revision += 1;
            self.set(key, None, false, now);
        }
    }

    fn set(&mut self, key: &Key, stored: Option<Stored>, unheard: bool, now: Instant) {
        let revision = stored.as_ref().map_or(self.revision, |stored| stored.mod_revision);
        self.changes.push(Change { key: key.clone(), revision, stored: stored.clone() });
        self.history.entry(key.clone()).or_default().push((now, stored.clone()));
        match stored {
            Some(stored) => self.keys.insert(key.clone(), Held { stored, since: now, unheard }),
            None => self.keys.remove(key),
        };
    }

    fn guard_holds(&self, key: &Key, expected: i64) -> bool {
        self.keys.get(key).map_or(0, |held| held.stored.mod_revision) == expected
    }

    fn refusal(&self, key: &Key) -> Outcome {
        Outcome::Refused(self.keys.get(key).map(|held| held.stored.clone()))
    }

    /// One transaction with a guard for each key.
    pub(super) fn write(&mut self, items: &[Item], unheard: bool, now: Instant) -> Result<Vec<Outcome>> {
        self.writes += 1;
        let holds: Vec<bool> = items.iter().map(|item| self.guard_holds(&item.key, item.expected)).collect();
        let homeless = |(item, holds): (&Item, &bool)| {
            *holds && matches!(item.action, Action::Put { .. }) && !self.leases.contains_key(&item.lease)
        };
        if items.iter().zip(&holds).any(homeless) {
            return Err(lease_not_found());
        }
        self.revision += 1;
        let outcomes = items.iter().zip(holds).map(|(item, holds)| {
            if !holds {
                return self.refusal(&item.key);
            }
            self.apply(item, unheard, now);
            Outcome::Applied { mod_revision: self.revision }
        });
        Ok(outcomes.collect())
    }

    fn apply(&mut self, item: &Item, unheard: bool, now: Instant) {
        let there = self.keys.get(&item.key).map(|held| (held.stored.pair, held.stored.lease));
        match &item.action {
            Action::Put { record, value } => {
                assert!(
                    there.is_none_or(|(pair, _)| pair <= record.pair()),
                    "overwrites {there:?}: {item:?}"
                );
                let value = value.to_vec();
                let stored =
                    Stored { mod_revision: self.revision, lease: item.lease, value, pair: record.pair() };
                self.set(&item.key, Some(stored), unheard, now);
                self.attached(item.lease, &Class::of(record));
            }
            Action::Delete { pair } => {
                assert!(there.is_none_or(|(held, _)| held <= *pair), "deletes {there:?}: {item:?}");
                self.delete_there(item, there.is_some(), now);
            }
            Action::Evict { lease } => {
                assert!(there.is_none_or(|(_, held)| held == *lease), "evicts {there:?}: {item:?}");
                self.delete_there(item, there.is_some(), now);
            }
        }
    }

    fn delete_there(&mut self, item: &Item, there: bool, now: Instant) {
        if there {
            assert_ne!(item.expected, 0, "a delete without a guard: {item:?}");
            self.set(&item.key, None, false, now);
        }
    }

    fn attached(&mut self, lease: i64, class: &Class) {
        let count = self.keys_of(lease).len();
        assert!(count <= 256, "{count} records on one lease");
        let Some(lease) = self.leases.get_mut(&lease) else { return };
        assert_eq!(lease.ttl, Duration::from_secs(class.seconds), "a lease of another ttl");
        let first = lease.class.get_or_insert_with(|| class.clone());
        assert_eq!(first, class, "records of two classes on one lease");
    }

    pub(super) fn look(&self, expected: &[(Key, i64)]) -> Vec<Outcome> {
        let look = |(key, revision): &(Key, i64)| {
            if self.guard_holds(key, *revision) {
                Outcome::Applied { mod_revision: self.revision }
            } else {
                self.refusal(key)
            }
        };
        expected.iter().map(look).collect()
    }

    /// Whether `key` held what fits at any time from `from` on.
    pub(super) fn held(&self, key: &Key, from: Instant, fits: impl Fn(Option<&Stored>) -> bool) -> bool {
        let changes = self.history.get(key).map(Vec::as_slice).unwrap_or_default();
        let first = changes.partition_point(|(at, _)| *at < from);
        let before = first.checked_sub(1).and_then(|before| changes[before].1.as_ref());
        fits(before) || changes[first..].iter().any(|(_, stored)| fits(stored.as_ref()))
    }

    /// When `key` first held what fits, from `from` on.
    pub(super) fn first_held(
        &self,
        key: &Key,
        from: Instant,
        fits: impl Fn(Option<&Stored>) -> bool,
    ) -> Option<Instant> {
        let changes = self.history.get(key).map(Vec::as_slice).unwrap_or_default();
        changes.iter().find(|(at, stored)| *at >= from && fits(stored.as_ref())).map(|(at, _)| *at)
    }
}

pub(super) fn lease_not_found() -> Error {
    Error::not_found("requested lease not found")
}
