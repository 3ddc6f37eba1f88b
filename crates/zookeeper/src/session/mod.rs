//! A session with ZooKeeper: who keeps it, and what is known of it.
//!
//! There are two: one that owns the ephemeral nodes and watches nothing, and one that only reads and watches, so that
//! neither stands in the other's way. While a session is disconnected calls are refused at once: the client library
//! would queue them without a bound, and send them when nobody waits any more.

mod connect;
mod owned;
mod preflight;
mod siblings;
mod signs;
mod supervisor;
mod tls;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use callsign_core::task::{Spawner, Task};
use callsign_core::{Error, Events, Result};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zookeeper_client as zk;

use crate::config::Settings;
use crate::error::{Call, judge, timed_out};
use signs::Signs;

pub(crate) use connect::acls;
pub(crate) use siblings::Siblings;

/// How long the client library is given to say of a request what became of it, when its connection is lost.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long closing may take: the end of a session is a write, and removes all of its nodes.
const CLOSING: Duration = Duration::from_secs(5);

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It owns nodes.
    Registrations,
    /// It reads, also from a server without a quorum where that is allowed.
    Discovery,
}

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
    role: Role,
    signs: Signs,
    siblings: Arc<Siblings>,
    state: watch::Sender<State>,
    connections: AtomicU64,
    /// Whether the session could not be ended when it was closed.
    lingers: AtomicBool,
    /// Whether somebody knows that.
    told: AtomicBool,
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

/// A connected session.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// Weak: a session is closed when nobody holds its client.
    client: Weak<zk::Client>,
    /// The owner of its ephemeral nodes.
    pub(crate) id: i64,
    /// Grows with each connection: watches do not survive the change.
    pub(crate) connection: u64,
    /// The server has lost its quorum.
    pub(crate) read_only: bool,
}

impl Session {
    pub(crate) fn new(settings: Arc<Settings>, role: Role, siblings: Arc<Siblings>, events: Events) -> Self {
        let shared = Shared {
            settings,
            role,
            signs: Signs::new(events),
            siblings,
            state: watch::channel(State::Unknown).0,
            connections: AtomicU64::new(0),
            lingers: AtomicBool::new(false),
            told: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), supervisor: Mutex::default() }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.shared.settings
    }

    /// The session, if it is connected. Waits for the first attempt, and where a server is there for the other session.
    pub(crate) async fn live(&self) -> Result<Live> {
        self.begin()?;
        let limit = self.settings().op_timeout;
        let known = self.when(|state| !matches!(state, State::Unknown));
        let cause = match timeout(limit, known).await {
            Ok(State::Live(live)) => return Ok(live),
            Ok(State::Closed) => return Err(closed()),
            Ok(State::Away(cause)) => cause,
            Ok(State::Unknown) | Err(_) => return Err(timed_out(limit, Call::read("begin a session"))),
        };
        tokio::select! {
            biased;
            () = self.shared.siblings.none_is_live(self.shared.role) => Err(cause),
            live = timeout(limit, self.reconnected()) => live.unwrap_or(Err(cause)),
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

    /// What happens to it, from now on.
    pub(crate) fn states(&self) -> watch::Receiver<State> {
        self.shared.state.subscribe()
    }

    /// Has `work` done on the connection `live`, within `limit`. Ends early when the connection is lost: the library
    /// would keep for the next one what it has not sent.
    pub(crate) async fn run<T>(
        &self,
        live: &Live,
        limit: Duration,
        call: Call<'_>,
        work: impl Future<Output = Result<T, zk::Error>> + Send,
    ) -> Result<T> {
        let lost = async {
            let now = self.when(|state| !state.is_connection(live.connection)).await;
            if !matches!(now, State::Closed) {
                sleep(LAST_WORDS).await;
            }
            now
        };
        tokio::select! {
            biased;
            done = timeout(limit, work) => match done {
                Ok(Ok(done)) => Ok(done),
                Ok(Err(error)) => Err(judge(error, call)),
                Err(_) => Err(timed_out(limit, call)),
            },
            now = lost => Err(match now {
                State::Closed => closed(),
                _ => judge(zk::Error::ConnectionLoss, call),
            }),
        }
    }

    /// Whether it was closed.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.shared.state.borrow(), State::Closed)
    }

    /// Resolves when it is closed.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        over(&self.shared, |state| matches!(state, State::Closed))
    }

    /// Resolves when the connection `live` is lost.
    pub(crate) fn disconnected(&self, live: &Live) -> impl Future<Output = ()> + Send + 'static {
        let connection = live.connection;
        over(&self.shared, move |state| !state.is_connection(connection))
    }

    /// Tells whoever listens that the registry has begun anew.
    pub(crate) fn reset(&self, cause: Error) {
        self.shared.signs.reset(cause);
    }

    /// Closes the session with all that it owns, and waits until the servers know.
    pub(crate) async fn close(&self) -> Result<()> {
        self.shared.state.send_replace(State::Closed);
        self.shared.siblings.say(self.shared.role, false);
        let running = self.supervisor().as_ref().map(|supervisor| supervisor.running.clone());
        let Some(mut running) = running else { return Ok(()) };
        // Nothing is ever sent: the only change is the end.
        let in_time = timeout(CLOSING, running.changed()).await.is_ok();
        // Told once: for whoever closes after that, it is closed.
        if (!in_time || self.shared.lingers.load(Ordering::Relaxed))
            && !self.shared.told.swap(true, Ordering::Relaxed)
        {
            let cause = "the session could not be closed in time: the servers end it, and remove its nodes, by its \
                         time-out";
            return Err(Error::timeout(cause));
        }
        Ok(())
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
            let supervising = supervisor::supervise(self.shared.clone(), spawner.clone());
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
    fn is_connection(&self, connection: u64) -> bool {
        matches!(self, Self::Live(live) if live.connection == connection)
    }
}

impl Live {
    /// To be held for one call.
    pub(crate) fn client(&self) -> Result<Arc<zk::Client>> {
        self.client.upgrade().ok_or_else(|| Error::unavailable("the session is over"))
    }
}

impl Shared {
    /// Closed is closed, whatever happens meanwhile.
    fn become_state(&self, next: State) {
        self.siblings.say(self.role, matches!(&next, State::Live(live) if !live.read_only));
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
        f.debug_struct("Session")
            .field("role", &self.shared.role)
            .field("state", &*self.shared.state.borrow())
            .finish_non_exhaustive()
    }
}

fn closed() -> Error {
    Error::closed("the backend was closed")
}
