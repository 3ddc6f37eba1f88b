//! What a session tells about itself, each thing once.

use std::sync::{Mutex, PoisonError};

use callsign_core::{Error, EventKind, Events};

#[derive(Debug)]
pub(super) struct Signs {
    events: Events,
    last: Mutex<Option<EventKind>>,
}

impl Signs {
    pub(super) fn new(events: Events) -> Self {
        Self { events, last: Mutex::default() }
    }

    /// The session is connected; `reservation` is what is not as it was asked for.
    pub(super) fn ready(&self, reservation: Option<Error>) {
        self.tell(EventKind::Ready, reservation);
    }

    /// The connection is lost, and the session is not.
    pub(super) fn suspect(&self, cause: Error) {
        self.tell(EventKind::Suspect, Some(cause));
    }

    /// There is no session.
    pub(super) fn lost(&self, cause: Error) {
        let kind = if cause.is_misconfiguration() { EventKind::Misconfigured } else { EventKind::Lost };
        self.tell(kind, Some(cause));
    }

    /// The registry has begun anew.
    pub(super) fn reset(&self, cause: Error) {
        self.events.publish(EventKind::Reset, Some(cause));
    }

    fn tell(&self, kind: EventKind, cause: Option<Error>) {
        let told = self.last.lock().unwrap_or_else(PoisonError::into_inner).replace(kind.clone());
        if told.as_ref() != Some(&kind) {
            self.events.publish(kind, cause);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt};

    use super::*;

    #[tokio::test]
    async fn each_change_of_a_session_is_told_once() {
        let events = Events::new("main");
        let mut heard = events.subscribe();
        let signs = Signs::new(events.clone());
        signs.ready(None);
        for _ in 0..3 {
            signs.suspect(Error::unavailable("reset"));
        }
        signs.lost(Error::unavailable("refused"));
        signs.lost(Error::unavailable("refused"));
        signs.lost(Error::config("`acl`: no"));
        signs.ready(None);
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
}
