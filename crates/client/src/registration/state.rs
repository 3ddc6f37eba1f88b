//! What becomes of a registration.

use std::fmt;
use std::time::Duration;

use callsign_core::{Error, ErrorKind, Result};
use tokio::time::Instant;

use super::lease::Lease;

/// The state of a registration, as its handle shows it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RegistrationState {
    /// Not registered yet; being tried.
    Pending {
        /// How many writes have failed so far.
        attempt: u32,
        /// Why the last one did; `None` before the first answer.
        cause: Option<Error>,
    },
    /// The registry has it.
    Registered {
        /// Since when, without a gap.
        since: Instant,
    },
    /// A renewal was missed; the registry still has it until its lease ends.
    Suspect {
        /// Since when.
        since: Instant,
        /// When the lease ends if nothing gets through until then.
        expires_at: Instant,
        /// What went wrong.
        cause: Error,
    },
    /// The registry does not have it any more; being registered again.
    Lost {
        /// Since when.
        since: Instant,
        /// How it was lost.
        cause: Error,
    },
    /// Leaving: announced or about to be, and deleted at the end of the notice.
    Draining,
    /// Left. The last state.
    Gone,
    /// The registry refuses it, or holds a newer owner's record of the same id. Tried again every few seconds,
    /// unchanged.
    Rejected(Error),
}

impl RegistrationState {
    /// The state after a failure that time may heal. `known`: whether the registry has ever had the record.
    pub(super) fn in_trouble(&self, known: bool, lease: &Lease, cause: Error, now: Instant) -> Self {
        let expires_at = lease.expires_at();
        match *self {
            Self::Pending { attempt, .. } => {
                Self::Pending { attempt: attempt.saturating_add(1), cause: Some(cause) }
            }
            _ if !known => Self::Pending { attempt: 1, cause: Some(cause) },
            Self::Lost { since, .. } => Self::Lost { since, cause },
            Self::Suspect { since, .. } if now < expires_at => Self::Suspect { since, expires_at, cause },
            _ if now < expires_at && lease.since().is_some() => {
                Self::Suspect { since: now, expires_at, cause }
            }
            _ => Self::Lost { since: now, cause },
        }
    }

    /// Whether the registry has the record, as far as is known: `Registered` or `Suspect`.
    #[must_use]
    pub fn is_registered(&self) -> bool {
        matches!(self, Self::Registered { .. } | Self::Suspect { .. })
    }

    /// The state's name, for people and for metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "pending",
            Self::Registered { .. } => "registered",
            Self::Suspect { .. } => "suspect",
            Self::Lost { .. } => "lost",
            Self::Draining => "draining",
            Self::Gone => "gone",
            Self::Rejected(_) => "rejected",
        }
    }

    /// What went wrong, where something did.
    #[must_use]
    pub fn cause(&self) -> Option<&Error> {
        match self {
            Self::Pending { cause, .. } => cause.as_ref(),
            Self::Suspect { cause, .. } | Self::Lost { cause, .. } | Self::Rejected(cause) => Some(cause),
            Self::Registered { .. } | Self::Draining | Self::Gone => None,
        }
    }
}

impl fmt::Display for RegistrationState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())?;
        self.cause().map_or(Ok(()), |cause| write!(f, " ({cause})"))
    }
}

/// How a registration left. Made by `drain` and `deregister`, which always return in time; what could not be done is
/// said here.
#[derive(Debug, Clone)]
#[must_use = "says whether the registration is really gone"]
#[non_exhaustive]
pub struct Departure {
    /// Whether `Draining` was written, so that views drop the instance at once; `Ok` too when the registry never had
    /// it.
    pub announced: Result<()>,
    /// Whether the record was deleted, or was not there.
    pub removed: Result<()>,
    /// When the record was not deleted: how long its lease can keep it in the registry at the most.
    pub expires_within: Option<Duration>,
}

impl Departure {
    /// Nothing was there to take away.
    pub(crate) fn clean() -> Self {
        Self { announced: Ok(()), removed: Ok(()), expires_within: None }
    }

    /// The task was ended before it could tell.
    pub(crate) fn unknown() -> Self {
        let error = || Error::closed("the runtime ended first").with_outcome_unknown();
        Self { announced: Err(error()), removed: Err(error()), expires_within: None }
    }

    /// Whether everything was done.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.announced.is_ok() && self.removed.is_ok()
    }

    /// The reason, when the record may still be there.
    ///
    /// # Errors
    /// What stood in the way of the delete; the message says when the lease ends.
    pub fn into_result(self) -> Result<()> {
        let Some(within) = self.expires_within else {
            return self.removed;
        };
        self.removed.map_err(|cause| {
            Error::new(
                match cause.kind() {
                    ErrorKind::Unavailable => ErrorKind::Unavailable,
                    ErrorKind::Timeout => ErrorKind::Timeout,
                    _ => ErrorKind::Unexpected,
                },
                format!("the record was not deleted; its lease ends within {within:.1?}"),
            )
            .with_operation("deregister")
            .with_source(cause)
        })
    }
}
