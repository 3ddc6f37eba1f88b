//! A process that registers instances, over a connection of its own, and ends in one way or another.

use std::collections::{BTreeMap, BTreeSet};
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
pub(crate) enum Leave {
    Drain(Duration),
    Deregister,
}

/// A running process.
pub(crate) struct Process {
    client: Client,
    dead: Arc<AtomicBool>,
    book: Book,
    owned: BTreeMap<InstanceId, Owned>,
    /// Who has begun to leave, and may have ended since.
    leaving: BTreeSet<InstanceId>,
}

struct Owned {
    registration: Arc<Registration>,
    _watcher: Task,
}

impl Process {
    pub(crate) fn start(backend: Arc<dyn Backend>, ttl: Ttl, book: &Book) -> Result<Self> {
        let dead = Arc::<AtomicBool>::default();
        let recorded = Recorded { inner: backend, book: book.clone(), dead: dead.clone() };
        let client = Client::builder(Arc::new(recorded)).ttl(ttl).build()?;
        Ok(Self { client, dead, book: book.clone(), owned: BTreeMap::new(), leaving: BTreeSet::new() })
    }

    pub(crate) fn owns(&self, id: &InstanceId) -> bool {
        self.owned.contains_key(id)
    }

    pub(crate) fn count(&self) -> usize {
        self.owned.len()
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &InstanceId> {
        self.owned.keys()
    }

    /// Registers `id`, and does not wait for it.
    pub(crate) async fn register(
        &mut self,
        service: &ServiceKey,
        id: &InstanceId,
        weight: u16,
    ) -> Result<()> {
        self.book.starts(id);
        // Each where nobody else is: some registries know an instance by that.
        let number: u8 = id
            .as_str()
            .bytes()
            .filter(u8::is_ascii_digit)
            .fold(0, |all, digit| all.wrapping_mul(10).wrapping_add(digit - b'0'));
        let endpoint = format!("http://127.0.0.{}:1", number.wrapping_add(1));
        let instance =
            Instance::builder(service).id(id).endpoint(endpoint.as_str()).weight(weight).build()?;
        let options = RegisterOptions::new().with_wait(Duration::ZERO);
        let registration = Arc::new(self.client.register(instance, options).await?);
        let watcher = note_lapses(registration.states(), id.clone(), self.book.clone());
        let watcher = Spawner::current()?.spawn(watcher);
        self.owned.insert(id.clone(), Owned { registration, _watcher: watcher });
        Ok(())
    }

    /// Changes `id`, and does not wait for it.
    pub(crate) fn update(&self, id: &InstanceId, weight: u16) -> Result<()> {
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
    pub(crate) fn leave(&mut self, id: &InstanceId, how: Leave) -> Result<()> {
        let Some(owned) = self.owned.remove(id) else { return Ok(()) };
        // Renewals end with this.
        self.book.lapses(id);
        self.leaving.insert(id.clone());
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
    pub(crate) fn let_go(&mut self, id: &InstanceId) {
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
    pub(crate) fn crash(self) {
        self.dead.store(true, Ordering::SeqCst);
        for id in self.owned.keys() {
            self.book.stops(id);
            self.book.lapses(id);
        }
        // The notice of who leaves was a write, too, and there will be no deletion.
        for id in self.leaving.iter().filter(|id| self.book.is_running(id)) {
            self.book.lapses(id);
        }
    }

    /// What the registry is to have of this process; the first that is not settled instead.
    pub(crate) fn settled(&self) -> Result<Vec<(InstanceId, Pair)>, String> {
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
