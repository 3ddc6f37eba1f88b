//! The cell between a view's task, which writes, and its handles, which read.

use std::sync::Arc;

use arc_swap::ArcSwap;
use callsign_core::ServiceKey;
use tokio::sync::watch;

use super::Snapshot;

/// One writer, many readers; only the latest value is kept, so nobody waits and nothing queues.
#[derive(Debug)]
pub(crate) struct ViewShared {
    service: ServiceKey,
    snapshot: ArcSwap<Snapshot>,
    /// The snapshot's `seq`, to wake whoever waits for a change.
    seq: watch::Sender<u64>,
    /// How many handles there are.
    users: watch::Sender<usize>,
}

impl ViewShared {
    pub(crate) fn new(first: Arc<Snapshot>) -> Self {
        Self {
            service: first.service.clone(),
            seq: watch::Sender::new(first.seq),
            snapshot: ArcSwap::new(first),
            users: watch::Sender::new(0),
        }
    }

    pub(crate) fn service(&self) -> &ServiceKey {
        &self.service
    }

    pub(crate) fn snapshot(&self) -> &ArcSwap<Snapshot> {
        &self.snapshot
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.seq.subscribe()
    }

    pub(crate) fn show(&self, snapshot: Arc<Snapshot>, changed: bool) {
        let seq = snapshot.seq;
        self.snapshot.store(snapshot);
        if changed {
            self.seq.send_replace(seq);
        }
    }

    pub(crate) fn enter(&self) {
        self.users.send_modify(|users| *users += 1);
    }

    pub(crate) fn leave(&self) {
        self.users.send_modify(|users| *users -= 1);
    }

    pub(crate) fn users(&self) -> watch::Receiver<usize> {
        self.users.subscribe()
    }
}
