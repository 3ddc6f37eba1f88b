//! The last part of a registration's life: announce, give notice, delete, and be done in time.

use std::time::Duration;

use callsign_core::{Backoff, Error, ErrorKind, Receipt, Result, Retry};
use tokio::time::Instant;

use super::Departure;
use super::step::Verb;

/// What remains to be done before a registration is gone.
#[derive(Debug)]
pub(crate) struct Leaving {
    /// Until when views get to see `Draining`.
    delete_at: Instant,
    /// When it is over, whatever was done.
    deadline: Instant,
    announced: Option<Result<()>>,
    removed: Option<Result<()>>,
    announce_due: Instant,
    delete_due: Instant,
    last_error: Option<Error>,
}

/// No notice and no deadline is longer: what is meant for ever must not overflow a clock.
const LONGEST: Duration = Duration::from_secs(86_400);

impl Leaving {
    /// Starts to leave. `seen`: whether anybody can have seen the registration; otherwise nobody needs notice.
    pub(crate) fn new(notice: Duration, deadline: Duration, seen: bool, now: Instant) -> Self {
        let (notice, deadline) = (notice.min(LONGEST), deadline.min(LONGEST));
        let delete_at = if seen { now + notice.min(deadline) } else { now };
        Self {
            delete_at,
            deadline: now + deadline,
            announced: (!seen).then_some(Ok(())),
            removed: None,
            announce_due: now,
            delete_due: delete_at,
            last_error: None,
        }
    }

    /// Leaves earlier than it was going to, never later.
    pub(crate) fn hurry(&mut self, notice: Duration, deadline: Duration, now: Instant) {
        let (notice, deadline) = (notice.min(LONGEST), deadline.min(LONGEST));
        self.deadline = self.deadline.min(now + deadline);
        self.delete_at = self.delete_at.min(now + notice.min(deadline));
        self.delete_due = self.delete_due.min(self.delete_at.max(now));
    }

    /// The registry answers again: what was put off is due.
    pub(crate) fn ready(&mut self, now: Instant) {
        self.announce_due = self.announce_due.min(now);
        self.delete_due = self.delete_due.min(self.delete_at.max(now));
    }

    /// Takes the answer to a write. `current`: whether the write carried `Draining`.
    pub(crate) fn answered(
        &mut self,
        verb: Verb,
        current: bool,
        answer: Result<Receipt>,
        backoff: &mut Backoff,
        now: Instant,
    ) {
        let error = match (verb, answer) {
            (Verb::Deregister, Ok(_)) => {
                self.removed = Some(Ok(()));
                return;
            }
            (_, Ok(_)) => {
                if current {
                    self.announced = Some(Ok(()));
                }
                return;
            }
            (_, Err(error)) => error,
        };
        match verb {
            // A newer owner has the id: nothing of ours is there.
            Verb::Deregister if error.kind() == ErrorKind::Conflict => self.removed = Some(Ok(())),
            Verb::Deregister if error.retry() == Retry::Permanent => self.removed = Some(Err(error.clone())),
            Verb::Register | Verb::Renew if current && error.retry() == Retry::Permanent => {
                self.announced = Some(Err(error.clone()));
            }
            Verb::Deregister => self.delete_due = now + backoff.next_delay(),
            Verb::Register | Verb::Renew if current => self.announce_due = now + backoff.next_delay(),
            Verb::Register | Verb::Renew => {}
        }
        self.last_error = Some(error);
    }

    /// What to write now, if anything, and how long to wait for the answer at the most.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(Verb, Duration)> {
        let left = self.deadline.saturating_duration_since(now);
        if now >= self.delete_due {
            self.announced
                .get_or_insert_with(|| Err(in_vain("`Draining` was not written", self.last_error.as_ref())));
            Some((Verb::Deregister, left))
        } else if self.announced.is_none() && now >= self.announce_due {
            Some((Verb::Register, left.min(self.delete_due.saturating_duration_since(now))))
        } else {
            None
        }
    }

    /// Whether it is time to delete, whatever else is under way.
    pub(crate) fn overtakes(&self, under_way: Verb, now: Instant) -> bool {
        under_way != Verb::Deregister && now >= self.delete_due
    }

    /// When there is something to do.
    pub(crate) fn wake_at(&self, under_way: Option<Verb>) -> Instant {
        let due = match under_way {
            Some(Verb::Deregister) => self.deadline,
            None if self.announced.is_none() => self.announce_due.min(self.delete_due),
            _ => self.delete_due,
        };
        due.min(self.deadline)
    }

    /// The end, once it is reached. `lease_ends_at`: how long the record can stay without a delete.
    pub(crate) fn departure(&self, lease_ends_at: Instant, now: Instant) -> Option<Departure> {
        let removed = match &self.removed {
            Some(removed) => removed.clone(),
            None if now >= self.deadline => {
                Err(in_vain("the record was not deleted", self.last_error.as_ref()))
            }
            None => return None,
        };
        let announced = self
            .announced
            .clone()
            .unwrap_or_else(|| Err(in_vain("`Draining` was not written", self.last_error.as_ref())));
        let expires_within = removed.is_err().then(|| lease_ends_at.saturating_duration_since(now));
        Some(Departure { announced, removed, expires_within })
    }
}

fn in_vain(what: &'static str, cause: Option<&Error>) -> Error {
    match cause {
        Some(cause) => cause.clone(),
        None => Error::timeout(what).with_outcome_unknown(),
    }
}
