//! What is known of one id: what its owner wants, and what each member has of it.

use std::time::Duration;

use callsign_core::{Error, ErrorKind, Pair, Receipt, Record, Result};
use tokio::time::Instant;

/// Names one call of an owner, for its answers.
pub(crate) type CallId = u64;

/// What is asked of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Register,
    Renew,
    Deregister,
}

impl Verb {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Renew => "renew",
            Self::Deregister => "deregister",
        }
    }
}

/// What may be sent to a member.
#[derive(Debug, Clone)]
pub(crate) enum Mode {
    /// Everything.
    Open,
    /// Renewals of what it has, and removals: it proves nothing, for this reason.
    RenewOnly(Error),
    /// Nothing, for this reason.
    Closed(Error),
    /// Removals of what it has: another member is written.
    Passive,
}

impl Mode {
    pub(crate) fn same(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    pub(crate) fn takes_removals(&self) -> bool {
        !matches!(self, Self::Closed(_))
    }
}

/// What the owner wants.
#[derive(Debug, Clone)]
pub(crate) enum Intent {
    /// This record is to be there.
    Wanted(Record),
    /// No record up to this one's pair is to be there.
    Gone(Record),
}

impl Intent {
    pub(crate) fn record(&self) -> &Record {
        match self {
            Self::Wanted(record) | Self::Gone(record) => record,
        }
    }

    pub(crate) fn wanted(&self) -> Option<&Record> {
        match self {
            Self::Wanted(record) => Some(record),
            Self::Gone(_) => None,
        }
    }
}

/// What is under way to a member.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) verb: Verb,
    pub(crate) record: Record,
    pub(crate) calls: Vec<CallId>,
}

/// What is to be sent to a member next. What exactly, is looked up when it is sent.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) verb: Verb,
    pub(crate) calls: Vec<CallId>,
}

/// A removal that a member has not confirmed.
#[derive(Debug)]
pub(crate) struct Removal {
    pub(crate) record: Record,
    pub(crate) retry_at: Instant,
    pub(crate) attempts: u32,
    /// The member will not do it: it is tried again now and then, and waited for by nobody.
    pub(crate) refused: bool,
    pub(crate) journalled: bool,
}

/// One id at one member.
#[derive(Debug, Default)]
pub(crate) struct At {
    /// The pair that it has, and until when that is believed.
    pub(crate) has: Option<(Pair, Instant)>,
    pub(crate) flight: Option<Flight>,
    pub(crate) queued: Option<Queued>,
    pub(crate) removal: Option<Removal>,
    /// It refuses this record, and is not asked again before.
    pub(crate) refused: Option<(Error, Instant)>,
    /// Another owner's pair, which stood in the way.
    pub(crate) outranked: Option<Pair>,
    /// Something was sent that may have put a record there.
    pub(crate) touched: bool,
}

impl At {
    pub(crate) fn has(&self, pair: Pair, now: Instant) -> bool {
        self.has.is_some_and(|(has, until)| has == pair && now < until)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.flight.is_none() && self.queued.is_none()
    }

    pub(crate) fn refuses(&self, now: Instant) -> bool {
        self.refused.as_ref().is_some_and(|(_, until)| now < *until)
    }
}

/// One id.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Grows with each call of an owner.
    pub(crate) generation: u64,
    pub(crate) intent: Intent,
    /// Until when the owner is believed to want it.
    pub(crate) alive_until: Instant,
    /// The generation of which some member has proven that the record is there.
    pub(crate) proven: Option<u64>,
    pub(crate) at: Vec<At>,
}

impl Entry {
    pub(crate) fn new(record: Record, members: usize, now: Instant) -> Self {
        Self {
            generation: 0,
            alive_until: now,
            intent: Intent::Gone(record),
            proven: None,
            at: (0..members).map(|_| At::default()).collect(),
        }
    }

    /// The record that its owner still wants.
    pub(crate) fn alive(&self, now: Instant) -> Option<&Record> {
        self.intent.wanted().filter(|_| now < self.alive_until)
    }

    /// Whether nothing of it is worth remembering.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.alive(now).is_none() && self.at.iter().all(|at| at.is_idle() && at.removal.is_none())
    }

    pub(crate) fn wants_for(&mut self, ttl: Duration, now: Instant) {
        self.alive_until = now + ttl;
    }
}

/// What a step of the ledger leads to.
#[derive(Debug)]
pub(crate) enum Output {
    /// A member's answer to a call.
    Answer { call: CallId, member: usize, answer: Result<Receipt> },
    /// The record is there no more, and its owner does not know.
    Lost { key: callsign_core::InstanceKey, cause: Error },
    /// Another owner has the id.
    Fenced { key: callsign_core::InstanceKey, holder: Pair },
    /// A removal is to be remembered.
    Remember { record: Record, members: Vec<usize> },
    /// A member has confirmed a removal.
    Forget { key: callsign_core::InstanceKey, member: usize },
    /// There is something to send to the member.
    Wake { member: usize },
}

/// Whether the member refuses this one record, and nothing is wrong with the member.
pub(crate) fn is_refusal(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::PermissionDenied
            | ErrorKind::InvalidInput
            | ErrorKind::LimitExceeded
            | ErrorKind::Unsupported
            | ErrorKind::ConfigInvalid
    )
}
