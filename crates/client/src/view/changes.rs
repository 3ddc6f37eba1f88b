//! What has changed between two snapshots.

use std::sync::Arc;

use callsign_core::Instance;

use super::Snapshot;
use super::merge::{Pairing, pair_up};

/// The difference between the last snapshot a reader has seen and the present one. Computed here, between two whole
/// sets: no change is ever lost, however many snapshots the reader has skipped.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Changes {
    /// Instances that were not there before.
    pub added: Vec<Arc<Instance>>,
    /// Instances that have changed in any field.
    pub updated: Vec<Updated>,
    /// Instances that are gone: as they were.
    pub removed: Vec<Arc<Instance>>,
}

/// An instance that has changed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Updated {
    /// As it was.
    pub before: Arc<Instance>,
    /// As it is now.
    pub now: Arc<Instance>,
}

impl Changes {
    pub(crate) fn between(before: &Snapshot, now: &Snapshot) -> Self {
        let mut changes = Self::default();
        if Arc::ptr_eq(&before.instances, &now.instances) {
            return changes;
        }
        for pairing in pair_up(&before.instances, &now.instances) {
            match pairing {
                Pairing::Both(old, new) if old != new => {
                    changes.updated.push(Updated { before: old.clone(), now: new.clone() });
                }
                Pairing::Same(_) | Pairing::Both(..) => {}
                Pairing::Left(old) => changes.removed.push(old.clone()),
                Pairing::Right(new) => changes.added.push(new.clone()),
            }
        }
        changes
    }

    /// Whether no instance has changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.updated.is_empty() && self.removed.is_empty()
    }
}
