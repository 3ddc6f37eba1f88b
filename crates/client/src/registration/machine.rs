//! What keeps one registration alive: a pure machine, stepped by the driver.
//!
//! One write is under way at a time. The desired state is the only truth: whatever happens, the next write is
//! computed from it, from what was last acknowledged, and from the clock. First try and recovery are one loop.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{
    Backoff, Error, ErrorKind, Instance, Pair, Receipt, Record, Result, Retry, Status, Ttl, jitter,
};
use tokio::time::Instant;

use super::lease::Lease;
use super::leaving::Leaving;
use super::step::{Input, Output, Verb, Write};
use super::{Departure, RegistrationState};

/// The shortest pause after a failure.
const BACKOFF_BASE: Duration = Duration::from_millis(250);
/// The longest pause after a failure, and the longest wait for an answer, unless the ttl asks for less.
const BACKOFF_CAP: Duration = Duration::from_secs(5);
/// Over how much time the first writes after a long outage are spread, unless the ttl asks for less.
const SPREAD: Duration = Duration::from_secs(3);

#[derive(Debug)]
pub(crate) struct Registrar {
    desired: Arc<Instance>,
    ttl: Ttl,
    state: RegistrationState,
    /// Whether `state` was shown since it was last set.
    shown: bool,
    backoff: Backoff,
    in_flight: Option<(Verb, Arc<Instance>)>,
    /// Whether any write was started: the registry may know us.
    tried: bool,
    /// The pair of the last acknowledged register; from then on the incarnation stands.
    written: Option<Pair>,
    /// What the registry has, as far as is known: what that write carried.
    former: Option<Arc<Instance>>,
    /// A change did not get through: before it is tried again, the former record is kept alive.
    former_turn: bool,
    /// The change that the registry refuses for good.
    refused: Option<Pair>,
    /// A newer owner's pair that was in the way after the first success.
    fenced_by: Option<Pair>,
    lease: Lease,
    /// Grows with each loss, until a renewal proves that the record stays.
    losses: Backoff,
    /// When the next write is due, if none is under way.
    due_at: Instant,
    /// How often a former owner's pair stood in the way of the first write.
    collisions: u32,
    leaving: Option<Leaving>,
}

impl Registrar {
    /// A registration of `instance`, whose pair is its first.
    pub(crate) fn new(instance: Instance, ttl: Ttl, now: Instant) -> Self {
        Self {
            desired: Arc::new(instance),
            ttl,
            state: RegistrationState::Pending { attempt: 0, cause: None },
            shown: true,
            backoff: Backoff::new(BACKOFF_BASE, (ttl.get() / 3).min(BACKOFF_CAP)),
            in_flight: None,
            tried: false,
            written: None,
            former: None,
            former_turn: false,
            refused: None,
            fenced_by: None,
            lease: Lease::new(ttl.get(), now),
            losses: Backoff::new(BACKOFF_BASE, (ttl.get() / 3).min(BACKOFF_CAP)),
            due_at: now,
            collisions: 0,
            leaving: None,
        }
    }

    /// What is wanted now.
    pub(crate) fn desired(&self) -> &Arc<Instance> {
        &self.desired
    }

    /// The pair of the last acknowledged write of the whole record.
    pub(crate) fn written(&self) -> Option<Pair> {
        self.written
    }

    /// The change that the registry refuses for good, if there is one.
    pub(crate) fn refused(&self) -> Option<Pair> {
        self.refused
    }

    /// What is under way.
    pub(crate) fn in_flight(&self) -> Option<Verb> {
        self.in_flight.as_ref().map(|(verb, _)| *verb)
    }

    /// The write to make when the handle is dropped without a word, if the registry may know us.
    pub(crate) fn farewell(&self) -> Option<Record> {
        (self.tried && !self.is_gone()).then(|| Record::new(self.desired.clone(), self.ttl))
    }

    /// When to call with [`Input::Tick`] if nothing else happens before.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let due_at = self.in_flight.is_none().then_some(self.due_at);
        match (&self.leaving, &self.state) {
            (Some(leaving), _) => Some(leaving.wake_at(self.in_flight())),
            (None, RegistrationState::Suspect { expires_at, .. }) => {
                due_at.into_iter().chain([*expires_at]).min()
            }
            (None, _) => due_at,
        }
    }

    /// One step. Pure: the same inputs at the same times give the same outputs, but for the dice of the back-off.
    pub(crate) fn step(&mut self, input: Input, now: Instant) -> Vec<Output> {
        if self.is_gone() {
            return Vec::new();
        }
        match input {
            Input::Answer(answer) => self.answered(answer, now),
            Input::Lost(cause) => self.lost(cause, now),
            Input::Ready => self.ready(now),
            Input::Update(instance) => self.update(instance, now),
            Input::Leave { notice, deadline } => self.leave(notice, deadline, now),
            Input::Tick => {}
        }
        self.expire(now);
        let mut outputs = Vec::new();
        if let Some(departure) = self.departure(now) {
            self.show(RegistrationState::Gone);
            outputs.push(Output::Gone(departure));
        } else if let Some(write) = self.next_write(now) {
            self.in_flight = Some((write.verb, write.record.instance.clone()));
            self.tried = true;
            outputs.push(Output::Write(write));
        }
        if !std::mem::replace(&mut self.shown, true) {
            outputs.insert(0, Output::State(self.state.clone()));
        }
        outputs
    }

    fn is_gone(&self) -> bool {
        matches!(self.state, RegistrationState::Gone)
    }

    fn show(&mut self, state: RegistrationState) {
        self.state = state;
        self.shown = false;
    }

    fn answered(&mut self, answer: Result<Receipt>, now: Instant) {
        let Some((verb, sent)) = self.in_flight.take() else {
            return;
        };
        match &answer {
            Ok(receipt) if verb != Verb::Deregister => self.lease.prove(receipt.ttl, now),
            Err(error) if verb != Verb::Deregister && error.outcome_unknown() => {
                self.lease.may_have_been_extended(now);
            }
            _ => {}
        }
        let current = sent.pair() == self.desired.pair();
        if let Some(leaving) = &mut self.leaving {
            leaving.answered(verb, current, answer, &mut self.backoff, now);
            return;
        }
        match answer {
            Ok(_) => self.succeeded(verb, sent, now),
            Err(error) => self.failed(verb, current, error, now),
        }
    }

    fn succeeded(&mut self, verb: Verb, sent: Arc<Instance>, now: Instant) {
        let kept_former = std::mem::take(&mut self.former_turn);
        if !kept_former {
            self.backoff.reset();
            self.refused = None;
        }
        if verb == Verb::Renew {
            self.losses.reset();
        } else {
            self.written = Some(sent.pair());
            self.former = Some(sent);
            self.lease.begin(now);
        }
        self.outrank_who_was_in_the_way();
        let settled = matches!(self.state, RegistrationState::Registered { .. }) || self.refused.is_some();
        if let Some(since) = self.lease.since()
            && !settled
        {
            self.show(RegistrationState::Registered { since });
        }
        self.due_at = if self.must_register() { now } else { now + self.lease.granted() / 3 };
    }

    /// The registry has let go of a newer owner's record, and views may still remember it: they believe ours only with
    /// a higher pair.
    fn outrank_who_was_in_the_way(&mut self) {
        if let Some(rival) = self.fenced_by.take()
            && rival >= self.desired.pair()
        {
            Arc::make_mut(&mut self.desired).incarnation = rival.incarnation.saturating_add(1);
        }
    }

    /// Whether the next write tells the registry everything: it does not know, has lost it, or knows an older state.
    fn must_register(&self) -> bool {
        self.lease.since().is_none() || self.written != Some(self.desired.pair())
    }

    fn failed(&mut self, verb: Verb, current: bool, error: Error, now: Instant) {
        self.former_turn = verb == Verb::Register && current && self.has_other_former();
        match (error.kind(), error.holder()) {
            (ErrorKind::NotFound, _) if verb == Verb::Renew => return self.lost(error, now),
            (ErrorKind::Conflict, Some(holder)) if self.written.is_none() => {
                return self.collide(holder, error, now);
            }
            // Our own later write, whose answer was lost.
            (ErrorKind::Conflict, Some(holder)) if self.is_own(holder) => {
                self.due_at = now;
                return;
            }
            (ErrorKind::Conflict, holder) => {
                self.fenced_by = self.fenced_by.max(holder);
                self.former_turn = false;
                self.lease.end();
            }
            _ => {}
        }
        if error.retry() == Retry::Permanent {
            if verb == Verb::Register && current {
                self.refused = Some(self.desired.pair());
            }
            self.due_at = now + self.cap();
            self.show(RegistrationState::Rejected(error));
        } else {
            let asked = error.retry_after().unwrap_or_default();
            self.due_at = now + self.backoff.next_delay().max(asked).min(self.cap());
            self.show_trouble(error, now);
        }
    }

    fn is_own(&self, pair: Pair) -> bool {
        pair.incarnation == self.desired.incarnation && pair <= self.desired.pair()
    }

    /// Whether the registry has, or had, another record of ours than the wanted one.
    fn has_other_former(&self) -> bool {
        self.former.as_ref().is_some_and(|former| former.pair() != self.desired.pair())
    }

    /// Before the first success the id may still carry a former owner's pair: our incarnation is raised above it. The
    /// first collision is mended at once, any further one with a pause.
    fn collide(&mut self, holder: Pair, error: Error, now: Instant) {
        let incarnation = holder.incarnation.saturating_add(1).max(self.desired.incarnation);
        Arc::make_mut(&mut self.desired).incarnation = incarnation;
        self.collisions += 1;
        self.due_at = if self.collisions == 1 { now } else { now + self.backoff.next_delay() };
        self.show_trouble(error, now);
    }

    /// Shows a failure that time may heal.
    fn show_trouble(&mut self, cause: Error, now: Instant) {
        let state = self.state.in_trouble(self.written.is_some(), &self.lease, cause, now);
        if matches!(state, RegistrationState::Lost { .. }) {
            self.lease.end();
        }
        self.show(state);
    }

    fn lost(&mut self, cause: Error, now: Instant) {
        if self.leaving.is_some() || self.written.is_none() {
            return;
        }
        self.lease.end();
        self.former_turn = self.refused.is_some() && self.has_other_former();
        if cause.kind() == ErrorKind::Conflict {
            self.fenced_by = self.fenced_by.max(cause.holder());
            self.due_at = now + self.cap();
            self.show(RegistrationState::Rejected(cause));
            return;
        }
        // The first loss is mended at once. A record that is lost again and again has an enemy: not a race to win.
        let pause = self.losses.next_delay();
        let pause = if self.losses.attempt() == 1 { Duration::ZERO } else { pause };
        self.due_at = now + pause.max(self.spread_after_outage(now));
        if self.refused.is_some() {
            return;
        }
        let since = if let RegistrationState::Lost { since, .. } = self.state { since } else { now };
        self.show(RegistrationState::Lost { since, cause });
    }

    fn ready(&mut self, now: Instant) {
        if let Some(leaving) = &mut self.leaving {
            self.backoff.reset();
            leaving.ready(now);
        } else if matches!(
            self.state,
            RegistrationState::Pending { .. }
                | RegistrationState::Suspect { .. }
                | RegistrationState::Lost { .. }
        ) {
            self.backoff.reset();
            self.due_at = self.due_at.min(now + self.spread_after_outage(now));
        }
    }

    /// The pause before the first write after the registry was away: none after a short outage.
    fn spread_after_outage(&self, now: Instant) -> Duration {
        if self.lease.outlasted_by(now) { jitter((self.ttl.get() / 3).min(SPREAD)) } else { Duration::ZERO }
    }

    fn update(&mut self, mut instance: Instance, now: Instant) {
        if self.leaving.is_some() {
            return;
        }
        let pair = self.desired.pair();
        (instance.incarnation, instance.seq) = (pair.incarnation, pair.seq.saturating_add(1));
        self.desired = Arc::new(instance);
        if matches!(self.state, RegistrationState::Registered { .. }) || self.refused.is_some() {
            self.refused = None;
            self.former_turn = false;
            self.due_at = now;
        }
    }

    fn leave(&mut self, notice: Duration, deadline: Duration, now: Instant) {
        if let Some(leaving) = &mut self.leaving {
            return leaving.hurry(notice, deadline, now);
        }
        let desired = Arc::make_mut(&mut self.desired);
        desired.status = Status::Draining;
        desired.seq = desired.seq.saturating_add(1);
        self.backoff.reset();
        if self.in_flight() == Some(Verb::Renew) {
            // Nothing can come of a late renewal that a delete would not undo: nobody waits for it.
            self.in_flight = None;
        }
        self.leaving = Some(Leaving::new(notice, deadline, self.written.is_some(), now));
        self.show(RegistrationState::Draining);
    }

    fn departure(&self, now: Instant) -> Option<Departure> {
        let leaving = self.leaving.as_ref()?;
        if !self.tried {
            return Some(Departure::clean());
        }
        leaving.departure(self.lease.may_last_until(), now)
    }

    /// The longest pause and the longest wait for an answer.
    fn cap(&self) -> Duration {
        (self.ttl.get().min(self.lease.granted()) / 3).min(BACKOFF_CAP)
    }

    /// Notices that the lease has ended without a word from the registry.
    fn expire(&mut self, now: Instant) {
        if let RegistrationState::Suspect { expires_at, cause, .. } = &self.state
            && now >= *expires_at
        {
            let lost = RegistrationState::Lost { since: *expires_at, cause: cause.clone() };
            self.lease.end();
            self.show(lost);
        }
    }

    fn next_write(&mut self, now: Instant) -> Option<Write> {
        if let Some(verb) = self.in_flight() {
            // Who leaves and has given notice does not wait for anything but the delete.
            self.leaving.as_ref().filter(|leaving| leaving.overtakes(verb, now))?;
            self.in_flight = None;
        }
        let mut instance = &self.desired;
        let (verb, timeout) = if let Some(leaving) = &mut self.leaving {
            leaving.next(now)?
        } else if now < self.due_at {
            return None;
        } else {
            // What was lost is written again in its former state only if the change cannot have happened.
            let has_lease = self.lease.since().is_some();
            let former_turn = self.former_turn && (has_lease || self.refused.is_some());
            if let Some(former) = self.former.as_ref().filter(|_| former_turn) {
                instance = former;
            }
            let known = has_lease && self.written == Some(instance.pair());
            (if known { Verb::Renew } else { Verb::Register }, Duration::MAX)
        };
        let record = Record::new(instance.clone(), self.ttl);
        Some(Write { verb, record, timeout: timeout.min(self.cap()) })
    }
}
