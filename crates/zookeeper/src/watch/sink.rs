//! Where changes wait for a reader: which nodes to read again, so that a slow reader skips and nobody waits for it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsign_core::Error;
use tokio::sync::Notify;

/// A reader that has missed so many different nodes reads everything anew.
const AT_MOST: usize = 20_000;

#[derive(Debug, Default)]
pub(crate) struct Sink {
    pending: Mutex<Taken>,
    ready: Notify,
}

/// What has come since the last time.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    /// Names of nodes that were made, written or deleted.
    pub(crate) dirty: HashSet<String>,
    /// Everything is to be read again.
    pub(crate) all: bool,
    pub(crate) ended: Option<Error>,
}

impl Taken {
    pub(crate) fn is_empty(&self) -> bool {
        self.dirty.is_empty() && !self.all && self.ended.is_none()
    }
}

impl Sink {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// What there is.
    pub(crate) fn try_take(&self) -> Taken {
        std::mem::take(&mut *self.pending())
    }

    /// Waits until there is something. For one reader.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is taken before the future is ready.
    pub(crate) async fn take(&self) -> Taken {
        loop {
            let woken = self.ready.notified();
            let taken = self.try_take();
            if !taken.is_empty() {
                return taken;
            }
            woken.await;
        }
    }

    /// Whether there is nothing to take.
    pub(crate) fn is_empty(&self) -> bool {
        self.pending().is_empty()
    }

    pub(super) fn changed(&self, name: &str) {
        let mut pending = self.pending();
        if !pending.all {
            pending.dirty.insert(name.to_owned());
        }
        if pending.dirty.len() > AT_MOST {
            pending.dirty = HashSet::new();
            pending.all = true;
        }
        drop(pending);
        self.ready.notify_one();
    }

    pub(super) fn all_changed(&self) {
        let mut pending = self.pending();
        pending.dirty.clear();
        pending.all = true;
        drop(pending);
        self.ready.notify_one();
    }

    pub(super) fn end(&self, cause: Error) {
        self.pending().ended.get_or_insert(cause);
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

    #[tokio::test]
    async fn a_node_that_changes_often_is_read_once() {
        let sink = Sink::new();
        for _ in 0..10 {
            sink.changed("a");
        }
        sink.changed("b");
        let taken = sink.take().await;
        assert_eq!((taken.dirty.len(), taken.all), (2, false));
        assert!(sink.try_take().is_empty());
    }

    #[tokio::test]
    async fn a_reader_that_is_far_behind_reads_everything_anew() {
        let sink = Sink::new();
        for n in 0..=AT_MOST {
            sink.changed(&n.to_string());
        }
        sink.changed("one more");
        let taken = sink.take().await;
        assert!(taken.dirty.is_empty() && taken.all);
    }

    #[tokio::test]
    async fn a_waiting_reader_is_woken_by_each_kind_of_change_and_the_first_end_counts() {
        let calls: [fn(&Sink); 3] =
            [|sink| sink.changed("a"), Sink::all_changed, |sink| sink.end(Error::unavailable("first"))];
        for call in calls {
            let sink = Sink::new();
            let mut take = Box::pin(sink.take());
            assert!(futures::poll!(&mut take).is_pending());
            call(&sink);
            sink.end(Error::unavailable("later"));
            let std::task::Poll::Ready(taken) = futures::poll!(&mut take) else { panic!("not woken") };
            assert!(
                taken
                    .ended
                    .is_some_and(|cause| cause.context() != "later" || !taken.dirty.is_empty() || taken.all)
            );
        }
    }
}
