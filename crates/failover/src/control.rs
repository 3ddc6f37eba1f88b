//! Seeing and steering from outside.

use std::fmt;
use std::sync::Arc;

use callsign_core::{Error, MemberState, Result};
use tokio::sync::watch;
use tokio::time::Instant;

/// How one member is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct MemberStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Its state.
    pub state: MemberState,
    /// Since when.
    pub since: Instant,
    /// Why, where it is not healthy.
    pub cause: Option<Error>,
    /// Whether it is the one that is read; in a union, whether it is among those that are.
    pub active: bool,
    /// How many removals it has not heard of yet.
    pub pending_deletes: usize,
}

/// What an operator has ordered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Hold {
    /// Nothing: switches are automatic.
    #[default]
    None,
    /// No switch at all.
    Frozen,
    /// This member is read, whatever it does.
    Forced(Arc<str>),
}

/// How a [`Failover`](crate::Failover) is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct State {
    /// The members, in order of preference.
    pub members: Vec<MemberStatus>,
    /// The member that is read; in a union the first of those that can be.
    pub active: Arc<str>,
    /// Since when.
    pub since: Instant,
    /// How often another member was switched to.
    pub switches: u64,
    /// What an operator has ordered.
    pub hold: Hold,
}

/// What [`Control`] asks of the machines behind it.
pub(crate) trait Steering: Send + Sync + 'static {
    fn state(&self) -> State;
    fn freeze(&self);
    fn force(&self, member: &str) -> Result<()>;
    fn release(&self);
}

/// The hand on a [`Failover`](crate::Failover): its state, and the brake. Cheap to clone; keeps nothing running.
#[derive(Clone)]
pub struct Control {
    steering: Arc<dyn Steering>,
    changes: watch::Receiver<u64>,
}

impl Control {
    pub(crate) fn new(steering: Arc<dyn Steering>, changes: watch::Receiver<u64>) -> Self {
        Self { steering, changes }
    }

    /// How the members are, in order of preference.
    #[must_use]
    pub fn members(&self) -> Vec<MemberStatus> {
        self.state().members
    }

    /// Everything at once.
    #[must_use]
    pub fn state(&self) -> State {
        self.steering.state()
    }

    /// Waits for the next change of state, and returns it. Skips those that came in between; for ever, once the failover
    /// is gone.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn changed(&mut self) -> State {
        if self.changes.changed().await.is_err() {
            return std::future::pending().await;
        }
        self.state()
    }

    /// Stops all automatic switches, until [`release`](Self::release). Writes go on, and trouble shows.
    pub fn freeze(&self) {
        self.steering.freeze();
    }

    /// Has this member read, whatever its state, until [`release`](Self::release). In a union it alone is read.
    ///
    /// # Errors
    /// `InvalidInput`: there is no such member.
    pub fn force(&self, member: &str) -> Result<()> {
        self.steering.force(member)
    }

    /// Undoes [`freeze`](Self::freeze) and [`force`](Self::force).
    pub fn release(&self) {
        self.steering.release();
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("state", &self.state()).finish_non_exhaustive()
    }
}
