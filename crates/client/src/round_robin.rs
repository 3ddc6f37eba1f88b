//! The plain picker: each routable instance in turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use callsign_core::Instance;

use crate::ServiceView;

/// Picks the routable instances of a view in turn. Weights do not matter, zero excepted.
///
/// No lock, no allocation, no await. Share it between threads by reference or in an `Arc`.
#[derive(Debug)]
pub struct RoundRobin {
    view: ServiceView,
    turn: AtomicU32,
}

impl RoundRobin {
    pub(crate) fn new(view: ServiceView) -> Self {
        // Not from zero: a fleet of clients that start together would all begin with the same instance.
        Self { view, turn: AtomicU32::new(fastrand::u32(..)) }
    }

    /// The next instance; `None` when none is routable.
    #[must_use]
    pub fn pick(&self) -> Option<Arc<Instance>> {
        let snapshot = self.view.shared().snapshot().load();
        let routable = snapshot.routable();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        // More instances than `u32` holds do not fit into memory.
        let count = u32::try_from(routable.len()).ok().filter(|count| *count > 0)?;
        routable.get((turn % count) as usize).cloned()
    }

    /// The view it picks from.
    #[must_use]
    pub fn view(&self) -> &ServiceView {
        &self.view
    }
}
