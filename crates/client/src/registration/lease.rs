//! What is known of a record's lease.

use std::time::Duration;

use callsign_core::Ttl;
use tokio::time::Instant;

/// The shortest grant that is believed: a registry that grants less would be asked without a pause.
const SHORTEST: Duration = Duration::from_secs(1);

/// The lease of one record, by our own clock.
#[derive(Debug)]
pub(crate) struct Lease {
    /// Since when the registry has had the record without a gap; `None` while it has not, as far as is known.
    since: Option<Instant>,
    /// The last proof that the registry has the record, or the start.
    proven_at: Instant,
    /// How long a proof lasts.
    granted: Duration,
    /// The last write that may have extended it without our knowing.
    uncertain_at: Option<Instant>,
}

impl Lease {
    /// No lease yet.
    pub(crate) fn new(ttl: Duration, now: Instant) -> Self {
        Self { since: None, proven_at: now, granted: ttl, uncertain_at: None }
    }

    /// The registry has said that the record is there, for `granted` from now on.
    pub(crate) fn prove(&mut self, granted: Duration, now: Instant) {
        self.proven_at = now;
        self.granted = granted.clamp(SHORTEST, Ttl::MAX);
    }

    /// A write may have happened, and nobody has said so.
    pub(crate) fn may_have_been_extended(&mut self, now: Instant) {
        self.uncertain_at = Some(now);
    }

    /// The record is there, if it was not before.
    pub(crate) fn begin(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// The record is not there any more.
    pub(crate) fn end(&mut self) {
        self.since = None;
    }

    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(crate) fn granted(&self) -> Duration {
        self.granted
    }

    /// When the lease ends if nothing extends it.
    pub(crate) fn expires_at(&self) -> Instant {
        self.proven_at + self.granted
    }

    /// When it has ended for certain: also if a write without an answer has extended it.
    pub(crate) fn may_last_until(&self) -> Instant {
        let uncertain = self.uncertain_at.map(|at| at + self.granted);
        uncertain.into_iter().chain([self.expires_at()]).fold(self.proven_at, Instant::max)
    }

    /// Whether nothing was proven for longer than the lease lasts.
    pub(crate) fn outlasted_by(&self, now: Instant) -> bool {
        now > self.expires_at()
    }
}
