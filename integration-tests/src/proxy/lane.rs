//! A lane: the connections of a proxy that share a mode, and how each of them sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;

use super::mode::{Direction, Flow, Mode};

/// What all lanes of a proxy are told.
#[derive(Debug, Clone)]
pub(super) struct Orders {
    /// One for each lane.
    pub(super) modes: Vec<Mode>,
    /// How often open connections were reset: those that are older than the last time are.
    pub(super) cuts: u64,
    /// Grows with every change, so that somebody can wait until it is in force.
    pub(super) version: u64,
}

/// How many connections there are, and were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counts {
    /// Open now.
    pub live: usize,
    /// Accepted since the start.
    pub accepted: usize,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    live: AtomicUsize,
    accepted: AtomicUsize,
}

impl Counters {
    pub(super) fn read(&self) -> Counts {
        Counts { live: self.live.load(Ordering::SeqCst), accepted: self.accepted.load(Ordering::SeqCst) }
    }

    /// Counts a connection as open until it is dropped.
    pub(super) fn count(self: Arc<Self>) -> Counted {
        self.accepted.fetch_add(1, Ordering::SeqCst);
        self.live.fetch_add(1, Ordering::SeqCst);
        Counted(self)
    }
}

#[derive(Debug)]
pub(super) struct Counted(Arc<Counters>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What a connection is told.
#[derive(Debug, Clone)]
pub(super) struct View {
    orders: watch::Receiver<Orders>,
    lane: usize,
    born: u64,
}

impl View {
    /// The view of a connection that begins now, in the first lane.
    pub(super) fn new(orders: watch::Receiver<Orders>) -> Self {
        let born = orders.borrow().cuts;
        Self { orders, lane: 0, born }
    }

    pub(super) fn in_lane(mut self, lane: usize) -> Self {
        self.lane = lane;
        self
    }

    pub(super) fn mode(&mut self) -> Mode {
        let orders = self.orders.borrow_and_update();
        match orders.modes.get(self.lane) {
            Some(mode) if orders.cuts == self.born => *mode,
            // It was cut, or there is no such lane.
            _ => Mode::Refuse,
        }
    }

    pub(super) fn flow(&mut self, direction: Direction) -> Flow {
        self.mode().flow(direction)
    }

    /// Waits for the next change; for ever when there is none any more, as the proxy ends its connections itself.
    pub(super) async fn changed(&mut self) {
        if self.orders.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
