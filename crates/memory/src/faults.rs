//! What can go wrong with a registry, on demand.

use std::fmt;

use crate::Store;

/// A fault of the whole store: every handle of it is hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// Out of reach: every call fails at once, every watch with it. Leases go on expiring.
    Unavailable,
    /// Connected and silent: calls hang, watches say nothing. Leases go on expiring.
    Frozen,
    /// Cut off from its peers: reads show what was there when the fault began, marked
    /// [`Stale`](callsign_core::Authority::Stale). Writes go through, unseen.
    Stale,
    /// Writes happen, and their acknowledgement does not arrive.
    LostAcknowledgement,
    /// Two of three instances that are there when the fault begins are missing from every listing, which claims to
    /// be whole: a registry that answers before it has finished to start. No honest registry does this; no
    /// view should suffer from it.
    Partial,
}

/// Keeps a [`Fault`] up; dropping it heals the store.
#[must_use = "dropping the guard heals the store"]
pub struct FaultGuard {
    store: Store,
    fault: Fault,
}

impl FaultGuard {
    pub(crate) fn new(store: Store, fault: Fault) -> Self {
        Self { store, fault }
    }

    /// Heals the store.
    pub fn heal(self) {
        drop(self);
    }
}

impl Drop for FaultGuard {
    fn drop(&mut self) {
        self.store.heal(self.fault);
    }
}

impl fmt::Debug for FaultGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultGuard").field(&self.fault).finish()
    }
}
