//! What the outcomes of calls say of the registry: there is no session that could tell.

use std::sync::{Mutex, PoisonError};

use callsign_core::{ErrorKind, EventKind, Events};

use crate::error::{Failure, Verdict};

/// What a success proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// That the agent is there.
    Agent,
    /// That a server has answered.
    Server,
}

/// What was told last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum State {
    #[default]
    Unknown,
    Ready,
    /// In trouble: of this kind; because there is no leader, which an agent's own answer does not disprove.
    Troubled(EventKind, bool),
}

/// Tells of trouble and of its end, each once.
#[derive(Debug)]
pub(crate) struct Signs {
    events: Events,
    state: Mutex<State>,
}

impl Signs {
    pub(crate) fn new(events: Events) -> Self {
        Self { events, state: Mutex::default() }
    }

    pub(crate) fn success(&self, proof: Proof) {
        let next = |state: State| match state {
            State::Troubled(_, true) if proof == Proof::Agent => state,
            _ => State::Ready,
        };
        if let (State::Unknown | State::Troubled(..), State::Ready) = self.go(next) {
            self.events.publish(EventKind::Ready, None);
        }
    }

    pub(crate) fn failure(&self, failure: &Failure) {
        let error = &failure.error;
        if error.kind() == ErrorKind::Closed {
            return;
        }
        let no_leader = failure.verdict == Verdict::NoLeader;
        let kind = if error.is_misconfiguration() {
            EventKind::Misconfigured
        } else if !error.counts_as_outage() {
            return self.success(Proof::Agent);
        } else if error.kind() == ErrorKind::Timeout {
            EventKind::Suspect
        } else {
            EventKind::Lost
        };
        let next = |state: State| match (state, &kind) {
            // Silence upon silence is no better than a refusal.
            (State::Troubled(EventKind::Suspect | EventKind::Lost, _), EventKind::Suspect) => {
                State::Troubled(EventKind::Lost, no_leader)
            }
            _ => State::Troubled(kind.clone(), no_leader),
        };
        let (before, after) = self.go(next);
        let told = after.kind();
        if told != before.kind() {
            self.events.publish(told.unwrap_or(kind), Some(error.clone()));
        }
    }

    /// A new epoch has begun.
    pub(crate) fn reset(&self, cause: callsign_core::Error) {
        self.events.publish(EventKind::Reset, Some(cause));
    }

    /// The states before and after.
    fn go(&self, next: impl FnOnce(State) -> State) -> (State, State) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.clone();
        *state = next(before.clone());
        (before, state.clone())
    }
}

impl State {
    fn kind(self) -> Option<EventKind> {
        match self {
            Self::Troubled(kind, _) => Some(kind),
            Self::Unknown | Self::Ready => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use callsign_core::{Error, EventStream};
    use futures::{FutureExt, StreamExt};

    use super::*;

    fn failure(error: Error, verdict: Verdict) -> Failure {
        Failure { error, verdict }
    }

    fn told(events: &mut EventStream) -> Vec<EventKind> {
        std::iter::from_fn(|| events.next().now_or_never().flatten()).map(|event| event.kind).collect()
    }

    #[test]
    fn trouble_and_its_end_are_told_once() {
        let signs = Signs::new(Events::new("main"));
        let mut events = signs.events.subscribe();
        signs.success(Proof::Agent);
        signs.success(Proof::Server);
        assert_eq!(told(&mut events), [EventKind::Ready]);
        let refused = failure(Error::unavailable("refused"), Verdict::Elsewhere);
        signs.failure(&refused);
        signs.failure(&refused);
        assert_eq!(told(&mut events), [EventKind::Lost]);
        signs.success(Proof::Agent);
        assert_eq!(told(&mut events), [EventKind::Ready]);
    }

    #[test]
    fn silence_is_suspicious_and_then_a_loss() {
        let signs = Signs::new(Events::new("main"));
        let mut events = signs.events.subscribe();
        let silence = failure(Error::timeout("silence"), Verdict::Elsewhere);
        signs.failure(&silence);
        signs.failure(&silence);
        signs.failure(&silence);
        assert_eq!(told(&mut events), [EventKind::Suspect, EventKind::Lost]);
    }

    #[test]
    fn an_agent_without_a_leader_is_not_well_because_it_answers() {
        let signs = Signs::new(Events::new("main"));
        let mut events = signs.events.subscribe();
        signs.failure(&failure(Error::unavailable("no leader"), Verdict::NoLeader));
        signs.success(Proof::Agent);
        assert_eq!(told(&mut events), [EventKind::Lost]);
        signs.success(Proof::Server);
        assert_eq!(told(&mut events), [EventKind::Ready]);
    }

    #[test]
    fn an_answer_that_refuses_is_no_trouble_and_a_wrong_token_is_one_to_mend() {
        let signs = Signs::new(Events::new("main"));
        let mut events = signs.events.subscribe();
        signs.failure(&failure(Error::not_found("gone"), Verdict::Lost));
        assert_eq!(told(&mut events), [EventKind::Ready]);
        signs.failure(&failure(Error::new(ErrorKind::Unauthorized, "who?"), Verdict::Denied));
        assert_eq!(told(&mut events), [EventKind::Misconfigured]);
        signs.failure(&failure(Error::closed("closed"), Verdict::Answer));
        assert_eq!(told(&mut events), []);
    }
}
