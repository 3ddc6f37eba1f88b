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

impl Orders {
    /// The mode of all lanes, while it is the same.
    pub(super) fn common(&self) -> Option<Mode> {
        let (first, others) = self.modes.split_first()?;
        others.iter().all(|mode| mode == first).then_some(*first)
    }
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
    lane: watch::Receiver<Option<usize>>,
    born: u64,
}

impl View {
    /// The view of a connection that begins now. Its lane may follow.
    pub(super) fn new(orders: watch::Receiver<Orders>, lane: watch::Receiver<Option<usize>>) -> Self {
        let born = orders.borrow().cuts;
        Self { orders, lane, born }
    }

    pub(super) fn mode(&mut self) -> Mode {
        let orders = self.orders.borrow_and_update();
        match (orders.common(), *self.lane.borrow_and_update()) {
            _ if orders.cuts != self.born => Mode::Refuse,
            (Some(mode), _) => mode,
            // One that belongs nowhere goes nowhere.
            (None, Some(lane)) => orders.modes.get(lane).copied().unwrap_or(Mode::Refuse),
            (None, None) => Mode::Stall,
        }
    }

    pub(super) fn flow(&mut self, direction: Direction) -> Flow {
        self.mode().flow(direction)
    }

    /// Waits until the lane does not matter or is known.
    pub(super) async fn decided(&mut self) {
        while self.orders.borrow().common().is_none() && self.lane.borrow().is_none() {
            self.changed().await;
        }
    }

    /// Waits for the next change; for ever when there is none any more, as the proxy ends its connections itself.
    pub(super) async fn changed(&mut self) {
        let changed = tokio::select! {
            changed = self.orders.changed() => changed,
            Ok(()) = self.lane.changed() => Ok(()),
        };
        if changed.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
