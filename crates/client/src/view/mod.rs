//! Views: what a service looks like, always at hand.

mod changes;
mod driver;
mod machine;
mod merge;
mod protection;
#[cfg(test)]
mod schedules;
mod shared;
mod snapshot;
mod step;
#[cfg(test)]
mod tests;
mod tombstones;
mod watching;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, Result, ServiceKey};
use futures::Stream;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::client::Inner;
use crate::round_robin::RoundRobin;

pub(crate) use driver::{Driver, Surroundings};
pub(crate) use machine::ViewMachine;
pub(crate) use shared::ViewShared;

pub use changes::{Changes, Updated};
pub use snapshot::{Freshness, HoldKind, Protection, Snapshot};

/// A live view of one service. Cheap to clone; all views of a service in a client share one watch, which goes on for
/// 30 s after the last of them is dropped.
///
/// A view never fails. Trouble with the registry shows in [`Snapshot::freshness`], with cause and age, while the
/// last good answer stays.
pub struct ServiceView {
    shared: Arc<ViewShared>,
    seen: watch::Receiver<u64>,
    /// Keeps the client's tasks running.
    client: Arc<Inner>,
}

impl ServiceView {
    pub(crate) fn new(shared: Arc<ViewShared>, client: Arc<Inner>) -> Self {
        shared.enter();
        let mut seen = shared.changes();
        seen.mark_unchanged();
        Self { shared, seen, client }
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &ServiceKey {
        self.shared.service()
    }

    /// What is known now. Takes no lock, makes no call, cannot fail; some ten nanoseconds.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot().load_full()
    }

    /// Waits until a registry, or the disk, has said something of this service, and returns it. An empty set counts:
    /// it is an answer.
    ///
    /// # Errors
    /// `Timeout` after `deadline`, with what stands in the way as its source.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ready(&self, deadline: Duration) -> Result<Arc<Snapshot>> {
        self.wait_for(deadline, |snapshot| !matches!(snapshot.freshness, Freshness::Unknown { .. })).await
    }

    /// Waits until the snapshot satisfies `wanted`, and returns it. Looks again at each change of
    /// [`Snapshot::seq`], so not when only its age or revision is new.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wait_for(
        &self,
        deadline: Duration,
        mut wanted: impl FnMut(&Snapshot) -> bool + Send,
    ) -> Result<Arc<Snapshot>> {
        let mut changes = self.shared.changes();
        let reached = async {
            loop {
                changes.borrow_and_update();
                let snapshot = self.snapshot();
                if wanted(&snapshot) {
                    return snapshot;
                }
                if changes.changed().await.is_err() {
                    // The writer lives as long as `self.shared`.
                    std::future::pending::<()>().await;
                }
            }
        };
        timeout(deadline, reached).await.map_err(|_| {
            let service = self.service();
            let error =
                Error::timeout(format!("the view of `{service}` did not get there within {deadline:?}"));
            match self.snapshot().freshness.cause() {
                Some(cause) => error.with_source(cause.clone()),
                None => error,
            }
        })
    }

    /// Waits for a snapshot that this handle has not seen, and returns it. Changes in between are skipped; what is
    /// returned is always the latest.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn changed(&mut self) -> Arc<Snapshot> {
        if self.seen.changed().await.is_err() {
            // The writer lives as long as `self.shared`.
            std::future::pending::<()>().await;
        }
        self.seen.borrow_and_update();
        self.snapshot()
    }

    /// Every snapshot from now on, the present one first; skips what a slow reader has missed. Never ends.
    pub fn snapshots(&self) -> impl Stream<Item = Arc<Snapshot>> + Send + Unpin + use<> {
        let mut view = self.clone();
        view.seen.mark_unchanged();
        let first = Some(view.snapshot());
        Box::pin(futures::stream::unfold((view, first), |(mut view, first)| async move {
            let snapshot = match first {
                Some(snapshot) => snapshot,
                None => view.changed().await,
            };
            Some((snapshot, (view, None)))
        }))
    }

    /// What has changed, from the present snapshot on: each item is the difference to the last one. Never ends.
    pub fn changes(&self) -> impl Stream<Item = Changes> + Send + Unpin + use<> {
        let before = self.snapshot();
        Box::pin(futures::stream::unfold((self.clone(), before), |(mut view, before)| async move {
            loop {
                let now = view.changed().await;
                let changes = Changes::between(&before, &now);
                if !changes.is_empty() {
                    return Some((changes, (view, now)));
                }
            }
        }))
    }

    /// A picker that takes the routable instances in turn.
    #[must_use]
    pub fn round_robin(&self) -> RoundRobin {
        RoundRobin::new(self.clone())
    }

    pub(crate) fn shared(&self) -> &ViewShared {
        &self.shared
    }
}

impl Clone for ServiceView {
    fn clone(&self) -> Self {
        self.shared.enter();
        Self { shared: self.shared.clone(), seen: self.seen.clone(), client: self.client.clone() }
    }
}

impl Drop for ServiceView {
    fn drop(&mut self) {
        self.shared.leave();
    }
}

impl fmt::Debug for ServiceView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot();
        f.debug_struct("ServiceView")
            .field("service", self.service())
            .field("instances", &snapshot.instances.len())
            .field("freshness", &snapshot.freshness.as_str())
            .finish_non_exhaustive()
    }
}
