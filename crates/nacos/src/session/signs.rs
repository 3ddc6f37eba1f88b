//! What a session tells about itself, each thing once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use callsign_core::{Error, EventKind, Events};

#[derive(Debug)]
pub(super) struct Signs {
    events: Events,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    last: Option<EventKind>,
    /// Why the login is refused, as long as it is.
    refusal: Option<Error>,
}

impl Signs {
    pub(super) fn new(events: Events) -> Self {
        Self { events, told: Mutex::default() }
    }

    /// The connection answers.
    pub(super) fn ready(&self) {
        let refusal = self.told().refusal.clone();
        self.tell(if refusal.is_some() { EventKind::Misconfigured } else { EventKind::Ready }, refusal);
    }

    /// The connection is silent, or lost and not replaced yet.
    pub(super) fn suspect(&self, cause: Error) {
        self.tell(EventKind::Suspect, Some(cause));
    }

    /// There is no connection.
    pub(super) fn lost(&self, cause: Error) {
        let kind = if cause.is_misconfiguration() { EventKind::Misconfigured } else { EventKind::Lost };
        self.tell(kind, Some(cause));
    }

    /// The servers are there, and refuse the login.
    pub(super) fn refused(&self, cause: Error) {
        self.told().refusal = Some(cause.clone());
        self.tell(EventKind::Misconfigured, Some(cause));
    }

    /// The login is accepted.
    pub(super) fn accepted(&self) {
        if self.told().refusal.take().is_some() {
            self.ready();
        }
    }

    fn tell(&self, kind: EventKind, cause: Option<Error>) {
        let last = self.told().last.replace(kind.clone());
        if last.as_ref() != Some(&kind) {
            self.events.publish(kind, cause);
        }
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use callsign_core::ErrorKind;
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test]
    async fn each_change_of_a_session_is_told_once() {
        let events = Events::new("main");
        let mut heard = events.subscribe();
        let signs = Signs::new(events.clone());
        signs.ready();
        for _ in 0..3 {
            signs.suspect(Error::unavailable("reset"));
        }
        signs.lost(Error::unavailable("refused"));
        signs.lost(Error::unavailable("refused"));
        signs.lost(Error::config("`tls`: no"));
        signs.ready();
        let mut kinds = Vec::new();
        while let Some(Some(event)) = heard.next().now_or_never() {
            kinds.push(event.kind);
        }
        let expected = [
            EventKind::Ready,
            EventKind::Suspect,
            EventKind::Lost,
            EventKind::Misconfigured,
            EventKind::Ready,
        ];
        assert_eq!(kinds, expected);
    }

    #[tokio::test]
    async fn a_refused_login_is_told_once_and_so_is_its_end() {
        let events = Events::new("main");
        let mut heard = events.subscribe();
        let signs = Signs::new(events.clone());
        signs.accepted();
        for _ in 0..3 {
            signs.ready();
            signs.refused(Error::new(ErrorKind::Unauthorized, "no such user"));
        }
        for _ in 0..2 {
            signs.accepted();
        }
        let mut kinds = Vec::new();
        while let Some(Some(event)) = heard.next().now_or_never() {
            kinds.push(event.kind);
        }
        assert_eq!(kinds, [EventKind::Ready, EventKind::Misconfigured, EventKind::Ready]);
    }
}
