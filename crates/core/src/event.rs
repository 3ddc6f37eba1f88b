//! What a backend tells about itself.

use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::{Error, InstanceKey, Pair};

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
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// Of several registries behind one backend, one has changed its state.
    MemberState {
        /// Its name among the members.
        member: Arc<str>,
        /// What it was.
        from: MemberState,
        /// What it is.
        to: MemberState,
    },
    /// Of several registries behind one backend, another one is read from now on.
    Switched {
        /// Who was read.
        from: Arc<str>,
        /// Who is read.
        to: Arc<str>,
        /// Why.
        reason: SwitchReason,
    },
    /// Another owner has taken over the id of a record that was registered here.
    Fenced {
        /// Service and id.
        key: InstanceKey,
        /// The other owner's pair.
        holder: Pair,
    },
    /// A member that was away has everything again that was written here, and nothing that was removed.
    Reconciled {
        /// Its name among the members.
        member: Arc<str>,
        /// How many records were written again.
        added: usize,
        /// How many removals were made up for.
        removed: usize,
        /// How many records it refuses.
        refused: usize,
    },
    /// A member answers and refuses: its credentials, certificate or configuration are wrong.
    ConfigError {
        /// Its name among the members.
        member: Arc<str>,
    },
    /// What was removed cannot be written down, or read: after a restart it may be remembered by nobody.
    JournalTrouble,
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Suspect => f.write_str("suspect"),
            Self::Lost => f.write_str("lost"),
            Self::Misconfigured => f.write_str("misconfigured"),
            Self::Reset => f.write_str("reset"),
            Self::MemberState { member, from, to } => write!(f, "`{member}` was {from} and is {to}"),
            Self::Switched { from, to, reason } => write!(f, "switched from `{from}` to `{to}`: {reason}"),
            Self::Fenced { key, holder } => write!(f, "`{key}` was taken over by {holder}"),
            Self::Reconciled { member, added, removed, refused } => {
                write!(f, "`{member}` is whole again: {added} added, {removed} removed, {refused} refused")
            }
            Self::ConfigError { member } => write!(f, "`{member}` is misconfigured"),
            Self::JournalTrouble => f.write_str("trouble with the journal"),
        }
    }
}

/// How one of several registries behind one backend is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MemberState {
    /// It answers and proves its answers.
    Healthy,
    /// Something went wrong; not for long, or not often enough, to turn away from it.
    Suspect,
    /// It does not answer, or refuses everything.
    Down,
    /// It answers again, and is not whole yet, or not for long enough.
    Recovering,
    /// It answers, and proves nothing: cut off from its peers.
    Degraded,
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Recovering => "recovering",
            Self::Degraded => "degraded",
        })
    }
}

/// Why another of several registries is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SwitchReason {
    /// The former one is down.
    Outage,
    /// The former one proves nothing any more.
    Degraded,
    /// A preferred one is whole again.
    Preferred,
    /// Others are registered at a preferred one, and too few of them at the former one.
    Deserted,
    /// An operator wanted it.
    Forced,
}

impl fmt::Display for SwitchReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outage => "outage",
            Self::Degraded => "degraded",
            Self::Preferred => "preferred",
            Self::Deserted => "deserted",
            Self::Forced => "forced",
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
