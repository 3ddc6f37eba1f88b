//! Who watches what on one stream.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsign_core::Error;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::sink::Ended;
use super::{Change, Range, Sink};

/// The subscriptions of one connection. Each is owned by who made it.
#[derive(Debug, Default)]
pub(super) struct Table {
    inner: Mutex<Inner>,
    pub(super) changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    subscriptions: HashMap<u64, Entry>,
    by_watch: HashMap<i64, u64>,
    /// Not asked for yet. Services first: a view waits for them.
    services: VecDeque<u64>,
    keys: VecDeque<u64>,
    /// Watches that nobody reads any more.
    orphans: Vec<i64>,
    ended: Option<Error>,
}

#[derive(Debug)]
struct Entry {
    range: Range,
    sink: Arc<Sink>,
    watch: Option<i64>,
}

/// A watch that lasts until this is dropped.
#[derive(Debug)]
pub(crate) struct Subscription {
    id: u64,
    table: Arc<Table>,
}

impl Subscription {
    pub(super) fn is_in(&self, table: &Arc<Table>) -> bool {
        Arc::ptr_eq(&self.table, table)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.table.remove(self.id);
        self.table.changed.notify_one();
    }
}

impl Table {
    pub(super) fn insert(self: &Arc<Self>, range: Range, sink: Arc<Sink>) -> Subscription {
        let mut inner = self.inner();
        inner.next += 1;
        let id = inner.next;
        if let Some(error) = &inner.ended {
            sink.end(Ended::Failed(error.clone()));
        } else {
            match &range {
                Range::Prefix(_) => inner.services.push_back(id),
                Range::Key(_) => inner.keys.push_back(id),
            }
            inner.subscriptions.insert(id, Entry { range, sink, watch: None });
        }
        drop(inner);
        self.changed.notify_one();
        Subscription { id, table: self.clone() }
    }

    /// The next subscription to ask for, and its range.
    pub(super) fn next(&self) -> Option<(u64, Range)> {
        let mut inner = self.inner();
        loop {
            let id = inner.services.pop_front().or_else(|| inner.keys.pop_front())?;
            if let Some(entry) = inner.subscriptions.get(&id) {
                return Some((id, entry.range.clone()));
            }
        }
    }

    /// The registry calls the subscription `watch`.
    pub(super) fn begun(&self, id: u64, watch: i64) {
        let mut inner = self.inner();
        let Some(entry) = inner.subscriptions.get_mut(&id) else {
            inner.orphans.push(watch);
            return;
        };
        entry.watch = Some(watch);
        entry.sink.begin(entry.range.start().clone());
        inner.by_watch.insert(watch, id);
    }

    pub(super) fn change(&self, watch: i64, changes: Vec<Change>) {
        let inner = self.inner();
        let entry = inner.by_watch.get(&watch).and_then(|id| inner.subscriptions.get(id));
        if let Some(entry) = entry {
            entry.sink.change(changes);
        }
    }

    /// All watches that have begun are up to date, as of `asked_at`.
    pub(super) fn progress(&self, asked_at: Instant) {
        let inner = self.inner();
        for entry in inner.subscriptions.values().filter(|entry| entry.watch.is_some()) {
            entry.sink.progress(asked_at);
        }
    }

    /// The registry has ended a watch.
    pub(super) fn end_watch(&self, watch: i64, ended: Ended) {
        let id = self.inner().by_watch.get(&watch).copied();
        if let Some(id) = id {
            self.end(id, ended);
        }
    }

    pub(super) fn end(&self, id: u64, ended: Ended) {
        let mut inner = self.inner();
        if let Some(entry) = inner.subscriptions.remove(&id) {
            if let Some(watch) = entry.watch {
                inner.by_watch.remove(&watch);
            }
            entry.sink.end(ended);
        }
    }

    /// The stream has broken: for all of them, and for those that are made from now on.
    pub(super) fn end_all(&self, error: &Error) {
        let mut inner = self.inner();
        inner.ended.get_or_insert_with(|| error.clone());
        for (_, entry) in inner.subscriptions.drain() {
            entry.sink.end(Ended::Failed(error.clone()));
        }
    }

    pub(super) fn has_watches(&self) -> bool {
        !self.inner().by_watch.is_empty()
    }

    pub(super) fn take_orphans(&self) -> Vec<i64> {
        std::mem::take(&mut self.inner().orphans)
    }

    fn remove(&self, id: u64) {
        let mut inner = self.inner();
        if let Some(watch) = inner.subscriptions.remove(&id).and_then(|entry| entry.watch) {
            inner.by_watch.remove(&watch);
            inner.orphans.push(watch);
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // No change of it can be seen half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
