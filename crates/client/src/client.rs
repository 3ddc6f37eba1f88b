//! What an application holds.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use callsign_core::task::{Spawner, Task};
use callsign_core::{Backend, Error, Instance, Result, ServiceKey, Ttl};
use futures::stream::BoxStream;
use tokio::time::timeout;

use crate::call::within;
use crate::disk::Disk;
use crate::events::{ClientEvent, ClientEvents};
use crate::prober::{Prober, TcpProber};
use crate::registration::WeakRegistration;
use crate::view::{Driver, Surroundings, ViewMachine, ViewShared};
use crate::{RegisterOptions, Registration, ServiceView};

/// How long a view goes on without users.
const LINGER: Duration = Duration::from_secs(30);
/// How long a backend may take to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Live registrations and live views over one backend. Cheap to clone.
///
/// Everything it starts ends when the last clone, view and registration are dropped.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

pub(crate) struct Inner {
    with: Surroundings,
    ttl: Ttl,
    protected: bool,
    exceptions: HashMap<ServiceKey, bool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    views: HashMap<ServiceKey, View>,
    registrations: Registrations,
}

/// What [`Client::close`] has to deregister.
#[derive(Default)]
struct Registrations {
    known: Vec<WeakRegistration>,
    /// How many there have to be before those that are gone are looked for: twice what the last search has left, so
    /// that ten thousand registrations are not gone through ten thousand times.
    search_at: usize,
}

impl Registrations {
    fn add(&mut self, registration: WeakRegistration) {
        if self.known.len() >= self.search_at {
            self.known.retain(|known| !known.is_gone());
            self.search_at = 2 * self.known.len().max(8);
        }
        self.known.push(registration);
    }
}

struct View {
    shared: Arc<ViewShared>,
    /// Ends with the view's entry.
    _task: Task,
}

impl Client {
    /// A client with the defaults.
    ///
    /// # Errors
    /// `ConfigInvalid` outside a tokio runtime.
    pub fn new(backend: Arc<dyn Backend>) -> Result<Self> {
        Self::builder(backend).build()
    }

    /// A client with settings of its own.
    pub fn builder(backend: Arc<dyn Backend>) -> ClientBuilder {
        ClientBuilder {
            backend,
            prober: Arc::new(TcpProber::default()),
            disk: None,
            ttl: Ttl::default(),
            protected: true,
            exceptions: HashMap::new(),
        }
    }

    /// The backend below.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.0.with.backend
    }

    /// Registers `instance` and keeps it registered for as long as the handle lives. Waits for the first success, 5 s
    /// unless told; an instance that is not registered by then is returned in `Pending` and goes on being tried, so
    /// that an application starts while its registry is down.
    ///
    /// # Errors
    /// `InvalidInput`, `LimitExceeded` or `Unsupported` when the registry can never take this instance; `Closed` after
    /// [`close`](Self::close); with [`RegisterOptions::required`] whatever kept it from being registered in time.
    ///
    /// # Cancel safety
    /// Dropping the future gives the registration up, as dropping the handle would.
    pub async fn register(&self, instance: Instance, options: RegisterOptions) -> Result<Registration> {
        let mut registration = self.start(instance, &options)?;
        registration.wait_for_the_first_answer(options).await?;
        Ok(registration)
    }

    /// Starts to register, known to [`close`](Self::close) from the first moment on.
    fn start(&self, instance: Instance, options: &RegisterOptions) -> Result<Registration> {
        let mut state = self.0.state();
        if state.closed {
            return Err(closed());
        }
        let ttl = options.ttl.unwrap_or(self.0.ttl);
        let Surroundings { backend, spawner, events, .. } = &self.0.with;
        let registration = Registration::start(backend.clone(), spawner, events.clone(), instance, ttl);
        state.registrations.add(registration.downgrade());
        Ok(registration)
    }

    /// A live view of `service`. Returns at once; [`ServiceView::ready`] waits for the first answer.
    #[must_use]
    pub fn service(&self, service: impl Into<ServiceKey>) -> ServiceView {
        let service = service.into();
        let mut state = self.0.state();
        let shared = match state.views.get(&service) {
            Some(view) => view.shared.clone(),
            None => {
                let view = self.open(service.clone());
                let shared = view.shared.clone();
                state.views.insert(service, view);
                shared
            }
        };
        // Entered while the map is locked: a view that nobody uses any more cannot end in between.
        ServiceView::new(shared, self.0.clone())
    }

    fn open(&self, service: ServiceKey) -> View {
        let protected = self.0.exceptions.get(&service).copied().unwrap_or(self.0.protected);
        let machine = ViewMachine::new(service, protected);
        let shared = Arc::new(ViewShared::new(machine.shown().clone()));
        let driver = Driver::new(machine, shared.clone(), self.0.with.clone());
        let linger = linger(shared.clone(), Arc::downgrade(&self.0));
        let task = self.0.with.spawner.spawn(async move {
            tokio::select! {
                biased;
                () = driver.run() => {}
                () = linger => {}
            }
        });
        View { shared, _task: task }
    }

    /// Everything that happens to registrations and views from now on. A reader that is too slow misses the oldest.
    #[must_use]
    pub fn events(&self) -> BoxStream<'static, Arc<ClientEvent>> {
        self.0.with.events.subscribe()
    }

    /// Deregisters everything that was registered here, ends the views' watches, and closes the backend. Returns by
    /// `deadline` (and at most 5 s for the backend), whether or not the registry answers. Views keep their last
    /// answer. Idempotent.
    ///
    /// # Errors
    /// What the backend could not close.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest undone.
    pub async fn close(&self, deadline: Duration) -> Result<()> {
        let registrations = {
            let mut state = self.0.state();
            state.closed = true;
            // Not taken out: a second call waits for the same registrations before it closes the backend below them.
            state.registrations.known.clone()
        };
        let leaving = registrations.into_iter().map(|registration| registration.deregister(deadline));
        // Each keeps the deadline by itself; this one is against a runtime that is too busy to notice.
        let _ = timeout(deadline.saturating_add(CLOSE_WITHIN), futures::future::join_all(leaving)).await;
        within("close", CLOSE_WITHIN, async { self.0.with.backend.close().await }).await
    }
}

/// Ends when the view has had no user for [`LINGER`] and its entry is gone.
async fn linger(shared: Arc<ViewShared>, client: Weak<Inner>) {
    let mut users = shared.users();
    loop {
        // The sender lives as long as `shared`.
        let _ = users.wait_for(|users| *users == 0).await;
        // Also one who came and went again is a user: whoever asks now and then finds the view as it was.
        if timeout(LINGER, users.changed()).await.is_ok() {
            continue;
        }
        let Some(client) = client.upgrade() else { return };
        let mut state = client.state();
        if *users.borrow() == 0 {
            let ended = state.views.remove(shared.service());
            drop(state);
            drop(ended);
            return;
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves the maps whole: every change of them is a single insert or remove.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> Error {
    Error::closed("the client was closed")
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Client")
            .field("backend", &self.with.backend)
            .field("views", &state.views.len())
            .field("registrations", &state.registrations.known.len())
            .finish_non_exhaustive()
    }
}

/// Settings of a [`Client`].
#[derive(Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct ClientBuilder {
    backend: Arc<dyn Backend>,
    prober: Arc<dyn Prober>,
    disk: Option<Disk>,
    ttl: Ttl,
    protected: bool,
    exceptions: HashMap<ServiceKey, bool>,
}

impl ClientBuilder {
    /// Keeps the last good answer of each view in a file of this folder, for a start while no registry answers. Off
    /// unless told. The folder is made when it is not there; several processes may share it.
    pub fn store_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.disk = Some(Disk::new(dir));
        self
    }

    /// Sets the ttl of registrations that name none; 15 s unless told.
    pub fn ttl(mut self, ttl: Ttl) -> Self {
        self.ttl = ttl;
        self
    }

    /// Whether views hold removals that nobody announced and that would empty the set or take much of it; see the
    /// crate's documentation. On unless told.
    pub fn protection(mut self, on: bool) -> Self {
        self.protected = on;
        self
    }

    /// As [`protection`](Self::protection), for one service: off for one that scales to zero without draining.
    pub fn service_protection(mut self, service: ServiceKey, on: bool) -> Self {
        self.exceptions.insert(service, on);
        self
    }

    /// Replaces what asks held instances whether they are there; [`TcpProber`] unless told.
    pub fn prober(mut self, prober: impl Prober) -> Self {
        self.prober = Arc::new(prober);
        self
    }

    /// The client. Starts nothing yet.
    ///
    /// # Errors
    /// `ConfigInvalid` outside a tokio runtime: that is where its tasks will run.
    pub fn build(self) -> Result<Client> {
        let with = Surroundings {
            backend: self.backend,
            prober: self.prober,
            disk: self.disk,
            spawner: Spawner::current()?,
            events: ClientEvents::new(),
        };
        Ok(Client(Arc::new(Inner {
            with,
            ttl: self.ttl,
            protected: self.protected,
            exceptions: self.exceptions,
            state: Mutex::default(),
        })))
    }
}
