//! A process that registers itself, lives, and ends in one way or another.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callsign_client::{Client, Departure, Patch, RegisterOptions, Registration, RegistrationState};
use callsign_core::task::{Spawner, Task};
use callsign_core::{Instance, InstanceId, ServiceKey, Ttl};
use futures::StreamExt;

use super::book::Book;
use super::recorded::Recorded;
use super::site::Site;
use super::support::Trouble;

/// The ttl of every registration.
pub(crate) const TTL: Duration = Duration::from_secs(10);
/// How long who leaves goes on serving.
const NOTICE: Duration = Duration::from_secs(1);

/// A running process.
pub(crate) struct Owner {
    pub(crate) id: InstanceId,
    pub(crate) service: ServiceKey,
    pub(crate) site: Site,
    pub(crate) registration: Arc<Registration>,
    book: Book,
    lapsed: Arc<AtomicBool>,
    dead: Arc<AtomicBool>,
    unheard: Arc<AtomicBool>,
    _watcher: Option<Task>,
}

/// Whether presence is owed while an owner reaches no registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owed {
    /// In any case, for as long as the process runs.
    Always,
    /// Not from a missed renewal on, until the next proof.
    WhileRenewed,
}

impl Owner {
    /// Starts a process that registers as `id`, and does not wait for it.
    pub(crate) async fn start(
        id: &InstanceId,
        service: &ServiceKey,
        site: Site,
        book: &Book,
        owed: Owed,
    ) -> Self {
        let [lapsed, dead, unheard] = std::array::from_fn(|_| Arc::<AtomicBool>::default());
        let recorded = Recorded {
            inner: site.backend(),
            book: book.clone(),
            lapsed: lapsed.clone(),
            dead: dead.clone(),
            unheard: unheard.clone(),
        };
        let client = Client::builder(Arc::new(recorded)).build().unwrap();
        book.starts(id, service);
        let instance = Instance::builder(service).id(id).endpoint("http://127.0.0.1:1").build().unwrap();
        let options = RegisterOptions::new().with_ttl(Ttl::new(TTL).unwrap()).with_wait(Duration::ZERO);
        let registration = Arc::new(client.register(instance, options).await.unwrap());
        let watcher = (owed == Owed::WhileRenewed).then(|| {
            let note = note_lapses(
                registration.states(),
                (id.clone(), service.clone()),
                book.clone(),
                lapsed.clone(),
            );
            Spawner::current().unwrap().spawn(note)
        });
        Self {
            id: id.clone(),
            service: service.clone(),
            site,
            registration,
            book: book.clone(),
            lapsed,
            dead,
            unheard,
            _watcher: watcher,
        }
    }

    /// Changes the instance, and does not wait for it.
    pub(crate) fn update(&self, weight: u16) {
        let registration = self.registration.clone();
        Spawner::current().unwrap().detach(async move {
            // What was not taken yet goes on being tried.
            let _ = registration.update(Patch::new().weight(weight)).await;
        });
    }

    /// It goes on, and what it does is not written down any more: its id belongs to somebody else.
    pub(crate) fn is_of_no_account(&self) {
        self.unheard.store(true, Ordering::SeqCst);
    }

    /// From now on nobody owes its presence, until a registry next proves it.
    pub(crate) fn lapse(&self) {
        self.lapsed.store(true, Ordering::SeqCst);
        self.book.history(&self.service).lapses(&self.id);
    }

    /// Leaves with goodbye, and then its process ends.
    pub(crate) async fn leave(self) -> Departure {
        // Renewals have ended: whoever still shows it is right, and whoever does not is, too.
        self.lapse();
        let departure = self.registration.drain(NOTICE).await;
        self.end();
        departure
    }

    /// As [`leave`](Self::leave), and does not wait for it.
    pub(crate) fn leave_by_itself(self) {
        self.lapse();
        Spawner::current().unwrap().detach(async move {
            drop(self.registration.drain(NOTICE).await);
            self.end();
        });
    }

    /// Ends without a word: nothing of it reaches a registry any more.
    pub(crate) fn crash(self) {
        self.book.history(&self.service).lapses(&self.id);
        self.end();
    }

    fn end(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.site.set_all(Trouble::Hanging);
        self.book.stops(&self.id);
    }
}

/// Where a process keeps what has to survive it.
pub(crate) fn journal(folder: &Path, id: &InstanceId) -> PathBuf {
    folder.join("journals").join(id.as_str())
}

/// From a missed renewal on the lease may run out, and nobody owes the presence.
async fn note_lapses(
    mut states: impl StreamExt<Item = RegistrationState> + Unpin,
    (id, service): (InstanceId, ServiceKey),
    book: Book,
    lapsed: Arc<AtomicBool>,
) {
    while let Some(state) = states.next().await {
        let may_run_out = match &state {
            RegistrationState::Suspect { .. } => true,
            RegistrationState::Lost { cause, .. } => cause.counts_as_outage(),
            _ => false,
        };
        if may_run_out && !lapsed.swap(true, Ordering::SeqCst) {
            book.history(&service).lapses(&id);
        }
    }
}
