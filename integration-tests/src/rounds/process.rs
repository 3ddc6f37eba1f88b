//! A process that registers instances, over a connection of its own, and ends in one way or another.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callsign_client::{Client, Patch, RegisterOptions, Registration, RegistrationState};
use callsign_core::task::{Spawner, Task};
use callsign_core::{Backend, Instance, InstanceId, Pair, Result, ServiceKey, Ttl};
use futures::StreamExt;

use super::book::Book;
use super::recorded::Recorded;

/// How long a departure without a notice may take.
const LEAVES_WITHIN: Duration = Duration::from_secs(3);

/// How somebody leaves.
#[derive(Debug, Clone, Copy)]
pub(super) enum Leave {
    Drain(Duration),
    Deregister,
}

/// A running process.
pub(super) struct Process {
    backend: Arc<dyn Backend>,
    client: Client,
    dead: Arc<AtomicBool>,
    book: Book,
    owned: BTreeMap<InstanceId, Owned>,
}

struct Owned {
    registration: Arc<Registration>,
    _watcher: Task,
}

impl Process {
    pub(super) fn start(backend: Arc<dyn Backend>, ttl: Ttl, book: &Book) -> Result<Self> {
        let dead = Arc::<AtomicBool>::default();
        let recorded = Recorded { inner: backend.clone(), book: book.clone(), dead: dead.clone() };
        let client = Client::builder(Arc::new(recorded)).ttl(ttl).build()?;
        Ok(Self { backend, client, dead, book: book.clone(), owned: BTreeMap::new() })
    }

    pub(super) fn owns(&self, id: &InstanceId) -> bool {
        self.owned.contains_key(id)
    }

    pub(super) fn count(&self) -> usize {
        self.owned.len()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &InstanceId> {
        self.owned.keys()
    }

    /// Registers `id`, and does not wait for it.
    pub(super) async fn register(
        &mut self,
        service: &ServiceKey,
        id: &InstanceId,
        weight: u16,
    ) -> Result<()> {
        self.book.starts(id);
        let instance =
            Instance::builder(service).id(id).endpoint("http://127.0.0.1:1").weight(weight).build()?;
        let options = RegisterOptions::new().with_wait(Duration::ZERO);
        let registration = Arc::new(self.client.register(instance, options).await?);
        let watcher = note_lapses(registration.states(), id.clone(), self.book.clone());
        let watcher = Spawner::current()?.spawn(watcher);
        self.owned.insert(id.clone(), Owned { registration, _watcher: watcher });
        Ok(())
    }

    /// Changes `id`, and does not wait for it.
    pub(super) fn update(&self, id: &InstanceId, weight: u16) -> Result<()> {
        let Some(owned) = self.owned.get(id) else { return Ok(()) };
        let (registration, under_way) = (owned.registration.clone(), self.book.begins());
        Spawner::current()?.detach(async move {
            // What was not taken yet goes on being tried, which shows in the state of the registration.
            let _ = registration.update(Patch::new().weight(weight)).await;
            drop(under_way);
        });
        Ok(())
    }

    /// Leaves with goodbye, and does not wait for it.
    pub(super) fn leave(&mut self, id: &InstanceId, how: Leave) -> Result<()> {
        let Some(owned) = self.owned.remove(id) else { return Ok(()) };
        // Renewals end with this.
        self.book.lapses(id);
        let (id, book, under_way) = (id.clone(), self.book.clone(), self.book.begins());
        Spawner::current()?.detach(async move {
            let departure = match how {
                Leave::Drain(notice) => owned.registration.drain(notice).await,
                Leave::Deregister => owned.registration.deregister(LEAVES_WITHIN).await,
            };
            book.stops(&id);
            drop((departure, under_way));
        });
        Ok(())
    }

    /// Drops the handle of `id`, unless a write is under way: it would be recorded as if it came after.
    pub(super) fn let_go(&mut self, id: &InstanceId) {
        if self.book.is_written(id) {
            return;
        }
        if let Some(owned) = self.owned.remove(id) {
            self.book.lapses(id);
            self.book.stops(id);
            drop(owned);
        }
    }

    /// Ends without a word: nothing is written any more, and its connection breaks.
    pub(super) async fn crash(self) -> Result<()> {
        self.dead.store(true, Ordering::SeqCst);
        self.backend.close().await?;
        for id in self.owned.keys() {
            self.book.stops(id);
            self.book.lapses(id);
        }
        Ok(())
    }

    /// What the registry is to have of this process; the first that is not settled instead.
    pub(super) fn settled(&self) -> Result<Vec<(InstanceId, Pair)>, String> {
        let settled = |(id, owned): (&InstanceId, &Owned)| {
            let state = owned.registration.state();
            let pair = self.book.settled(id).filter(|_| state.is_registered());
            pair.map(|pair| (id.clone(), pair)).ok_or_else(|| format!("{id} is {state}"))
        };
        self.owned.iter().map(settled).collect()
    }
}

/// From a missed renewal on the lease may run out, and nobody owes the presence.
async fn note_lapses(
    mut states: impl StreamExt<Item = RegistrationState> + Unpin,
    id: InstanceId,
    book: Book,
) {
    while let Some(state) = states.next().await {
        let may_run_out = match &state {
            RegistrationState::Suspect { .. } => true,
            // What was lost is written again, and nobody knows whether it was.
            RegistrationState::Lost { cause, .. } => cause.counts_as_outage(),
            _ => false,
        };
        if may_run_out {
            book.lapses(&id);
        }
    }
}
