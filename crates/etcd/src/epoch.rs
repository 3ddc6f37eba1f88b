//! Notices that the registry is not the one it was: wiped, restored, or replaced by another cluster.
//!
//! etcd itself does not tell. A single member that restarts with an empty disk has the same cluster and member id as
//! before, and a watch that is opened at a revision which the new store has not reached stays silent. But a
//! linearizable answer to a request that was sent after revision 30 was seen cannot be of revision 2.

use std::sync::{Mutex, MutexGuard, PoisonError};

use etcd_client::ResponseHeader;

/// The highest revision that was seen, and how often it fell.
#[derive(Debug, Default)]
pub(crate) struct Epochs(Mutex<Now>);

#[derive(Debug, Clone, Copy, Default)]
struct Now {
    cluster: Option<u64>,
    revision: i64,
    epoch: u64,
}

/// What was known when a request was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    revision: i64,
    epoch: u64,
}

/// Where a linearizable answer belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    pub(crate) revision: i64,
    /// Whether this answer began the epoch.
    pub(crate) begins: bool,
}

impl Epochs {
    /// To be taken before a linearizable request is sent.
    pub(crate) fn floor(&self) -> Floor {
        let Now { revision, epoch, .. } = *self.now();
        Floor { revision, epoch }
    }

    /// Where an answer belongs of which nothing is proven.
    pub(crate) fn unproven(&self, revision: i64) -> Place {
        Place { epoch: self.now().epoch, revision, begins: false }
    }

    /// Whether `cluster` is not the one that answered before.
    pub(crate) fn is_foreign(&self, cluster: u64) -> bool {
        self.now().cluster.is_some_and(|known| known != cluster)
    }

    /// Where the answer to a linearizable request belongs that was sent at `floor`.
    pub(crate) fn place(&self, floor: Floor, header: &ResponseHeader) -> Place {
        self.place_at(floor, header.cluster_id(), header.revision())
    }

    fn place_at(&self, floor: Floor, cluster: u64, revision: i64) -> Place {
        let mut now = self.now();
        let replaced = now.cluster.replace(cluster).is_some_and(|known| known != cluster);
        let begins = replaced || (now.epoch == floor.epoch && revision < floor.revision);
        if begins {
            now.epoch += 1;
            now.revision = revision;
        } else {
            now.revision = now.revision.max(revision);
        }
        Place { epoch: now.epoch, revision, begins }
    }

    /// A watch has shown a change of this epoch: what is read later cannot be older.
    pub(crate) fn saw(&self, epoch: u64, revision: i64) {
        let mut now = self.now();
        if now.epoch == epoch {
            now.revision = now.revision.max(revision);
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_that_falls_begins_an_epoch_once() {
        let epochs = Epochs::default();
        let first = epochs.floor();
        assert_eq!(epochs.place_at(first, 7, 30), Place { epoch: 0, revision: 30, begins: false });
        let (one, other) = (epochs.floor(), epochs.floor());
        assert_eq!(epochs.place_at(one, 7, 2), Place { epoch: 1, revision: 2, begins: true });
        assert!(!epochs.place_at(other, 7, 3).begins, "both requests were sent before the fall was noticed");
    }

    #[test]
    fn a_revision_that_a_watch_has_shown_is_not_forgotten_by_the_next_read() {
        let epochs = Epochs::default();
        epochs.place_at(epochs.floor(), 7, 20);
        epochs.saw(0, 60);
        let after = epochs.floor();
        assert_eq!(epochs.place_at(after, 7, 25), Place { epoch: 1, revision: 25, begins: true });
        epochs.saw(0, 61);
        assert_eq!(epochs.floor().revision, 25, "a change that comes late belongs to the epoch before");
    }

    #[test]
    fn answers_that_overtake_each_other_are_no_fall() {
        let epochs = Epochs::default();
        let (slow, fast) = (epochs.floor(), epochs.floor());
        epochs.place_at(fast, 7, 12);
        assert_eq!(epochs.place_at(slow, 7, 10), Place { epoch: 0, revision: 10, begins: false });
        assert_eq!(epochs.floor().revision, 12);
    }

    #[test]
    fn another_cluster_begins_an_epoch_whatever_its_revision() {
        let epochs = Epochs::default();
        epochs.place_at(epochs.floor(), 7, 30);
        assert!(epochs.is_foreign(8) && !epochs.is_foreign(7));
        assert!(epochs.place_at(epochs.floor(), 8, 1000).begins);
    }
    #[test]
    fn what_is_not_proven_belongs_to_the_current_epoch_and_begins_none() {
        let epochs = Epochs::default();
        epochs.place_at(epochs.floor(), 7, 30);
        epochs.place_at(epochs.floor(), 7, 2);
        assert_eq!(epochs.unproven(1), Place { epoch: 1, revision: 1, begins: false });
        assert_eq!(epochs.floor().revision, 2, "an answer that proves nothing is no floor");
    }

    #[test]
    fn a_request_from_before_an_epoch_does_not_begin_the_next() {
        let epochs = Epochs::default();
        epochs.place_at(epochs.floor(), 7, 30);
        let old = epochs.floor();
        epochs.place_at(epochs.floor(), 8, 500);
        assert_eq!(epochs.place_at(old, 8, 400), Place { epoch: 1, revision: 400, begins: false });
        assert_eq!(epochs.floor().revision, 500);
    }
}
