//! A process that registers itself, lives, and ends in one way or another.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callsign_client::{Client, Patch, Probed, Prober, RegisterOptions, Registration, RegistrationState};
use callsign_core::task::{Spawner, Task};
use callsign_core::{Backend, Instance, InstanceId, Ttl, async_trait};
use callsign_memory::{Memory, Store};
use callsign_testkit::history::History;
use callsign_testkit::{Chaos, ChaosControl};
use futures::StreamExt;

use super::recorded::Recorded;

/// The ids whose process runs, and so answers a probe.
#[derive(Debug, Clone, Default)]
pub(crate) struct Processes(Arc<Mutex<BTreeSet<InstanceId>>>);

impl Processes {
    fn start(&self, id: &InstanceId) {
        self.0.lock().unwrap().insert(id.clone());
    }

    pub(crate) fn run(&self, id: &InstanceId) -> bool {
        self.0.lock().unwrap().contains(id)
    }

    pub(crate) fn stop(&self, id: &InstanceId) {
        self.0.lock().unwrap().remove(id);
    }
}

#[async_trait]
impl Prober for Processes {
    async fn probe(&self, instance: &Instance) -> Probed {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..400))).await;
        if self.run(instance.id()) { Probed::Answering } else { Probed::Silent }
    }
}

/// A client of the registry with a way to it that can be cut.
pub(crate) fn client(
    store: &Store,
    seed: u64,
    wrap: impl FnOnce(Chaos) -> Arc<dyn Backend>,
) -> (Client, ChaosControl) {
    client_with(store, seed, Processes::default(), wrap)
}

pub(crate) fn client_with(
    store: &Store,
    seed: u64,
    processes: Processes,
    wrap: impl FnOnce(Chaos) -> Arc<dyn Backend>,
) -> (Client, ChaosControl) {
    let chaos = Chaos::new(Arc::new(Memory::new(store.clone(), "registry")), seed);
    let control = chaos.control();
    (Client::builder(wrap(chaos)).prober(processes).build().unwrap(), control)
}

/// A running process.
pub(crate) struct Owner {
    pub(crate) id: InstanceId,
    pub(crate) control: ChaosControl,
    pub(crate) registration: Arc<Registration>,
    lapsed: Arc<AtomicBool>,
    writing: Arc<AtomicBool>,
    dead: Arc<AtomicBool>,
    history: History,
    processes: Processes,
    _watcher: Task,
}

pub(crate) const TTL: Duration = Duration::from_secs(6);

impl Owner {
    /// Starts a process that registers as `id`, and does not wait for it.
    pub(crate) async fn start(
        id: &InstanceId,
        store: &Store,
        seed: u64,
        history: &History,
        processes: &Processes,
    ) -> Self {
        let [lapsed, writing, dead] = std::array::from_fn(|_| Arc::<AtomicBool>::default());
        let (client, control) = client(store, seed, |chaos| {
            Arc::new(Recorded {
                inner: Arc::new(chaos),
                history: history.clone(),
                lapsed: lapsed.clone(),
                writing: writing.clone(),
                dead: dead.clone(),
            })
        });
        processes.start(id);
        let instance = Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").build().unwrap();
        let options = RegisterOptions::new().with_ttl(Ttl::new(TTL).unwrap()).with_wait(Duration::ZERO);
        let registration = Arc::new(client.register(instance, options).await.unwrap());
        let watcher = Spawner::current().unwrap().spawn(note_lapses(
            registration.states(),
            id.clone(),
            history.clone(),
            lapsed.clone(),
        ));
        Self {
            id: id.clone(),
            control,
            registration,
            lapsed,
            writing,
            dead,
            history: history.clone(),
            processes: processes.clone(),
            _watcher: watcher,
        }
    }

    /// Changes the instance, and does not wait for it.
    pub(crate) fn update(&self, weight: u16) {
        let registration = self.registration.clone();
        Spawner::current().unwrap().detach(async move {
            // A change that comes too late, or late, is none of the simulation's concern.
            let _ = registration.update(Patch::new().weight(weight)).await;
        });
    }

    /// Whether a write is under way, so that nobody knows what the registry holds.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.load(Ordering::SeqCst)
    }

    /// From now on nobody owes its presence, until the registry next proves it.
    pub(crate) fn lapse(&self) {
        self.lapsed.store(true, Ordering::SeqCst);
        self.history.lapses(&self.id);
    }

    /// Leaves with goodbye, and then ends.
    pub(crate) fn leave(self, notice: Duration) {
        // Renewals have ended.
        self.lapse();
        Spawner::current().unwrap().detach(async move {
            let departure = self.registration.drain(notice).await;
            self.processes.stop(&self.id);
            drop(departure);
        });
    }

    /// Ends without a word.
    pub(crate) fn crash(self) {
        self.dead.store(true, Ordering::SeqCst);
        self.processes.stop(&self.id);
        self.history.lapses(&self.id);
    }
}

/// From a missed renewal on the lease may run out, and nobody owes the presence.
async fn note_lapses(
    mut states: impl StreamExt<Item = RegistrationState> + Unpin,
    id: InstanceId,
    history: History,
    lapsed: Arc<AtomicBool>,
) {
    while let Some(state) = states.next().await {
        let may_run_out = match &state {
            RegistrationState::Suspect { .. } => true,
            // What was lost is written again, and nobody knows whether it was.
            RegistrationState::Lost { cause, .. } => cause.counts_as_outage(),
            _ => false,
        };
        if may_run_out && !lapsed.swap(true, Ordering::SeqCst) {
            history.lapses(&id);
        }
    }
}
