//! Who watches what on one connection.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsign_core::Error;
use tokio::sync::watch;
use tokio::time::Instant;

use super::sink::Ended;
use super::{Change, Range, Sink};

/// What the registry calls a watch: the number of its stream, and its number there.
pub(super) type WatchId = (u64, i64);

/// The subscriptions of one connection. Each is owned by who made it.
#[derive(Debug, Default)]
pub(super) struct Table {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    subscriptions: HashMap<u64, Entry>,
    by_watch: HashMap<WatchId, u64>,
    /// Not asked for yet. Services first: a view waits for them.
    services: VecDeque<u64>,
    keys: VecDeque<u64>,
    /// Watches that nobody reads any more.
    orphans: Vec<WatchId>,
    ended: Option<Error>,
}

impl Inner {
    fn queue(&mut self, range: &Range) -> &mut VecDeque<u64> {
        match range {
            Range::Prefix(_) => &mut self.services,
            Range::Key(_) => &mut self.keys,
        }
    }
}

#[derive(Debug)]
struct Entry {
    range: Range,
    sink: Arc<Sink>,
    watch: Option<WatchId>,
    /// Whether it was refused for want of a login, once.
    refused: bool,
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
            inner.queue(&range).push_back(id);
            inner.subscriptions.insert(id, Entry { range, sink, watch: None, refused: false });
        }
        drop(inner);
        self.changed.send_replace(());
        Subscription { id, table: self.clone() }
    }

    /// Tells when subscriptions come and go.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
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

    /// A subscription was refused for want of a login. Whether it was not before: it is then asked for once more.
    pub(super) fn ask_again(&self, id: u64) -> bool {
        let mut inner = self.inner();
        let Some(entry) = inner.subscriptions.get_mut(&id) else { return false };
        if std::mem::replace(&mut entry.refused, true) {
            return false;
        }
        let range = entry.range.clone();
        inner.queue(&range).push_front(id);
        true
    }

    /// The registry calls the subscription `watch`.
    pub(super) fn begun(&self, id: u64, watch: WatchId) {
        let mut inner = self.inner();
        let Some(entry) = inner.subscriptions.get_mut(&id) else {
            inner.orphans.push(watch);
            return;
        };
        entry.watch = Some(watch);
        entry.sink.begin(entry.range.start().clone());
        inner.by_watch.insert(watch, id);
    }

    pub(super) fn change(&self, watch: WatchId, changes: Vec<Change>) {
        let inner = self.inner();
        let entry = inner.by_watch.get(&watch).and_then(|id| inner.subscriptions.get(id));
        if let Some(entry) = entry {
            entry.sink.change(changes);
        }
    }

    /// All watches that have begun on `stream` are up to date, as of `asked_at`.
    pub(super) fn progress(&self, stream: u64, asked_at: Instant) {
        let inner = self.inner();
        let on_it = |entry: &&Entry| entry.watch.is_some_and(|(other, _)| other == stream);
        for entry in inner.subscriptions.values().filter(on_it) {
            entry.sink.progress(asked_at);
        }
    }

    /// The registry has ended a watch.
    pub(super) fn end_watch(&self, watch: WatchId, ended: Ended) {
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

    pub(super) fn has_watches(&self, stream: u64) -> bool {
        self.inner().by_watch.keys().any(|(other, _)| *other == stream)
    }

    /// The watches of `stream` that nobody reads any more.
    pub(super) fn take_orphans(&self, stream: u64) -> Vec<i64> {
        let on_it = |(other, _): &mut WatchId| *other == stream;
        self.inner().orphans.extract_if(.., on_it).map(|(_, watch)| watch).collect()
    }

    fn remove(&self, id: u64) {
        let mut inner = self.inner();
        if let Some(watch) = inner.subscriptions.remove(&id).and_then(|entry| entry.watch) {
            inner.by_watch.remove(&watch);
            inner.orphans.push(watch);
        }
        drop(inner);
        self.changed.send_replace(());
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // No change of it can be seen half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
