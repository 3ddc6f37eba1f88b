//! Where changes wait for a reader: of each key the latest, so that a slow reader skips and nobody waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsign_core::Error;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Change;

/// A reader that has missed so many different keys reads everything anew.
const AT_MOST: usize = 20_000;

#[derive(Debug)]
pub(crate) struct Sink {
    pending: Mutex<Taken>,
    ready: Notify,
}

/// Why a watch is over.
#[derive(Debug)]
pub(crate) enum Ended {
    Failed(Error),
    /// The registry, or the reader, could not keep up: nothing is wrong, but it has to begin anew.
    Overtaken,
}

/// What has come since the last time.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// What watches have begun, by the start of their range.
    pub(crate) begun: Vec<Arc<[u8]>>,
    pub(crate) changes: HashMap<Arc<[u8]>, Change>,
    /// When the registry was asked, which has answered that this is all.
    pub(crate) progress: Option<Instant>,
    pub(crate) ended: Option<Ended>,
}

impl Taken {
    fn is_empty(&self) -> bool {
        self.begun.is_empty() && self.changes.is_empty() && self.progress.is_none() && self.ended.is_none()
    }
}

impl Sink {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { pending: Mutex::default(), ready: Notify::new() })
    }

    /// Waits until there is something. For one reader.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is taken before the future is ready.
    pub(crate) async fn take(&self) -> Taken {
        loop {
            let woken = self.ready.notified();
            let taken = std::mem::take(&mut *self.pending());
            if !taken.is_empty() {
                return taken;
            }
            woken.await;
        }
    }

    pub(super) fn begin(&self, start: Arc<[u8]>) {
        self.pending().begun.push(start);
        self.ready.notify_one();
    }

    pub(super) fn change(&self, changes: Vec<Change>) {
        let mut pending = self.pending();
        for change in changes {
            pending.changes.insert(change.key().clone(), change);
        }
        if pending.changes.len() > AT_MOST {
            pending.changes = HashMap::new();
            pending.ended.get_or_insert(Ended::Overtaken);
        }
        drop(pending);
        self.ready.notify_one();
    }

    pub(super) fn progress(&self, asked_at: Instant) {
        self.pending().progress = Some(asked_at);
        self.ready.notify_one();
    }

    pub(super) fn end(&self, ended: Ended) {
        self.pending().ended.get_or_insert(ended);
        self.ready.notify_one();
    }

    fn pending(&self) -> MutexGuard<'_, Taken> {
        // No change of it can be seen half done.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, mod_revision: i64) -> Change {
        Change::Put { key: key.as_bytes().into(), mod_revision, lease: 0, value: Vec::new() }
    }

    #[tokio::test]
    async fn of_each_key_the_latest_change_is_kept() {
        let sink = Sink::new();
        sink.change(vec![put("a", 1), put("b", 2)]);
        sink.change(vec![put("a", 3)]);
        let taken = sink.take().await;
        let revision = |key: &str| taken.changes[key.as_bytes()].revision();
        assert_eq!((taken.changes.len(), revision("a"), revision("b")), (2, 3, 2));
    }

    #[tokio::test]
    async fn a_reader_that_is_far_behind_begins_anew() {
        let sink = Sink::new();
        for n in 0..=AT_MOST {
            sink.change(vec![put(&n.to_string(), 1)]);
        }
        let taken = sink.take().await;
        assert!(taken.changes.is_empty() && matches!(taken.ended, Some(Ended::Overtaken)));
    }
    #[tokio::test]
    async fn a_reader_that_waits_is_woken_by_whatever_comes() {
        let calls: [fn(&Sink); 4] = [
            |sink| sink.begin(b"a".as_slice().into()),
            |sink| sink.change(vec![put("a", 1)]),
            |sink| sink.progress(Instant::now()),
            |sink| sink.end(Ended::Overtaken),
        ];
        for (n, call) in calls.into_iter().enumerate() {
            let sink = Sink::new();
            let mut take = Box::pin(sink.take());
            assert!(futures::poll!(&mut take).is_pending());
            call(&sink);
            assert!(futures::poll!(&mut take).is_ready(), "{n}");
        }
    }

    #[tokio::test]
    async fn who_stops_waiting_takes_nothing_along() {
        let sink = Sink::new();
        let mut take = Box::pin(sink.take());
        assert!(futures::poll!(&mut take).is_pending());
        sink.change(vec![put("a", 1)]);
        drop(take);
        assert_eq!(sink.take().await.changes.len(), 1);
        assert!(futures::poll!(Box::pin(sink.take())).is_pending(), "what was taken does not come again");
    }

    #[tokio::test]
    async fn the_first_end_counts() {
        let sink = Sink::new();
        sink.end(Ended::Failed(Error::unavailable("first")));
        sink.end(Ended::Overtaken);
        let ended = sink.take().await.ended;
        assert!(matches!(ended, Some(Ended::Failed(error)) if error.context() == "first"));
    }
}
