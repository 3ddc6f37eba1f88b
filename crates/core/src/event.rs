//! What a backend tells about itself.

use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::Error;

/// A never-ending stream of [`Event`]s. A reader that is too slow misses the oldest.
pub type EventStream = BoxStream<'static, Event>;

/// Something that happened to a backend's connection to its registry.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// When.
    pub at: Instant,
    /// The backend's configured name.
    pub backend: Arc<str>,
    /// What.
    pub kind: EventKind,
    /// Why, where there is a reason.
    pub cause: Option<Error>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// The registry answers; after trouble: again.
    Ready,
    /// The registry is slow or silent.
    Suspect,
    /// The registry is out of reach, or the session with it is gone.
    Lost,
    /// The registry answers and refuses: credentials, certificate or configuration are wrong.
    Misconfigured,
    /// The registry was wiped or restored: a new epoch has begun.
    Reset,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready => "ready",
            Self::Suspect => "suspect",
            Self::Lost => "lost",
            Self::Misconfigured => "misconfigured",
            Self::Reset => "reset",
        })
    }
}

/// How many events a slow reader may be behind before it misses the oldest.
const BACKLOG: usize = 64;

/// Where a backend publishes its events. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Events {
    backend: Arc<str>,
    sender: broadcast::Sender<Event>,
}

impl Events {
    /// The events of the backend named `backend`.
    #[must_use]
    pub fn new(backend: impl Into<Arc<str>>) -> Self {
        Self { backend: backend.into(), sender: broadcast::channel(BACKLOG).0 }
    }

    /// Tells everybody who listens.
    pub fn publish(&self, kind: EventKind, cause: Option<Error>) {
        let event = Event { at: Instant::now(), backend: self.backend.clone(), kind, cause };
        // An error only means that nobody listens.
        let _ = self.sender.send(event);
    }

    /// Whether anybody else still holds these events: the backend that publishes them, or a listener.
    #[must_use]
    pub fn has_owner(&self) -> bool {
        self.sender.strong_count() > 1
    }

    /// A stream of everything published from now on.
    #[must_use]
    pub fn subscribe(&self) -> EventStream {
        // The stream keeps a sender: it lasts until it is dropped, whatever happens to the backend.
        let state = (self.sender.subscribe(), self.sender.clone());
        futures::stream::unfold(state, |(mut receiver, keep)| async move {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((event, (receiver, keep))),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_misses_the_oldest_and_nobody_waits() {
        let events = Events::new("main");
        events.publish(EventKind::Lost, None);
        let mut stream = events.subscribe();
        for _ in 0..BACKLOG * 2 {
            events.publish(EventKind::Suspect, None);
        }
        events.publish(EventKind::Ready, None);
        let mut seen = 0;
        while stream.next().await.is_some_and(|event| event.kind != EventKind::Ready) {
            seen += 1;
        }
        assert!(seen < BACKLOG);
    }
}
