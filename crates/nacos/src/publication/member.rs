//! One record among those that are published of a service.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use callsign_core::{Error, LostSignal, LostTrigger, Record};
use tokio::time::Instant;

use crate::message::Host;

/// A record, and what Nacos is to have of it.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) record: Record,
    pub(super) host: Arc<Host>,
}

#[derive(Debug)]
pub(super) struct Member {
    /// `None`: it is to be withdrawn.
    pub(super) wanted: Option<Stored>,
    /// The publication's version when that was changed.
    pub(super) version: u64,
    /// Whether a server has ever taken it. What nobody has taken is not published again by itself.
    pub(super) was_taken: bool,
    /// The connection on which its owner waits for it.
    pub(super) asked_on: u64,
    pub(super) ttl: Duration,
    pub(super) renewed_at: Instant,
    /// When it was known last that the server has it.
    pub(super) proven_at: Instant,
    /// Why the server does not take it as it is now, for those who wait for that.
    pub(super) refusal: Arc<OnceLock<Error>>,
    lost: LostTrigger,
    pub(super) signal: LostSignal,
}

impl Member {
    pub(super) fn new(now: Instant) -> Self {
        let (lost, signal) = LostSignal::channel();
        Self {
            wanted: None,
            version: 0,
            was_taken: false,
            asked_on: 0,
            ttl: Duration::ZERO,
            renewed_at: now,
            proven_at: now,
            refusal: Arc::default(),
            lost,
            signal,
        }
    }

    pub(super) fn want(&mut self, stored: Stored, version: u64, now: Instant) {
        (self.ttl, self.renewed_at, self.proven_at) = (stored.record.ttl.get(), now, now);
        (self.wanted, self.version, self.refusal) = (Some(stored), version, Arc::default());
    }

    /// The server does not take it as it is now; what is wanted instead is what it has, if anything. Whether it is still a
    /// member.
    pub(super) fn refuse(&mut self, cause: &Error, former: Option<&Stored>) -> bool {
        let _ = std::mem::take(&mut self.refusal).set(cause.clone());
        match former {
            Some(former) => self.wanted = Some(former.clone()),
            None => self.lose(cause.clone(), self.version),
        }
        self.wanted.is_some()
    }

    /// Is lost with `cause`, and to be withdrawn.
    pub(super) fn lose(&mut self, cause: Error, version: u64) {
        if self.wanted.take().is_some() {
            self.version = version;
            self.lost.fire(cause);
            // Who registers again has another life.
            (self.lost, self.signal) = LostSignal::channel();
        }
    }

    /// Whether its owner was told that it has failed, if `generation` is over.
    pub(super) fn has_failed_with(&self, generation: u64) -> bool {
        !self.was_taken && self.asked_on <= generation
    }

    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.wanted.is_some() && now >= self.renewed_at + self.ttl
    }
}
