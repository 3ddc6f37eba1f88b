//! Records that share one lease.

use std::collections::VecDeque;
use std::time::Duration;

use callsign_core::{Namespace, Record};
use tokio::time::Instant;

use super::member::{Action, Key};

/// One lease never holds records of two namespaces: a renewal needs the right to write every key of the lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Class {
    pub(crate) namespace: Namespace,
    /// etcd knows whole seconds.
    pub(crate) seconds: u64,
}

impl Class {
    pub(crate) fn of(record: &Record) -> Self {
        let ttl = record.ttl.get();
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        Self { namespace: record.key().service.namespace.clone(), seconds }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lease {
    Missing,
    /// Asked for.
    Asked,
    Granted {
        id: i64,
        ttl: Duration,
        /// When the last answered renewal was sent.
        renewed_at: Instant,
    },
}

/// Somebody who waits for an answer.
#[derive(Debug)]
pub(crate) struct Waiter<C> {
    pub(crate) caller: C,
    pub(crate) key: Key,
    /// Until the lease is renewed.
    pub(crate) beat: bool,
    /// Until the record is proven to be there.
    pub(crate) proof: bool,
    /// What has just been put, and how often that was tried before.
    pub(crate) put: Option<(Action, u32)>,
}

/// Looking for what is attached to the lease and is not a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inspection {
    /// Every write is known to have failed or to have been made.
    Needless,
    /// The outcome of a write is unknown: it may be made yet, however late.
    DueAt(Instant),
    UnderWay,
}

#[derive(Debug)]
pub(crate) struct Shard<C> {
    pub(crate) class: Class,
    pub(crate) lease: Lease,
    pub(crate) members: usize,
    /// Members with a write that may be sent.
    pub(crate) ready: VecDeque<Key>,
    pub(crate) writing: bool,
    pub(crate) beating: bool,
    pub(crate) proving: bool,
    pub(crate) waiters: Vec<Waiter<C>>,
    pub(crate) inspection: Inspection,
}

impl<C> Shard<C> {
    pub(crate) fn new(class: Class) -> Self {
        Self {
            class,
            lease: Lease::Missing,
            members: 0,
            ready: VecDeque::new(),
            writing: false,
            beating: false,
            proving: false,
            waiters: Vec::new(),
            inspection: Inspection::Needless,
        }
    }

    /// The outcome of a write is unknown.
    pub(crate) fn doubt(&mut self, now: Instant) {
        if self.inspection == Inspection::Needless {
            self.inspection = Inspection::DueAt(now);
        }
    }

    pub(crate) fn lease_id(&self) -> Option<i64> {
        match self.lease {
            Lease::Granted { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Whether a renewal has to ask the registry: it sends a keep-alive once a quarter of the lease is over.
    pub(crate) fn needs_beat(&self, now: Instant) -> bool {
        match self.lease {
            Lease::Granted { ttl, renewed_at, .. } => now >= renewed_at + ttl / 4,
            _ => false,
        }
    }

    /// How long the lease lasts from now without being renewed.
    pub(crate) fn remaining(&self, now: Instant) -> Duration {
        match self.lease {
            Lease::Granted { ttl, renewed_at, .. } => (renewed_at + ttl).saturating_duration_since(now),
            _ => Duration::ZERO,
        }
    }

    /// Whether nothing is left of it: no member, and a lease that has ended by itself.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        let idle = self.members == 0 && !self.writing && !self.beating && !self.proving;
        idle && self.remaining(now).is_zero()
    }
}
