//! The session with the servers: who keeps it, and what is known of it.
//!
//! There is one connection at a time, to one of the servers, and everything goes over it: what is registered lives as long
//! as it does. While there is none calls are refused at once. Each connection has a generation; what belongs to one of them
//! is never done on another.

mod connection;
mod greeting;
mod hangup;
mod pulse;
mod signs;
mod supervisor;
mod transport;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use callsign_core::task::{Spawner, Task};
use callsign_core::{Error, Events, Result};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::Settings;
use crate::error::{Call, timed_out};
use crate::login::Tokens;
use crate::watch::Subscriptions;
use signs::Signs;

pub(crate) use connection::Connection;

/// How long closing may take.
const CLOSING: Duration = Duration::from_secs(5);

/// A session, begun with the first call and kept from then on.
pub(crate) struct Session {
    shared: Arc<Shared>,
    supervisor: Mutex<Option<Supervisor>>,
}

/// The task that keeps a session.
struct Supervisor {
    _task: Task,
    /// Closed when the task has ended.
    running: watch::Receiver<()>,
}

struct Shared {
    settings: Arc<Settings>,
    signs: Signs,
    tokens: Arc<Tokens>,
    subscriptions: Arc<Subscriptions>,
    state: watch::Sender<State>,
    generations: AtomicU64,
    /// The latest generation on which everything is published that was before.
    replayed: watch::Sender<u64>,
}

/// What calls are to do.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// Nothing is known yet: wait.
    Unknown,
    Live(Live),
    /// Give up, for this reason.
    Away(Error),
    Closed,
}

/// A connection that the server knows.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// Weak: the connection is over when its owner lets it go.
    connection: Weak<Connection>,
    pub(crate) generation: u64,
}

impl Session {
    pub(crate) fn new(settings: Arc<Settings>, subscriptions: Arc<Subscriptions>, events: Events) -> Self {
        let shared = Shared {
            tokens: Arc::new(Tokens::new(settings.clone())),
            settings,
            signs: Signs::new(events),
            subscriptions,
            state: watch::channel(State::Unknown).0,
            generations: AtomicU64::new(0),
            replayed: watch::channel(0).0,
        };
        Self { shared: Arc::new(shared), supervisor: Mutex::default() }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The session, if it is connected. Waits for the first attempt.
    pub(crate) async fn live(&self) -> Result<Live> {
        self.begin()?;
        let limit = self.settings().connect_timeout + self.settings().request_timeout;
        match timeout(limit, self.when(|state| !matches!(state, State::Unknown))).await {
            Ok(State::Live(live)) => live.unbroken(),
            Ok(State::Closed) => Err(closed()),
            Ok(State::Away(cause)) => Err(cause),
            Ok(State::Unknown) | Err(_) => Err(timed_out(limit, Call::read("connect")).error),
        }
    }

    /// The session, when it is connected.
    pub(crate) async fn reconnected(&self) -> Result<Live> {
        self.begin()?;
        match self.when(|state| matches!(state, State::Live(_) | State::Closed)).await {
            State::Live(live) => Ok(live),
            _ => Err(closed()),
        }
    }

    /// The first state that `wanted` takes, from the present one on.
    async fn when(&self, wanted: impl FnMut(&State) -> bool) -> State {
        let mut states = self.shared.state.subscribe();
        let state = states.wait_for(wanted).await;
        state.map_or(State::Closed, |state| state.clone())
    }

    /// What it is now.
    pub(crate) fn state(&self) -> State {
        self.shared.state.borrow().clone()
    }

    /// What happens to it, from now on.
    pub(crate) fn states(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Everything that was published before is so on the connection of this generation.
    pub(crate) fn has_replayed(&self, generation: u64) {
        self.shared.replayed.send_replace(generation);
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.shared.state.borrow(), State::Closed)
    }

    /// Resolves when it is closed.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        over(&self.shared, |state| matches!(state, State::Closed))
    }

    /// Resolves when `live` is over.
    pub(crate) fn disconnected(&self, live: &Live) -> impl Future<Output = ()> + Send + 'static {
        let generation = live.generation;
        over(&self.shared, move |state| !state.is_generation(generation))
    }

    /// Why there is no connection any more.
    pub(crate) fn why(&self) -> Error {
        match self.state() {
            State::Closed => closed(),
            State::Away(cause) => cause,
            _ => Error::unavailable("the connection is lost"),
        }
    }

    /// Ends the connection, and all that lives by it.
    pub(crate) async fn close(&self) -> Result<()> {
        self.shared.state.send_replace(State::Closed);
        let running = self.supervisor().as_ref().map(|supervisor| supervisor.running.clone());
        let Some(mut running) = running else { return Ok(()) };
        // Nothing is ever sent: the only change is the end.
        let ended = timeout(CLOSING, running.changed()).await;
        ended.map(drop).map_err(|_| Error::timeout("the connection could not be ended in time"))
    }

    /// Starts the supervisor, unless it was.
    fn begin(&self) -> Result<()> {
        if self.is_closed() {
            return Err(closed());
        }
        let mut supervisor = self.supervisor();
        if supervisor.is_none() {
            let spawner = Spawner::current()?;
            let (ending, running) = watch::channel(());
            let supervising = supervisor::supervise(self.shared.clone());
            let task = spawner.spawn(async move {
                supervising.await;
                drop(ending);
            });
            *supervisor = Some(Supervisor { _task: task, running });
        }
        Ok(())
    }

    fn supervisor(&self) -> MutexGuard<'_, Option<Supervisor>> {
        self.supervisor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_generation(&self, generation: u64) -> bool {
        matches!(self, Self::Live(live) if live.generation == generation)
    }
}

impl Live {
    /// Itself, unless the connection is known to be over, although nobody has let it go yet.
    fn unbroken(self) -> Result<Self> {
        match self.connection()?.why_over() {
            Some(cause) => Err(cause),
            None => Ok(self),
        }
    }

    /// To be held for one call.
    pub(crate) fn connection(&self) -> Result<Arc<Connection>> {
        self.connection.upgrade().ok_or_else(|| Error::unavailable("the connection is over"))
    }
}

impl Shared {
    /// Closed is closed, whatever happens meanwhile.
    fn become_state(&self, next: State) {
        self.state.send_if_modified(|state| {
            let open = !matches!(state, State::Closed);
            if open {
                *state = next;
            }
            open
        });
    }

    async fn closed(&self) {
        // The sender is here, so there is no error.
        let _ = self.state.subscribe().wait_for(|state| matches!(state, State::Closed)).await;
    }
}

/// Resolves when the session is in a state that is `wanted`, or gone.
fn over(
    shared: &Shared,
    wanted: impl FnMut(&State) -> bool + Send + 'static,
) -> impl Future<Output = ()> + Send + 'static {
    let mut state = shared.state.subscribe();
    async move {
        let _ = state.wait_for(wanted).await;
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("state", &*self.shared.state.borrow()).finish_non_exhaustive()
    }
}

fn closed() -> Error {
    Error::closed("the backend was closed")
}
