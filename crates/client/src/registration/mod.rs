//! Registrations that live as long as their handle.

mod driver;
mod lease;
mod leaving;
mod machine;
mod patch;
#[cfg(test)]
mod schedules;
mod state;
mod step;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callsign_core::task::Spawner;
use callsign_core::{Backend, Error, ErrorKind, Instance, InstanceKey, Result, Ttl};
use futures::Stream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::events::ClientEvents;
use crate::incarnation;

use driver::{Command, Driver, Shown};
use machine::Registrar;

pub use patch::Patch;
pub use state::{Departure, RegistrationState};

/// How long views get to see `Draining` before `deregister` deletes: one watch hop.
const NOTICE: Duration = Duration::from_secs(1);
/// How long `drain` may take beyond its notice.
const DELETE_WITHIN: Duration = Duration::from_secs(2);
/// How long `register` and `update` wait for the registry before they return all the same.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// Commands that wait for the task at the same time; more wait in their callers.
const COMMANDS: usize = 16;

/// How to register.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RegisterOptions {
    /// How long the record lives without being renewed; `None` takes the client's, which is 15 s unless told. It is
    /// renewed every third of this.
    pub ttl: Option<Ttl>,
    /// Whether not being registered within [`wait`](Self::wait) is an error of
    /// [`Client::register`](crate::Client::register) rather than a handle in `Pending`.
    pub required: bool,
    /// How long to wait for the first success; `None` is 5 s.
    pub wait: Option<Duration>,
}

impl RegisterOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the ttl.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Makes it an error not to be registered in time.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Sets how long to wait for the first success; zero returns at once.
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }
}

/// A registration. It is kept alive, through every outage of the registry, for as long as this handle lives.
///
/// End it with [`drain`](Self::drain) or [`deregister`](Self::deregister). Dropping the handle stops renewing and
/// tries one delete in the background, which is weaker: nobody learns whether it worked, and nothing is announced.
pub struct Registration {
    key: InstanceKey,
    commands: mpsc::Sender<Command>,
    shown: watch::Receiver<Shown>,
}

impl Registration {
    /// Starts to register, and does not wait.
    pub(crate) fn start(
        backend: Arc<dyn Backend>,
        spawner: &Spawner,
        events: ClientEvents,
        mut instance: Instance,
        ttl: Ttl,
    ) -> Self {
        (instance.incarnation, instance.seq) = (incarnation::next(SystemTime::now()), 1);
        let key = instance.key.clone();
        let machine = Registrar::new(instance, ttl, Instant::now());
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let state = RegistrationState::Pending { attempt: 0, cause: None };
        let (sender, shown) = watch::channel(Shown { state, seq: 0, written: None, refused: None });
        // Its owner is the handle: the task ends when `commands` closes, one bounded delete later.
        spawner.detach(Driver { machine, backend, commands: receiver, shown: sender, events }.run());
        Self { key, commands, shown }
    }

    /// Waits for the first success, as the options say.
    pub(crate) async fn wait_for_the_first_answer(&mut self, options: RegisterOptions) -> Result<()> {
        let wait = options.wait.unwrap_or(FIRST_ANSWER);
        let settled = self.shown.wait_for(|shown| !matches!(shown.state, RegistrationState::Pending { .. }));
        // Only the task's end closes the channel, and it does not end before its handle.
        let _ = timeout(wait, settled).await;
        match self.state() {
            RegistrationState::Rejected(error) if options.required || speaks_against_the_value(&error) => {
                Err(error)
            }
            RegistrationState::Pending { cause, .. } if options.required => {
                let error = Error::timeout(format!("`{}` was not registered within {wait:?}", self.key));
                let error = error.with_operation("register");
                Err(match cause {
                    Some(cause) => error.with_source(cause),
                    None => error,
                })
            }
            // The client was closed meanwhile.
            RegistrationState::Draining | RegistrationState::Gone => Err(gone()),
            _ => Ok(()),
        }
    }

    /// Service and id.
    #[must_use]
    pub fn key(&self) -> &InstanceKey {
        &self.key
    }

    /// The state now.
    #[must_use]
    pub fn state(&self) -> RegistrationState {
        self.shown.borrow().state.clone()
    }

    /// Every state from now on, the present one first. A reader that is too slow skips to the latest. Ends after
    /// `Gone`.
    pub fn states(&self) -> impl Stream<Item = RegistrationState> + Send + Unpin + use<> {
        let first = None::<u64>;
        Box::pin(futures::stream::unfold((self.shown.clone(), first), |(mut shown, seen)| async move {
            let new = |shown: &Shown| Some(shown.seq) != seen;
            let (state, seq) =
                shown.wait_for(new).await.map(|shown| (shown.state.clone(), shown.seq)).ok()?;
            Some((state, (shown, Some(seq))))
        }))
    }

    /// Waits until the state satisfies `wanted`, and returns it. `None` when the registration is over and never will.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wait_for(
        &self,
        mut wanted: impl FnMut(&RegistrationState) -> bool + Send,
    ) -> Option<RegistrationState> {
        let mut shown = self.shown.clone();
        shown.wait_for(|shown| wanted(&shown.state)).await.ok().map(|shown| shown.state.clone())
    }

    /// Changes what is registered, in place: the record is never absent in between. Returns when the registry has
    /// the change.
    ///
    /// # Errors
    /// `InvalidInput` when the change breaks a rule of the model: nothing was changed. `Closed` after the
    /// registration has begun to leave. What the registry refuses it with, when it refuses the change for good: the
    /// former record stays, the change is tried again, and a further update replaces it. `Timeout` when the registry did not take the change within 5 s: it is what
    /// will be registered as soon as the registry answers.
    ///
    /// # Cancel safety
    /// Dropping the future does not take the change back.
    pub async fn update(&self, patch: Patch) -> Result<()> {
        let (answer, pair) = oneshot::channel();
        self.send(Command::Update(patch, answer)).await?;
        let pair = pair.await.map_err(|_| gone())??;
        let mut shown = self.shown.clone();
        let settled = shown.wait_for(|shown| {
            shown.written >= Some(pair)
                || shown.refused >= Some(pair)
                || matches!(shown.state, RegistrationState::Draining | RegistrationState::Gone)
        });
        match timeout(FIRST_ANSWER, settled).await {
            Ok(Ok(shown)) if shown.written >= Some(pair) => Ok(()),
            Ok(Ok(shown)) if shown.refused >= Some(pair) => Err(shown
                .state
                .cause()
                .cloned()
                .unwrap_or_else(|| Error::unexpected("the change was refused"))),
            Ok(_) => Err(gone()),
            Err(_) => {
                let error = Error::timeout(
                    "the registry has not taken the change yet; it is registered when it does",
                )
                .with_operation("update")
                .with_outcome_unknown();
                Err(match self.state().cause() {
                    Some(cause) => error.with_source(cause.clone()),
                    None => error,
                })
            }
        }
    }

    /// Leaves gently: announces `Draining`, so that views send nothing new, waits for `notice` so that work under way
    /// can end, and deletes the record. Returns at most 2 s after `notice`, counted from this call, whether or not
    /// the registry answers. Nothing is registered again after this has begun.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the leaving.
    pub async fn drain(&self, notice: Duration) -> Departure {
        self.leave(notice, notice.saturating_add(DELETE_WITHIN)).await
    }

    /// Leaves: announces `Draining`, gives 1 s notice (half the deadline if that is shorter), and deletes the record.
    /// Returns by `deadline`, counted from this call, whether or not the registry answers. Nothing is registered
    /// again after this has begun. Calling it during [`drain`](Self::drain) hurries that.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the leaving.
    pub async fn deregister(&self, deadline: Duration) -> Departure {
        self.leave(NOTICE.min(deadline / 2), deadline).await
    }

    async fn leave(&self, notice: Duration, deadline: Duration) -> Departure {
        let (done, over) = oneshot::channel();
        if self.send(Command::Leave { notice, deadline, done }).await.is_err() {
            return Departure::clean();
        }
        // The task only ends before it has answered when the whole runtime ends.
        over.await.unwrap_or_else(|_| Departure::unknown())
    }

    async fn send(&self, command: Command) -> Result<()> {
        self.commands.send(command).await.map_err(|_| gone())
    }

    /// A way to make this registration leave that does not keep it alive.
    pub(crate) fn downgrade(&self) -> WeakRegistration {
        WeakRegistration(self.commands.downgrade())
    }
}

/// Reaches a registration for as long as its handle lives.
#[derive(Debug, Clone)]
pub(crate) struct WeakRegistration(mpsc::WeakSender<Command>);

impl WeakRegistration {
    pub(crate) fn is_gone(&self) -> bool {
        self.0.upgrade().is_none_or(|commands| commands.is_closed())
    }

    /// Makes the registration leave, and waits for it.
    pub(crate) async fn deregister(self, deadline: Duration) {
        let Some(commands) = self.0.upgrade() else { return };
        let (done, over) = oneshot::channel();
        let notice = NOTICE.min(deadline / 2);
        if commands.send(Command::Leave { notice, deadline, done }).await.is_ok() {
            // How it went is for the handle to see.
            let _ = over.await;
        }
    }
}

/// Errors that no registry and no time will mend: the value itself is at fault.
fn speaks_against_the_value(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::LimitExceeded | ErrorKind::Unsupported)
}

fn gone() -> Error {
    Error::closed("the registration has left")
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("key", &self.key)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
