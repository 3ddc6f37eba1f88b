//! The connection to the cluster: one member at a time, and another one when that is in trouble.
//!
//! A session begins with the first call. Its task pins a member and waits until the connection is given up, by whoever
//! finds it broken; then it pins another. While no member will do, every call fails at once with the reason.

mod calls;
mod pin;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use callsign_core::task::{Spawner, Task};
use callsign_core::{Backoff, Error, EventKind, Events, Namespace, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::codec::Keys;
use crate::config::Settings;
use crate::connection::Connection;
use crate::epoch::Epochs;

const BACKOFF_BASE: Duration = Duration::from_millis(100);
const BACKOFF_CAP: Duration = Duration::from_secs(5);

const STILL_BROKEN: Duration = Duration::from_secs(20);

/// What a write does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Register,
    Renew,
    Deregister,
}

#[derive(Debug, Clone)]
pub(crate) enum State {
    /// Not asked for yet, or on the way to another member.
    Connecting,
    Serving(Arc<Connection>),
    /// No member will do.
    Broken(Error),
    Closed,
}

pub(crate) struct Session {
    shared: Arc<Shared>,
    task: Mutex<Option<Task>>,
}

/// What the session's task has in common with those who call.
pub(crate) struct Shared {
    settings: Settings,
    events: Events,
    epochs: Epochs,
    state: watch::Sender<State>,
    /// The namespace that was first asked for: a login need not be allowed to read any other.
    home: OnceLock<Vec<u8>>,
    connections: AtomicU64,
}

impl Session {
    pub(crate) fn new(settings: Settings, events: Events) -> Self {
        let shared = Shared {
            settings,
            events,
            epochs: Epochs::default(),
            state: watch::Sender::new(State::Connecting),
            home: OnceLock::new(),
            connections: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), task: Mutex::default() }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.shared.settings.keys
    }

    /// The prefix that a role needs rights on for what concerns `key`.
    pub(crate) fn rights<'a>(&self, key: Option<&'a [u8]>) -> &'a str {
        key.map_or("", |key| self.keys().namespace_of(key))
    }

    pub(crate) fn epochs(&self) -> &Epochs {
        &self.shared.epochs
    }

    /// Says which namespace is used, before the first call.
    pub(crate) fn at_home_in(&self, namespace: &Namespace) {
        self.shared.home.get_or_init(|| self.keys().namespace(namespace));
    }

    /// What is looked at to see whether a member serves.
    pub(crate) fn home(&self) -> Vec<u8> {
        self.shared.home()
    }

    /// The states that follow.
    pub(crate) fn states(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// The connection, if there is one now.
    pub(crate) fn serving(&self) -> Option<Arc<Connection>> {
        match &*self.shared.state.borrow() {
            State::Serving(connection) if !connection.is_lost() => Some(connection.clone()),
            _ => None,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.shared.state.borrow(), State::Closed)
    }

    /// The connection. Waits for one that is on its way, for as long as a call may take.
    ///
    /// # Errors
    /// Why there is none: at once, while no member will do. `Closed`.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>> {
        let decided = |state: &State| match state {
            State::Connecting => false,
            State::Serving(connection) => !connection.is_lost(),
            State::Broken(_) | State::Closed => true,
        };
        let limit = self.shared.settings.op_timeout;
        timeout(limit, self.wait_for(decided)).await.unwrap_or_else(|_| {
            let (limit, endpoints) =
                (humantime::format_duration(limit), self.settings().endpoints.join(", "));
            Err(Error::timeout(format!("cannot connect at {endpoints}: no answer within {limit}")))
        })
    }

    /// The connection, for those who have been told why there is none and wait until there is one again.
    ///
    /// # Errors
    /// Why there still is none, after 20 s: before whoever waits takes the silence for an error of its own. `Closed`.
    pub(crate) async fn reconnected(&self) -> Result<Arc<Connection>> {
        let serves = self.wait_for(|state| match state {
            State::Connecting | State::Broken(_) => false,
            State::Serving(connection) => !connection.is_lost(),
            State::Closed => true,
        });
        match timeout(STILL_BROKEN, serves).await {
            Ok(result) => result,
            Err(_) => self.connection().await,
        }
    }

    async fn wait_for(&self, decided: impl FnMut(&State) -> bool) -> Result<Arc<Connection>> {
        self.start()?;
        let mut states = self.states();
        let state = states.wait_for(decided).await.map(|state| state.clone());
        match state {
            Ok(State::Serving(connection)) => Ok(connection),
            Ok(State::Broken(error)) => Err(error),
            Ok(State::Connecting | State::Closed) | Err(_) => Err(closed()),
        }
    }

    fn start(&self) -> Result<()> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_closed() {
            return Err(closed());
        }
        if task.is_none() {
            *task = Some(Spawner::current()?.spawn(run(self.shared.clone())));
        }
        Ok(())
    }

    /// Resolves when the session is closed.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut states = self.states();
        async move {
            // A session that is gone was closed, too.
            let _ = states.wait_for(|state| matches!(state, State::Closed)).await;
        }
    }

    pub(crate) fn close(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        task.take();
        self.shared.state.send_replace(State::Closed);
    }
}

pub(crate) fn closed() -> Error {
    Error::closed("the backend was closed")
}

async fn run(shared: Arc<Shared>) {
    let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_CAP);
    let mut told = None;
    let mut after = None;
    loop {
        match shared.pin(after).await {
            Ok((place, connection)) => {
                after = Some(place);
                told = None;
                shared.set(State::Serving(connection.clone()));
                shared.events.publish(EventKind::Ready, None);
                let since = Instant::now();
                let cause = connection.lost().await;
                drop(connection);
                shared.events.publish(EventKind::Suspect, Some(cause.clone()));
                let pause = if since.elapsed() >= BACKOFF_CAP {
                    backoff.reset();
                    Duration::ZERO
                } else {
                    // It serves, and breaks at once: asking it again and again would help nobody.
                    backoff.next_delay()
                };
                // Another member is worth waiting for; the same one, for a moment only.
                let waits = pause <= BACKOFF_BASE || shared.settings.endpoints.len() > 1;
                shared.set(if waits { State::Connecting } else { State::Broken(cause) });
                sleep(pause).await;
            }
            Err(error) => {
                let kind =
                    if error.is_misconfiguration() { EventKind::Misconfigured } else { EventKind::Lost };
                shared.set(State::Broken(error.clone()));
                if told.as_ref() != Some(&kind) {
                    told = Some(kind.clone());
                    shared.events.publish(kind, Some(error));
                }
                sleep(backoff.next_delay()).await;
            }
        }
    }
}

impl Shared {
    /// Closing is for good.
    fn set(&self, new: State) {
        self.state.send_if_modified(|state| {
            let open = !matches!(state, State::Closed);
            if open {
                *state = new;
            }
            open
        });
    }

    fn next_number(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// What is looked at to see whether a member serves.
    fn home(&self) -> Vec<u8> {
        self.home.get().cloned().unwrap_or_else(|| self.settings.keys.root())
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("endpoints", &self.shared.settings.endpoints)
            .field("state", &*self.shared.state.borrow())
            .finish_non_exhaustive()
    }
}
