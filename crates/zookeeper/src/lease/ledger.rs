//! Who is registered through this backend, and since when nobody has said so again. Pure.
//!
//! One session carries all nodes, and lives for as long as the process does. So that no record lives on its neighbours'
//! heartbeat, whoever is not renewed for its ttl is removed; and so that no write of which nobody knows the outcome
//! stays for ever, a path is in here from before its first write until it is known to be free of us.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, LostSignal, LostTrigger, Pair, Record, Result, stored};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::nodes::Node;

/// After a removal that has failed the next one waits for so long.
const AGAIN: Duration = Duration::from_secs(1);

/// The path of an instance's node.
pub(crate) type Path = Arc<str>;
/// Writes of one path happen one after the other.
pub(crate) type Lane = Arc<Mutex<()>>;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: HashMap<Path, Entry>,
    changes: u64,
}

#[derive(Debug)]
struct Entry {
    lane: Lane,
    /// How many writes are under way or wait.
    busy: usize,
    ttl: Duration,
    renewed_at: Instant,
    written: Option<Written>,
    lost_cause: Option<Error>,
    /// Nothing of ours is there, and nobody has begun to write since that was known.
    over: bool,
    /// The ledger's count of changes at the latest of this entry.
    changed: u64,
    lost: LostTrigger,
    signal: LostSignal,
}

#[derive(Debug, Clone)]
struct Written {
    record: Record,
    value: Arc<[u8]>,
    node: Node,
}

/// What a look at a node has to find.
#[derive(Debug)]
pub(crate) struct Expected {
    changed: u64,
}

/// What stands at a path.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) data: Vec<u8>,
    pub(crate) node: Node,
}

impl Ledger {
    /// A write of `path` begins.
    pub(crate) fn enter(&mut self, path: &Path, ttl: Duration, now: Instant) -> Lane {
        let entry = self.entries.entry(path.clone()).or_insert_with(|| Entry::new(ttl, now));
        entry.busy += 1;
        entry.over = false;
        entry.lane.clone()
    }

    /// A write of `path` has ended, one way or another.
    pub(crate) fn leave(&mut self, path: &Path) {
        let Some(entry) = self.entries.get_mut(path) else { return };
        entry.busy = entry.busy.saturating_sub(1);
        if entry.busy == 0 && entry.over {
            self.entries.remove(path);
        }
    }

    /// Whether a record stands at `path`, for all that is known.
    pub(crate) fn holds(&self, path: &Path) -> bool {
        self.entries.get(path).is_some_and(|entry| entry.written.is_some())
    }

    /// Whether there is probably a node at `path`.
    pub(crate) fn knows(&self, path: &Path) -> bool {
        self.entries.get(path).is_some_and(|entry| entry.written.is_some() || entry.busy > 1)
    }

    /// `record` stands at `path`, for `ttl` from now on.
    pub(crate) fn wrote(
        &mut self,
        path: &Path,
        record: &Record,
        value: Arc<[u8]>,
        node: Node,
        ttl: Duration,
        now: Instant,
    ) -> LostSignal {
        self.changes += 1;
        let entry = self.entries.entry(path.clone()).or_insert_with(|| Entry::new(ttl, now));
        if entry.lost_cause.take().is_some() {
            (entry.lost, entry.signal) = LostSignal::channel();
        }
        (entry.ttl, entry.renewed_at, entry.changed, entry.over) = (ttl, now, self.changes, false);
        entry.written = Some(Written { record: record.clone(), value, node });
        entry.signal.clone()
    }

    /// A write of `path` was refused by who holds it: somebody else, or a later record of ours.
    pub(crate) fn refused(&mut self, path: &Path, holder: Pair) -> Error {
        let error = conflict(holder);
        let held = self.entries.get(path).and_then(|entry| entry.written.as_ref());
        if held.is_none_or(|written| written.record.pair() != holder) {
            self.lose(path, error.clone());
        }
        error
    }

    /// Nothing of ours stands at `path` any more, as its owner wants it.
    pub(crate) fn removed(&mut self, path: &Path) {
        self.changes += 1;
        if let Some(entry) = self.entries.get_mut(path) {
            entry.written = None;
            entry.changed = self.changes;
            entry.over = entry.busy <= 1;
        }
    }

    /// The owner of `record` says that it lives; what is to be looked for, then.
    pub(crate) fn renewing(&mut self, path: &Path, record: &Record, now: Instant) -> Result<Expected> {
        let unknown = || Error::not_found("the record was not registered here, or not renewed in time");
        let entry = self.entries.get_mut(path).ok_or_else(unknown)?;
        let Some(written) = &entry.written else {
            return Err(entry.lost_cause.clone().unwrap_or_else(unknown));
        };
        let holder = written.record.pair();
        if holder > record.pair() {
            return Err(conflict(holder));
        }
        if written.record.instance != record.instance {
            return Err(Error::not_found("the record is there with other content"));
        }
        entry.renewed_at = now;
        Ok(Expected { changed: entry.changed })
    }

    /// A look has found this at `path`.
    pub(crate) fn renewed(
        &mut self,
        path: &Path,
        expected: &Expected,
        found: Option<&Found>,
    ) -> Result<LostSignal> {
        let Some(entry) = self.entries.get_mut(path) else {
            return Err(Error::not_found("the record was removed meanwhile"));
        };
        // A write that came between proves more than a look from before it.
        if entry.changed == expected.changed
            && entry.busy == 0
            && let Some(cause) = entry.written.as_ref().and_then(|written| written.is_gone(found))
        {
            self.lose(path, cause.clone());
            return Err(cause);
        }
        match &entry.written {
            Some(_) => Ok(entry.signal.clone()),
            None => Err(entry
                .lost_cause
                .clone()
                .unwrap_or_else(|| Error::not_found("the record was removed meanwhile"))),
        }
    }

    /// Who was not renewed for its ttl, and is lost with this: to be removed from where it stands.
    pub(crate) fn overdue(&mut self, now: Instant) -> Vec<Path> {
        let due = |entry: &Entry| entry.busy == 0 && now >= entry.renewed_at + entry.ttl;
        let paths: Vec<_> =
            self.entries.iter().filter(|(_, entry)| due(entry)).map(|(path, _)| path.clone()).collect();
        for path in &paths {
            self.lose(path, Error::not_found("the record was not renewed in time"));
        }
        paths
    }

    /// Whether nobody has begun to write `path` since it was overdue. If so, a removal begins.
    pub(crate) fn evicting(&mut self, path: &Path) -> Option<Lane> {
        let entry = self.entries.get_mut(path).filter(|entry| entry.busy == 0 && entry.written.is_none())?;
        entry.busy += 1;
        Some(entry.lane.clone())
    }

    /// Nothing of ours stands at `path` any more, and nobody wants it.
    pub(crate) fn evicted(&mut self, path: &Path) {
        if let Some(entry) = self.entries.get_mut(path) {
            entry.over = entry.busy <= 1 && entry.written.is_none();
        }
    }

    /// The removal of what stands at `path` has failed, and is not tried again at once.
    pub(crate) fn put_off(&mut self, path: &Path, now: Instant) {
        if let Some(entry) = self.entries.get_mut(path).filter(|entry| entry.written.is_none()) {
            (entry.ttl, entry.renewed_at) = (entry.ttl.min(AGAIN), now);
        }
    }

    /// The session is `owner`: what belonged to another one is lost.
    pub(crate) fn session(&mut self, owner: i64) {
        let lost = |entry: &Entry| entry.written.as_ref().is_some_and(|written| written.node.owner != owner);
        let paths: Vec<_> =
            self.entries.iter().filter(|(_, entry)| lost(entry)).map(|(path, _)| path.clone()).collect();
        for path in paths {
            self.lose(&path, Error::not_found("the session has expired, and its nodes with it"));
        }
    }

    /// The registry can be reached again. Nobody could renew for as long as it was `away`: that time does not count.
    pub(crate) fn reconnected(&mut self, away: Duration, now: Instant) {
        for entry in self.entries.values_mut() {
            entry.renewed_at = (entry.renewed_at + away).min(now);
        }
    }

    /// A mark, for [`inspected`](Self::inspected).
    pub(crate) fn mark(&self) -> u64 {
        self.changes
    }

    /// After `mark` was taken, these were all nodes of the session. Who is missing is lost; what nobody knows of is put
    /// down as overdue.
    pub(crate) fn inspected(&mut self, mark: u64, nodes: Vec<String>, now: Instant) {
        let nodes: HashSet<Path> = nodes.into_iter().map(Into::into).collect();
        let missing = |path: &Path, entry: &Entry| {
            entry.busy == 0 && entry.changed <= mark && entry.written.is_some() && !nodes.contains(path)
        };
        let lost: Vec<_> = self
            .entries
            .iter()
            .filter(|(path, entry)| missing(path, entry))
            .map(|(path, _)| path.clone())
            .collect();
        for path in lost {
            self.lose(&path, deleted());
        }
        for path in nodes {
            self.entries.entry(path).or_insert_with(|| Entry::new(Duration::ZERO, now));
        }
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn lose(&mut self, path: &Path, cause: Error) {
        self.changes += 1;
        if let Some(entry) = self.entries.get_mut(path)
            && entry.written.take().is_some()
        {
            entry.changed = self.changes;
            entry.lost.fire(cause.clone());
            entry.lost_cause = Some(cause);
        }
    }
}

impl Entry {
    fn new(ttl: Duration, now: Instant) -> Self {
        let (lost, signal) = LostSignal::channel();
        Self {
            lane: Lane::default(),
            busy: 0,
            ttl,
            renewed_at: now,
            written: None,
            lost_cause: None,
            over: false,
            changed: 0,
            lost,
            signal,
        }
    }
}

impl Written {
    /// Why what was found is not what was written.
    fn is_gone(&self, found: Option<&Found>) -> Option<Error> {
        let Some(found) = found else { return Some(deleted()) };
        if found.node == self.node || (found.node.owner == self.node.owner && *found.data == *self.value) {
            return None;
        }
        let holder = stored::pair_in(&found.data);
        Some(if holder.incarnation > self.record.instance.incarnation {
            Error::conflict(holder, "another owner has taken the id over")
        } else {
            Error::not_found("the record was overwritten")
        })
    }
}

fn deleted() -> Error {
    Error::not_found("the record was deleted")
}

fn conflict(holder: Pair) -> Error {
    Error::conflict(holder, format!("the registry holds a record of this id with the pair {holder}"))
}
