//! Switches a chaotic backend while it runs.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::{Error, EventKind, Events, Result};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Rates;

/// After which a call that nobody answers gives up.
const NO_ANSWER: Duration = Duration::from_secs(5);

/// How a client's way to its registry is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Link {
    /// Open.
    #[default]
    Up,
    /// Refused: calls answer `Unavailable` at once, watches show an error.
    Cut,
    /// Silent: calls get no answer, watches show nothing.
    Frozen,
}

/// Cuts one client off from its registry and back, and sets its mischief. Cloning is cheap; all clones and the
/// [`Chaos`](super::Chaos) they came from are one.
#[derive(Clone)]
pub struct ChaosControl(Arc<Inner>);

struct Inner {
    link: watch::Sender<Link>,
    rates: Mutex<Rates>,
    dice: Mutex<fastrand::Rng>,
    events: Events,
}

impl ChaosControl {
    pub(super) fn new(seed: u64, name: Arc<str>) -> Self {
        Self(Arc::new(Inner {
            link: watch::Sender::default(),
            rates: Mutex::new(Rates::healthy()),
            dice: Mutex::new(fastrand::Rng::with_seed(seed)),
            events: Events::new(name),
        }))
    }

    /// Cuts this client off: everything it asks is refused.
    pub fn cut(&self) {
        self.turn(Link::Cut);
    }

    /// Freezes this client's connection: nothing it asks is answered.
    pub fn freeze(&self) {
        self.turn(Link::Frozen);
    }

    /// Lets this client through again.
    pub fn heal(&self) {
        self.turn(Link::Up);
    }

    fn turn(&self, to: Link) {
        if self.0.link.send_replace(to) == to {
            return;
        }
        match to {
            Link::Up => self.0.events.publish(EventKind::Ready, None),
            Link::Cut => self.0.events.publish(EventKind::Lost, Some(cut())),
            Link::Frozen => self.0.events.publish(EventKind::Suspect, Some(silent())),
        }
    }

    /// How the way to the registry is.
    #[must_use]
    pub fn link(&self) -> Link {
        *self.0.link.borrow()
    }

    /// Sets the mischief from now on; [`Rates::healthy`] to begin with.
    pub fn set_rates(&self, rates: Rates) {
        *self.rates_mut() = rates;
    }

    /// The mischief.
    #[must_use]
    pub fn rates(&self) -> Rates {
        *self.rates_mut()
    }

    fn rates_mut(&self) -> MutexGuard<'_, Rates> {
        self.0.rates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn dice(&self) -> MutexGuard<'_, fastrand::Rng> {
        self.0.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn events(&self) -> &Events {
        &self.0.events
    }

    /// Whether a mischief of this rate happens now.
    pub(super) fn strikes(&self, rate: f64) -> bool {
        rate > 0.0 && self.dice().f64() < rate
    }

    /// Waits, if a delay strikes.
    pub(super) async fn delay(&self) {
        let rates = self.rates();
        if self.strikes(rates.delay) {
            self.pause(rates.longest_delay).await;
        }
    }

    /// Waits for up to `longest`.
    pub(super) async fn pause(&self, longest: Duration) {
        let share = self.dice().f64();
        tokio::time::sleep(longest.mul_f64(share)).await;
    }

    /// Waits while the way is frozen, for ever if need be.
    pub(super) async fn thawed(&self) {
        // The sender lives as long as `self`.
        let _ = self.0.link.subscribe().wait_for(|link| *link != Link::Frozen).await;
    }

    /// Waits until the way is another than `link`.
    pub(super) async fn turned(&self, link: Link) {
        let _ = self.0.link.subscribe().wait_for(|now| *now != link).await;
    }

    /// Lets a call through, or says why not.
    pub(super) async fn pass(&self) -> Result<()> {
        timeout(NO_ANSWER, self.thawed()).await.map_err(|_| silent())?;
        if self.link() == Link::Cut {
            return Err(cut());
        }
        if self.strikes(self.rates().refused) {
            return Err(Error::unavailable("refused by chance"));
        }
        Ok(())
    }
}

pub(super) fn cut() -> Error {
    Error::unavailable("cut off from the registry")
}

pub(super) fn silent() -> Error {
    Error::timeout("the registry is silent")
}

impl fmt::Debug for ChaosControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosControl")
            .field("link", &self.link())
            .field("rates", &self.rates())
            .finish_non_exhaustive()
    }
}
