//! The schedule of one seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use callsign_client::{Client, Freshness, ServiceView};
use callsign_core::task::{Spawner, Task};
use callsign_core::{Health, InstanceId, InstanceKey, ServiceKey};
use callsign_memory::{Fault, Store};
use callsign_testkit::ChaosControl;
use callsign_testkit::chaos::Rates;
use callsign_testkit::history::{Bounds, History};
use futures::StreamExt;

use super::faults::Faults;
use super::owner::{Owner, Processes, TTL, client_with};

const OWNERS: usize = 20;
const VIEWS: usize = 5;
const STEPS: usize = 500;
/// Faults last up to this, and may follow one another.
const LONGEST_FAULT: Duration = Duration::from_secs(10);
/// What a view may be behind while faults come and go: several of them in a row. What it has dropped may come back
/// only for as long as a delayed answer is under way.
const LATE: Bounds = Bounds::both(Duration::from_secs(60)).with_returns(Duration::from_secs(3));
/// How long after the last fault all views must be right: the promise of the whole.
const SETTLED: Duration = Duration::from_secs(TTL.as_secs() + 10);
/// How long the expired stay listed as critical in every third world; for so long that some come back meanwhile.
const KEPT: Duration = Duration::from_secs(60);
/// Fewer live instances than this would make single removals look like mass loss, and the reverse.
const AT_LEAST: usize = 8;

pub(crate) struct World {
    dice: fastrand::Rng,
    store: Store,
    history: History,
    processes: Processes,
    owners: BTreeMap<InstanceId, Owner>,
    views: Vec<Watcher>,
    faults: Faults,
}

struct Watcher {
    view: ServiceView,
    control: ChaosControl,
    _client: Client,
    _recorder: Task,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = Self {
            dice: fastrand::Rng::with_seed(seed),
            store: if seed.is_multiple_of(3) { Store::keeping_expired(KEPT) } else { Store::new() },
            history: History::new(),
            processes: Processes::default(),
            owners: BTreeMap::new(),
            views: Vec::new(),
            faults: Faults::default(),
        };
        for nth in 0..VIEWS {
            let watcher = world.watcher(&format!("view-{nth}"));
            world.views.push(watcher);
        }
        world
    }

    fn watcher(&mut self, name: &str) -> Watcher {
        let seed = self.dice.u64(..);
        let (client, control) =
            client_with(&self.store, seed, self.processes.clone(), |chaos| Arc::new(chaos));
        control.set_rates(self.some_rates());
        let view = client.service(ServiceKey::new("orders").unwrap());
        let recorder =
            Spawner::current().unwrap().spawn(record(view.clone(), self.history.clone(), name.to_owned()));
        Watcher { view, control, _client: client, _recorder: recorder }
    }

    fn some_rates(&mut self) -> Rates {
        [Rates::none(), Rates::healthy(), Rates::hostile()][self.dice.usize(..3)]
    }

    /// Lives, heals, settles, and is held against the rules.
    pub(crate) async fn run(mut self) {
        for nth in 0..OWNERS {
            self.start(&InstanceId::new(format!("i-{nth:02}")).unwrap()).await;
        }
        for _ in 0..STEPS {
            tokio::time::sleep(Duration::from_millis(self.dice.u64(..500))).await;
            self.faults.heal_due();
            self.step().await;
        }
        self.faults.heal_all();
        for watcher in &self.views {
            watcher.control.set_rates(Rates::none());
        }
        for owner in self.owners.values() {
            owner.control.set_rates(Rates::none());
        }
        tokio::time::sleep(SETTLED).await;
        self.check();
    }

    async fn start(&mut self, id: &InstanceId) {
        let seed = self.dice.u64(..);
        let owner = Owner::start(id, &self.store, seed, &self.history, &self.processes).await;
        owner.control.set_rates(self.some_rates());
        self.owners.insert(id.clone(), owner);
    }

    fn some_id(&mut self) -> InstanceId {
        InstanceId::new(format!("i-{:02}", self.dice.usize(..OWNERS))).unwrap()
    }

    fn some_time(&mut self) -> Duration {
        LONGEST_FAULT.mul_f64(self.dice.f64())
    }

    async fn step(&mut self) {
        let id = self.some_id();
        let may_end = self.owners.len() > AT_LEAST;
        match self.dice.u8(..100) {
            0..40 => match self.owners.get(&id) {
                Some(owner) => owner.update(self.dice.u16(1..)),
                // One owner at a time: who leaves still runs.
                None if !self.processes.run(&id) => self.start(&id).await,
                None => {}
            },
            40..52 if may_end => {
                if let Some(owner) = self.owners.remove(&id) {
                    let notice = Duration::from_millis(self.dice.u64(..3000));
                    owner.leave(notice);
                }
            }
            52..60 if may_end => {
                if let Some(owner) = self.owners.remove(&id) {
                    owner.crash();
                }
            }
            60..70 => {
                if let Some(owner) = self.owners.get(&id) {
                    let control = owner.control.clone();
                    let (freeze, lasts) = (self.dice.bool(), self.some_time());
                    self.faults.cut(control, freeze, lasts);
                }
            }
            70..80 => {
                let control = self.views[self.dice.usize(..VIEWS)].control.clone();
                let (freeze, lasts) = (self.dice.bool(), self.some_time());
                self.faults.cut(control, freeze, lasts);
            }
            80..86 => self.break_the_registry(),
            86 => self.store.wipe(),
            87..89 if may_end => {
                // An operator's mistake is an unannounced removal: views may believe it, and the owner repairs it.
                if let Some(owner) = self.owners.get(&id).filter(|owner| !owner.is_writing()) {
                    owner.lapse();
                    self.store.delete(&InstanceKey::new(ServiceKey::new("orders").unwrap(), id));
                }
            }
            89..91 => {
                if let Some(owner) = self.owners.get(&id) {
                    self.store
                        .garbage(&InstanceKey::new(ServiceKey::new("orders").unwrap(), owner.id.clone()));
                }
            }
            _ => {}
        }
    }

    fn break_the_registry(&mut self) {
        let all =
            [Fault::Unavailable, Fault::Frozen, Fault::Stale, Fault::LostAcknowledgement, Fault::Partial];
        let (fault, lasts) = (all[self.dice.usize(..all.len())], self.some_time());
        self.faults.inject(&self.store, fault, lasts);
    }

    fn check(&self) {
        for owner in self.owners.values() {
            let state = owner.registration.state();
            assert!(state.is_registered(), "{} is lost: {state}", owner.id);
        }
        for watcher in &self.views {
            let snapshot = watcher.view.snapshot();
            assert!(snapshot.freshness.is_live(), "a view is not live again: {:?}", snapshot.freshness);
        }
        if let Err(violation) = self.history.check(&LATE) {
            panic!("{violation}");
        }
    }
}

/// Writes down what a view shows, from its first answer on.
async fn record(view: ServiceView, history: History, name: String) {
    let sights = history.view(&name);
    let mut snapshots = view.snapshots();
    while let Some(snapshot) = snapshots.next().await {
        if !matches!(snapshot.freshness, Freshness::Unknown { .. }) {
            // Who is critical gets no traffic.
            let living = snapshot.instances.iter().filter(|instance| instance.health != Health::Critical);
            sights.shows(living.map(|instance| (instance.id().clone(), instance.pair())));
        }
    }
}
