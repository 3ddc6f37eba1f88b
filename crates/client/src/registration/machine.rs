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

use super::leaving::Leaving;
use super::{Departure, RegistrationState};

/// The shortest pause after a failure.
const BACKOFF_BASE: Duration = Duration::from_millis(250);
/// The longest pause after a failure, and the longest wait for an answer, unless the ttl asks for less.
const BACKOFF_CAP: Duration = Duration::from_secs(5);
/// Over how much time the first writes after a long outage are spread, unless the ttl asks for less.
const SPREAD: Duration = Duration::from_secs(3);

/// What happens to a registration.
#[derive(Debug)]
pub(crate) enum Input {
    /// The write under way was answered, or its time was up.
    Answer(Result<Receipt>),
    /// The backend noticed by itself that the record is lost.
    Lost(Error),
    /// The backend says that its registry answers again.
    Ready,
    /// The application changed what it wants.
    Update(Instance),
    /// The application leaves: announce, delete after `notice`, be done by `deadline`.
    Leave { notice: Duration, deadline: Duration },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Output {
    /// Start this write; there is none under way. Its answer, or that there was none in time, comes back as
    /// [`Input::Answer`].
    Write(Write),
    /// The state has changed.
    State(RegistrationState),
    /// It is over.
    Gone(Departure),
}

/// One call of the backend.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) verb: Verb,
    pub(crate) record: Record,
    /// No answer within this counts as `Timeout`.
    pub(crate) timeout: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Register,
    Renew,
    Deregister,
}

#[derive(Debug)]
pub(crate) struct Registrar {
    desired: Arc<Instance>,
    ttl: Ttl,
    state: RegistrationState,
    /// Whether `state` was shown since it was last set.
    shown: bool,
    backoff: Backoff,
    in_flight: Option<(Verb, Pair)>,
    /// Whether any write was started: the registry may know us.
    tried: bool,
    /// The pair of the last acknowledged register; from then on the incarnation stands.
    written: Option<Pair>,
    /// What that write carried.
    acknowledged: Option<Arc<Instance>>,
    /// The registry refuses the change that is wanted: the former record is renewed meanwhile.
    refused: Refused,
    /// Since when the registry has had the record without a gap.
    since: Option<Instant>,
    /// The last proof that the registry has the record, or the start.
    proven_at: Instant,
    /// How long a proof lasts.
    granted: Duration,
    /// When the next write is due, if none is under way.
    due_at: Instant,
    /// How often a former owner's pair stood in the way of the first write.
    collisions: u32,
    leaving: Option<Leaving>,
    gone: bool,
}

/// Whether the registry has refused a change for good, and what has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    No,
    RenewFormer,
    TryChange,
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
            acknowledged: None,
            refused: Refused::No,
            since: None,
            proven_at: now,
            granted: ttl.get(),
            due_at: now,
            collisions: 0,
            leaving: None,
            gone: false,
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

    /// The write to make when the handle is dropped without a word, if the registry may know us.
    pub(crate) fn farewell(&self) -> Option<Record> {
        (self.tried && !self.gone).then(|| Record::new(self.desired.clone(), self.ttl))
    }

    /// When to call with [`Input::Tick`] if nothing else happens before.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let idle = self.in_flight.is_none();
        match (&self.leaving, &self.state) {
            (Some(leaving), _) if idle => Some(leaving.due_at().min(leaving.deadline())),
            (Some(leaving), _) => Some(leaving.deadline()),
            (None, RegistrationState::Suspect { expires_at, .. }) if !idle => Some(*expires_at),
            (None, RegistrationState::Suspect { expires_at, .. }) => Some(self.due_at.min(*expires_at)),
            (None, _) => idle.then_some(self.due_at),
        }
    }

    /// One step. Pure: the same inputs at the same times give the same outputs, but for the dice of the back-off.
    pub(crate) fn step(&mut self, input: Input, now: Instant) -> Vec<Output> {
        if self.gone {
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
            self.gone = true;
            self.show(RegistrationState::Gone);
            outputs.push(Output::Gone(departure));
        } else if let Some(write) = self.next_write(now) {
            self.in_flight = Some((write.verb, write.record.pair()));
            self.tried = true;
            outputs.push(Output::Write(write));
        }
        if !std::mem::replace(&mut self.shown, true) {
            outputs.insert(0, Output::State(self.state.clone()));
        }
        outputs
    }

    fn show(&mut self, state: RegistrationState) {
        self.state = state;
        self.shown = false;
    }

    fn answered(&mut self, answer: Result<Receipt>, now: Instant) {
        let Some((verb, pair)) = self.in_flight.take() else {
            return;
        };
        if let Ok(receipt) = &answer
            && verb != Verb::Deregister
        {
            self.proven_at = now;
            self.granted = receipt.ttl.max(Duration::from_secs(1));
        }
        if answer.is_ok() {
            self.backoff.reset();
        }
        if let Some(leaving) = &mut self.leaving {
            let current = pair == self.desired.pair();
            leaving.answered(verb, current, answer, &mut self.backoff, now);
            return;
        }
        match answer {
            Ok(_) => self.succeeded(verb, pair, now),
            Err(error) => self.failed(verb, error, now),
        }
    }

    fn succeeded(&mut self, verb: Verb, pair: Pair, now: Instant) {
        if self.refused == Refused::RenewFormer && verb == Verb::Renew {
            // The former record lives on; now the change has its turn again.
            self.refused = Refused::TryChange;
            self.due_at = now;
            return;
        }
        if verb == Verb::Register {
            self.written = Some(pair);
            self.acknowledged = (pair == self.desired.pair()).then(|| self.desired.clone());
            self.refused = Refused::No;
            self.since.get_or_insert(now);
        }
        if let Some(since) = self.since
            && !matches!(self.state, RegistrationState::Registered { .. })
        {
            self.show(RegistrationState::Registered { since });
        }
        self.due_at = if self.must_register() { now } else { now + self.granted / 3 };
    }

    /// Whether the next write tells the registry everything: it does not know, has lost it, or knows an older state.
    fn must_register(&self) -> bool {
        self.since.is_none() || self.written != Some(self.desired.pair())
    }

    fn failed(&mut self, verb: Verb, error: Error, now: Instant) {
        match (error.kind(), error.holder()) {
            (ErrorKind::NotFound, _) if verb == Verb::Renew => return self.lost(error, now),
            (ErrorKind::Conflict, Some(holder)) if self.written.is_none() => {
                return self.collide(holder, error, now);
            }
            (ErrorKind::Conflict, _) => self.since = None,
            _ => {}
        }
        if error.retry() == Retry::Permanent {
            let has_former = self.since.is_some() && self.acknowledged.is_some();
            self.refused =
                if verb == Verb::Register && has_former { Refused::RenewFormer } else { Refused::No };
            self.due_at = now + self.cap();
            self.show(RegistrationState::Rejected(error));
        } else {
            let asked = error.retry_after().unwrap_or_default().min(self.ttl.get());
            self.due_at = now + self.backoff.next_delay().max(asked);
            self.show_trouble(error, now);
        }
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
        let expires_at = self.proven_at + self.granted;
        let state = match self.state {
            RegistrationState::Pending { attempt, .. } => {
                RegistrationState::Pending { attempt: attempt.saturating_add(1), cause: Some(cause) }
            }
            _ if self.written.is_none() => RegistrationState::Pending { attempt: 1, cause: Some(cause) },
            RegistrationState::Lost { since, .. } => RegistrationState::Lost { since, cause },
            RegistrationState::Suspect { since, .. } if now < expires_at => {
                RegistrationState::Suspect { since, expires_at, cause }
            }
            _ if now < expires_at && self.since.is_some() => {
                RegistrationState::Suspect { since: now, expires_at, cause }
            }
            _ => {
                self.since = None;
                RegistrationState::Lost { since: now, cause }
            }
        };
        self.show(state);
    }

    fn lost(&mut self, cause: Error, now: Instant) {
        if self.leaving.is_some() || self.written.is_none() {
            return;
        }
        self.since = None;
        if cause.kind() == ErrorKind::Conflict {
            self.due_at = now + self.cap();
            self.show(RegistrationState::Rejected(cause));
        } else {
            self.due_at = now + self.spread_after_outage(now);
            let since = if let RegistrationState::Lost { since, .. } = self.state { since } else { now };
            self.show(RegistrationState::Lost { since, cause });
        }
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
        if now.duration_since(self.proven_at) <= self.granted {
            return Duration::ZERO;
        }
        jitter((self.ttl.get() / 3).min(SPREAD))
    }

    fn update(&mut self, mut instance: Instance, now: Instant) {
        if self.leaving.is_some() {
            return;
        }
        let pair = self.desired.pair();
        (instance.incarnation, instance.seq) = (pair.incarnation, pair.seq.saturating_add(1));
        self.desired = Arc::new(instance);
        if matches!(self.state, RegistrationState::Registered { .. }) || self.refused != Refused::No {
            self.refused = Refused::No;
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
        self.leaving = Some(Leaving::new(notice, deadline, self.written.is_some(), now));
        self.show(RegistrationState::Draining);
    }

    fn departure(&self, now: Instant) -> Option<Departure> {
        let leaving = self.leaving.as_ref()?;
        if !self.tried {
            return Some(Departure::clean());
        }
        leaving.departure(self.proven_at + self.granted, now)
    }

    /// The longest pause and the longest wait for an answer.
    fn cap(&self) -> Duration {
        (self.ttl.get() / 3).min(BACKOFF_CAP)
    }

    /// Notices that the lease has ended without a word from the registry.
    fn expire(&mut self, now: Instant) {
        if let RegistrationState::Suspect { expires_at, cause, .. } = &self.state
            && now >= *expires_at
        {
            let lost = RegistrationState::Lost { since: *expires_at, cause: cause.clone() };
            self.since = None;
            self.show(lost);
        }
    }

    fn next_write(&mut self, now: Instant) -> Option<Write> {
        if self.in_flight.is_some() {
            return None;
        }
        let mut instance = &self.desired;
        let (verb, timeout) = if let Some(leaving) = &mut self.leaving {
            leaving.next(now)?
        } else if now < self.due_at {
            return None;
        } else if let (Refused::RenewFormer, Some(_), Some(former)) =
            (self.refused, self.since, &self.acknowledged)
        {
            instance = former;
            (Verb::Renew, Duration::MAX)
        } else if self.must_register() {
            (Verb::Register, Duration::MAX)
        } else {
            (Verb::Renew, Duration::MAX)
        };
        let record = Record::new(instance.clone(), self.ttl);
        Some(Write { verb, record, timeout: timeout.min(self.cap()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_that_is_refused_leaves_the_former_record_alive_and_is_tried_again() {
        let now = Instant::now();
        let instance = Instance::builder("orders").id("a").endpoint("http://127.0.0.1:1");
        let instance = instance.pair(Pair::new(7, 1)).build().unwrap();
        let mut machine = Registrar::new(instance.clone(), Ttl::default(), now);
        let mut renewed = Vec::new();
        let mut tried = 0;
        machine.step(Input::Tick, now);
        machine.step(Input::Answer(Ok(Receipt::new(Ttl::default().get()))), now);
        let mut outputs = machine.step(Input::Update(instance), now);
        let mut now = now;
        while now.duration_since(machine.proven_at) < Ttl::default().get() && tried < 10 {
            let write = outputs.into_iter().find_map(|output| match output {
                Output::Write(write) => Some(write),
                _ => None,
            });
            let answer = match write.map(|write| (write.verb, write.record.pair())) {
                Some((Verb::Renew, pair)) => {
                    renewed.push(pair);
                    Ok(Receipt::new(Ttl::default().get()))
                }
                Some(_) => {
                    tried += 1;
                    Err(Error::limit_exceeded("too large"))
                }
                None => {
                    now = machine.wake_at().unwrap();
                    outputs = machine.step(Input::Tick, now);
                    continue;
                }
            };
            outputs = machine.step(Input::Answer(answer), now);
        }
        assert_eq!(tried, 10, "the lease has ended meanwhile");
        assert!(renewed.len() >= 9 && renewed.iter().all(|pair| *pair == Pair::new(7, 1)), "{renewed:?}");
        assert!(matches!(machine.state, RegistrationState::Rejected(_)));
    }
}
