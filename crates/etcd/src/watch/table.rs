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

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::super::Taken;
    use super::*;

    fn key(name: &str) -> Range {
        Range::Key(name.as_bytes().into())
    }

    fn service(name: &str) -> Range {
        Range::Prefix(name.as_bytes().into())
    }

    fn taken(sink: &Sink) -> Option<Taken> {
        sink.take().now_or_never()
    }

    fn put(name: &str) -> Vec<Change> {
        vec![Change::Put { key: name.as_bytes().into(), mod_revision: 1, lease: 0, value: Vec::new() }]
    }

    /// A table, and a watch in it that has begun as number `watch`.
    fn begun(table: &Arc<Table>, range: Range, watch: WatchId) -> (Arc<Sink>, Subscription) {
        let sink = Sink::new();
        let subscription = table.insert(range, sink.clone());
        let (id, _) = table.next().unwrap();
        table.begun(id, watch);
        assert_eq!(taken(&sink).unwrap().begun.len(), 1);
        (sink, subscription)
    }

    #[test]
    fn services_are_asked_for_before_keys_and_each_only_once() {
        let table = Arc::new(Table::default());
        let sink = Sink::new();
        let _held: Vec<_> = [key("k1"), service("s1"), key("k2"), service("s2")]
            .into_iter()
            .map(|range| table.insert(range, sink.clone()))
            .collect();
        let order: Vec<_> =
            std::iter::from_fn(|| table.next()).map(|(_, range)| range.start().to_vec()).collect();
        assert_eq!(order, [b"s1", b"s2", b"k1", b"k2"]);
    }

    #[test]
    fn what_nobody_wants_any_more_is_not_asked_for() {
        let table = Arc::new(Table::default());
        let first = table.insert(service("a"), Sink::new());
        let _second = table.insert(service("b"), Sink::new());
        drop(first);
        assert_eq!(&**table.next().unwrap().1.start(), b"b");
        assert!(table.next().is_none() && table.take_orphans(0).is_empty());
    }

    #[test]
    fn a_watch_that_nobody_reads_any_more_is_let_go_before_and_after_it_begins() {
        let table = Arc::new(Table::default());
        let (sink, subscription) = begun(&table, service("a"), (0, 5));
        drop(subscription);
        assert_eq!(table.take_orphans(0), [5]);
        table.change((0, 5), put("a1"));
        assert!(taken(&sink).is_none() && !table.has_watches(0));

        let subscription = table.insert(service("b"), Sink::new());
        let (id, _) = table.next().unwrap();
        drop(subscription);
        table.begun(id, (0, 6));
        assert_eq!(table.take_orphans(0), [6]);
        assert!(table.take_orphans(0).is_empty() && !table.has_watches(0));
    }

    #[test]
    fn who_makes_or_drops_a_subscription_wakes_every_stream() {
        let table = Arc::new(Table::default());
        let mut streams = [table.changes(), table.changes()];
        let woken = |streams: &mut [watch::Receiver<()>]| {
            streams.iter_mut().all(|changes| changes.changed().now_or_never().is_some())
        };
        let subscription = table.insert(service("a"), Sink::new());
        assert!(woken(&mut streams) && !woken(&mut streams));
        drop(subscription);
        assert!(woken(&mut streams));
    }

    #[test]
    fn a_watch_that_is_refused_for_want_of_a_login_is_asked_for_first_and_only_once_more() {
        let table = Arc::new(Table::default());
        let _held = [table.insert(service("a"), Sink::new()), table.insert(service("b"), Sink::new())];
        let (refused, _) = table.next().unwrap();
        assert!(table.ask_again(refused));
        assert_eq!(table.next().unwrap().0, refused);
        assert!(!table.ask_again(refused), "twice");
        assert!(!table.ask_again(99), "nobody");
        assert_eq!(&**table.next().unwrap().1.start(), b"b");
    }

    #[test]
    fn streams_have_numbers_of_their_own_for_their_watches() {
        let table = Arc::new(Table::default());
        let (old, _held) = begun(&table, service("a"), (0, 1));
        let (new, also) = begun(&table, service("b"), (1, 1));
        table.change((1, 1), put("b1"));
        table.progress(1, Instant::now());
        assert!(taken(&old).is_none());
        assert_eq!(taken(&new).unwrap().changes.len(), 1);
        drop(also);
        assert!(table.take_orphans(0).is_empty() && table.take_orphans(1) == [1]);
        assert!(table.has_watches(0) && !table.has_watches(1));
    }

    #[test]
    fn each_watch_has_its_own_changes_and_its_own_end() {
        let table = Arc::new(Table::default());
        let (one, _held) = begun(&table, service("a"), (0, 5));
        let (other, _also) = begun(&table, service("b"), (0, 6));
        table.change((0, 5), put("a1"));
        assert_eq!(taken(&one).unwrap().changes.len(), 1);
        assert!(taken(&other).is_none());
        table.end_watch((0, 5), Ended::Overtaken);
        assert!(matches!(taken(&one).unwrap().ended, Some(Ended::Overtaken)));
        assert!(taken(&other).is_none() && table.has_watches(0));
        // Numbers that mean nothing here.
        table.end_watch((0, 7), Ended::Overtaken);
        table.change((0, 7), put("a1"));
        assert!(taken(&one).is_none() && taken(&other).is_none());
    }

    #[test]
    fn progress_is_of_watches_that_have_begun() {
        let table = Arc::new(Table::default());
        let (begun, _held) = begun(&table, service("a"), (0, 5));
        let waiting = Sink::new();
        let _also = table.insert(service("b"), waiting.clone());
        let asked_at = Instant::now();
        table.progress(0, asked_at);
        assert_eq!(taken(&begun).unwrap().progress, Some(asked_at));
        assert!(taken(&waiting).is_none());
    }

    #[test]
    fn when_the_stream_breaks_it_breaks_for_all_and_for_who_comes_later() {
        let table = Arc::new(Table::default());
        let (begun, _held) = begun(&table, service("a"), (0, 5));
        let waiting = Sink::new();
        let _also = table.insert(service("b"), waiting.clone());
        table.end_all(&Error::unavailable("first"));
        table.end_all(&Error::unavailable("second"));
        let later = Sink::new();
        let _more = table.insert(key("c"), later.clone());
        for sink in [begun, waiting, later] {
            let ended = taken(&sink).unwrap().ended;
            assert!(matches!(ended, Some(Ended::Failed(error)) if error.context() == "first"));
        }
    }
}
