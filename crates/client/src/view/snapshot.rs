//! What a view shows: an immutable answer with its age written on it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callsign_core::{Authority, Error, Instance, InstanceId, ServiceKey, Skipped};
use tokio::time::Instant;

/// How far the answer can be trusted to be of now.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Freshness {
    /// The registry stands behind it.
    Live,
    /// The last good answer; the registry is in trouble since `since`.
    Stale {
        /// Since when.
        since: Instant,
        /// The latest trouble.
        cause: Error,
    },
    /// Read from disk: no registry has answered since the program started.
    Bootstrap {
        /// When it was true, by the clock of the program that wrote it.
        written_at: SystemTime,
    },
    /// Nothing was ever heard of this service. Not the same as empty.
    Unknown {
        /// What stands in the way; `None` before the first answer.
        cause: Option<Error>,
    },
}

impl Freshness {
    /// The state's name, for people and for metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Stale { .. } => "stale",
            Self::Bootstrap { .. } => "bootstrap",
            Self::Unknown { .. } => "unknown",
        }
    }

    /// Whether the registry stands behind the answer.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live)
    }

    /// What went wrong, where something did.
    #[must_use]
    pub fn cause(&self) -> Option<&Error> {
        match self {
            Self::Stale { cause, .. } => Some(cause),
            Self::Unknown { cause } => cause.as_ref(),
            Self::Live | Self::Bootstrap { .. } => None,
        }
    }
}

/// Why removals are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HoldKind {
    /// Nothing would have been left.
    Empty,
    /// Too many at once.
    MassLoss,
    /// The registry was away: the leases of the living may have ended meanwhile.
    Outage,
    /// The answer came from another registry, or from one that was wiped or restored.
    NewOrigin,
}

impl fmt::Display for HoldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "nothing would be left",
            Self::MassLoss => "too many at once",
            Self::Outage => "the registry was away for a while",
            Self::NewOrigin => "the registry was replaced, wiped or restored",
        })
    }
}

/// Whether removals are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protection {
    /// None: the instances are what the registry lists.
    None,
    /// Some instances are shown as they were, although the registry does not list them any more, or lists them as
    /// critical; [`Snapshot::is_held`] tells which.
    Held {
        /// Why the latest of them are.
        kind: HoldKind,
        /// When the last of them goes at the latest.
        until: Instant,
        /// How many there are.
        count: usize,
    },
}

impl Protection {
    /// How many instances are shown although the registry does not stand by them.
    #[must_use]
    pub fn held(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Held { count, .. } => *count,
        }
    }
}

/// One answer of a view. Immutable; a newer one replaces it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Snapshot {
    /// Whose instances these are.
    pub service: ServiceKey,
    /// All of them, sorted by id; also those that want no traffic.
    pub instances: Arc<[Arc<Instance>]>,
    /// Grows with every change of anything but `as_of`, `epoch` and `revision`.
    pub seq: u64,
    /// The registry's epoch; see [`callsign_core::Listing`].
    pub epoch: u64,
    /// The registry's revision; see [`callsign_core::Listing`].
    pub revision: u64,
    /// The registry that answered; `None` before the first answer.
    pub source: Option<Arc<str>>,
    /// What stands behind the last listing; `None` before the first.
    pub authority: Option<Authority>,
    /// When a registry last proved this; `None` before the first answer.
    pub as_of: Option<Instant>,
    /// How far this can be trusted to be of now.
    pub freshness: Freshness,
    /// Records that could not be decoded. Their former values are kept.
    pub skipped: Arc<[Skipped]>,
    /// Whether removals are held.
    pub protection: Protection,
    pub(crate) routable: Arc<[Arc<Instance>]>,
    pub(crate) held: Arc<[InstanceId]>,
}

impl Snapshot {
    /// Nothing known yet.
    pub(crate) fn unknown(service: ServiceKey) -> Self {
        Self {
            service,
            instances: Arc::default(),
            seq: 0,
            epoch: 0,
            revision: 0,
            source: None,
            authority: None,
            as_of: None,
            freshness: Freshness::Unknown { cause: None },
            skipped: Arc::default(),
            protection: Protection::None,
            routable: Arc::default(),
            held: Arc::default(),
        }
    }

    /// The instances that may get traffic ([`Instance::routable`]), sorted by id.
    #[must_use]
    pub fn routable(&self) -> &[Arc<Instance>] {
        &self.routable
    }

    /// The instance `id`, whatever its status.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Instance>> {
        let found = self.instances.binary_search_by(|instance| instance.id().as_str().cmp(id));
        found.ok().map(|at| &self.instances[at])
    }

    /// Whether `id` is shown although the registry does not list it, or lists it as critical.
    #[must_use]
    pub fn is_held(&self, id: &str) -> bool {
        self.held.binary_search_by(|held| held.as_str().cmp(id)).is_ok()
    }

    /// How long ago a registry last proved this; `None` before the first answer of this run.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        self.as_of.map(|as_of| as_of.elapsed())
    }

    /// This answer if it is not older than `max_age`: the caller's choice of how stale is too stale.
    ///
    /// # Errors
    /// `Unavailable`, with the age and the view's trouble as its source.
    pub fn not_older_than(&self, max_age: Duration) -> callsign_core::Result<&Self> {
        if self.age().is_some_and(|age| age <= max_age) {
            return Ok(self);
        }
        let age = self.age().map_or("of unknown age".to_owned(), |age| format!("{age:.1?} old"));
        let error =
            Error::unavailable(format!("the view of `{}` is {age}, asked for {max_age:?}", self.service));
        Err(match self.freshness.cause() {
            Some(cause) => error.with_source(cause.clone()),
            None => error,
        })
    }
}
