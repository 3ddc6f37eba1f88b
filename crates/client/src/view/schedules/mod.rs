//! Random schedules for the view: whatever registries say, its promises hold.

mod checks;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{
    Authority, Error, Health, Instance, InstanceId, Listing, Pair, ServiceKey, Skipped, Status, WatchEvent,
};
use tokio::time::Instant;

use self::checks::is_unfit;
use super::machine::ViewMachine;
use super::step::{Input, Output};
use super::{Freshness, Snapshot};
use crate::prober::Probed;

const SCHEDULES: u64 = 10_000;
const IDS: usize = 12;

/// One registry: what it holds, and where it is in its history.
#[derive(Debug, Clone, Default)]
struct Registry {
    holds: BTreeMap<InstanceId, Arc<Instance>>,
    epoch: u64,
    revision: u64,
}

struct World {
    rng: fastrand::Rng,
    now: Instant,
    machine: ViewMachine,
    owners: BTreeMap<InstanceId, Arc<Instance>>,
    /// What a probe finds where an owner was.
    answers: HashMap<InstanceId, Probed>,
    registries: [Registry; 2],
    incarnation: u64,
    settled: bool,
    asked: bool,
    /// Whom the last question was about.
    asked_about: Vec<InstanceId>,
    probing: Vec<InstanceId>,
    buried: HashMap<InstanceId, (Pair, Instant)>,
    held_since: HashMap<InstanceId, Instant>,
    confirmed: BTreeSet<InstanceId>,
    silent: BTreeSet<InstanceId>,
    /// Source and epoch of the last proven listing that was taken.
    origin: Option<(Arc<str>, u64)>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: fastrand::Rng::with_seed(seed),
            now: Instant::now(),
            machine: ViewMachine::new(ServiceKey::new("orders").unwrap(), true),
            owners: BTreeMap::new(),
            answers: HashMap::new(),
            registries: [Registry::default(), Registry::default()],
            incarnation: 0,
            settled: false,
            asked: false,
            asked_about: Vec::new(),
            probing: Vec::new(),
            buried: HashMap::new(),
            held_since: HashMap::new(),
            confirmed: BTreeSet::new(),
            silent: BTreeSet::new(),
            origin: None,
        }
    }

    fn some_id(&mut self) -> InstanceId {
        InstanceId::new(format!("i-{:02}", self.rng.usize(..IDS))).unwrap()
    }

    /// An owner changes, and tells the registries that it can reach.
    fn live(&mut self) {
        let id = self.some_id();
        self.incarnation += 1;
        let fresh = || Instance::builder("orders").id(&id).endpoint("http://127.0.0.1:1");
        let (instance, answers) = match (self.owners.get(&id), self.rng.u8(..10)) {
            (None, _) => (Some(fresh().pair(Pair::new(self.incarnation, 1))), Probed::Answering),
            // Dies without goodbye, or the process goes on without its registration.
            (Some(_), 6..) => {
                (None, [Probed::Silent, Probed::Answering, Probed::Impossible][self.rng.usize(..3)])
            }
            (Some(instance), choice) => {
                let pair = Pair::new(instance.incarnation, instance.seq + 1);
                let builder = instance.to_builder().pair(pair);
                let changed = if choice < 3 {
                    builder.weight(self.rng.u16(..3))
                } else {
                    builder.status(Status::Draining)
                };
                (Some(changed), Probed::Answering)
            }
        };
        self.answers.insert(id.clone(), answers);
        match instance {
            Some(builder) => {
                let instance = Arc::new(builder.build().unwrap());
                self.owners.insert(id.clone(), instance.clone());
                for registry in &mut self.registries {
                    if self.rng.u8(..10) > 0 {
                        registry.holds.insert(id.clone(), instance.clone());
                        registry.revision += 1;
                    }
                }
            }
            None => {
                self.owners.remove(&id);
                for registry in &mut self.registries {
                    if self.rng.u8(..10) > 0 && registry.holds.remove(&id).is_some() {
                        registry.revision += 1;
                    }
                }
            }
        }
    }

    /// A registry's check says something else of somebody, or of all as after an outage of whoever checks them.
    fn check_health(&mut self) {
        let (at, all) = (self.rng.usize(..2), self.rng.bool());
        let health = if self.rng.bool() { Health::Critical } else { Health::Passing };
        let chosen = self.some_id();
        let registry = &mut self.registries[at];
        for (_, instance) in registry.holds.iter_mut().filter(|(id, _)| all || **id == chosen) {
            *instance = Arc::new(instance.to_builder().health(health).build().unwrap());
        }
        registry.revision += 1;
    }

    /// Trouble in a registry itself.
    fn break_one(&mut self) {
        let at = self.rng.usize(..2);
        let registry = &mut self.registries[at];
        registry.revision += 1;
        if self.rng.bool() {
            registry.epoch += 1;
            registry.holds.clear();
        } else {
            let keep = self.rng.bool();
            registry.holds.retain(|_, _| keep && self.rng.bool());
        }
    }

    fn listing(&mut self) -> Listing {
        if self.settled {
            return self.listing_of(0, Authority::Quorum);
        }
        let at = usize::from(self.rng.u8(..5) == 0);
        let authority = match self.rng.u8(..10) {
            0 | 1 => Authority::Stale,
            2 => Authority::Single,
            _ => Authority::Quorum,
        };
        self.listing_of(at, authority)
    }

    fn listing_of(&mut self, at: usize, authority: Authority) -> Listing {
        let registry = self.registries[at].clone();
        let mut instances: Vec<_> = registry.holds.into_values().collect();
        let mut skipped = Vec::new();
        if self.rng.u8(..8) == 0 && !instances.is_empty() {
            let spoilt = instances.swap_remove(self.rng.usize(..instances.len()));
            skipped.push(Skipped::new(spoilt.id().as_str(), "garbage"));
        }
        let lag = if authority == Authority::Stale { self.rng.u64(..3) } else { 0 };
        Listing::new(["main", "backup"][at], authority, instances)
            .at(registry.epoch, registry.revision.saturating_sub(lag))
            .with_as_of(self.now)
            .with_skipped(skipped)
    }

    fn watch(&mut self, listing: &Listing) {
        let before = self.machine.shown().clone();
        self.step(Input::Watch(Ok(WatchEvent::Listing(listing.clone()))));
        self.check_listing(&before, listing, true);
    }

    fn step(&mut self, input: Input) {
        let before = self.machine.shown().clone();
        let proves_nothing = matches!(&input, Input::Watch(Err(_) | Ok(WatchEvent::Progress { .. })));
        let mut asks = false;
        for output in self.machine.step(input, self.now) {
            match output {
                Output::Ask => {
                    assert!(!self.asked, "one question at a time");
                    (self.asked, asks) = (true, true);
                }
                Output::Probe(instance) => {
                    // The probe of an earlier hold may still be under way.
                    self.probing.retain(|id| id != instance.id());
                    self.probing.push(instance.id().clone());
                }
                Output::Show { .. } | Output::Tell(_) => {}
            }
        }
        let after = self.machine.shown().clone();
        if asks {
            self.asked_about = after.held.to_vec();
        }
        if proves_nothing {
            assert_eq!(ids(&before), ids(&after), "an error and a sign of life remove nothing");
        }
        self.check_step(&before, &after);
    }

    fn answer(&mut self) {
        if self.asked && self.rng.bool() {
            self.asked = false;
            let answer = if self.rng.u8(..3) == 0 {
                Err(Error::unavailable("still down"))
            } else {
                Ok(self.listing())
            };
            let before = self.machine.shown().clone();
            if let Ok(listing) = &answer {
                let older = before.source.as_ref() == Some(&listing.source)
                    && (listing.epoch, listing.revision) < (before.epoch, before.revision);
                if listing.authority != Authority::Stale && !older {
                    let listed = |id: &InstanceId| {
                        listing.instances.iter().any(|instance| instance.id() == id && !is_unfit(instance))
                    };
                    self.confirmed.extend(
                        self.asked_about.drain(..).filter(|id| before.is_held(id.as_str()) && !listed(id)),
                    );
                }
            }
            let taken = answer.as_ref().ok().filter(|listing| listing.authority != Authority::Stale).cloned();
            self.step(Input::Asked(answer));
            if let Some(listing) = taken {
                self.check_listing(&before, &listing, false);
            }
        }
        let ended = self.rng.usize(..=self.probing.len());
        let results: Vec<_> = self
            .probing
            .drain(..ended)
            .map(|id| {
                let probed = self.answers.get(&id).copied().unwrap_or(Probed::Silent);
                (id, probed)
            })
            .collect();
        for (id, probed) in &results {
            if *probed == Probed::Silent {
                self.silent.insert(id.clone())
            } else {
                self.silent.remove(id)
            };
        }
        if !results.is_empty() {
            self.step(Input::Probed(results));
        }
    }

    /// Lets time pass, with everything that falls due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..10_000 {
            match self.machine.wake_at() {
                Some(at) if at <= end => {
                    self.now = self.now.max(at);
                    self.step(Input::Tick);
                    self.answer();
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("a hot loop");
    }
}

fn ids(snapshot: &Snapshot) -> Vec<InstanceId> {
    snapshot.instances.iter().map(|instance| instance.id().clone()).collect()
}

fn schedule(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..world.rng.u8(20..80) {
        match world.rng.u8(..100) {
            0..40 => world.live(),
            40..45 => world.break_one(),
            45..50 => world.check_health(),
            50..75 => {
                let listing = world.listing();
                world.watch(&listing);
            }
            75..80 => world.step(Input::Watch(Err(Error::unavailable("reset")))),
            80..85 => {
                let authority = if world.rng.bool() { Authority::Quorum } else { Authority::Stale };
                let as_of = world.now;
                world.step(Input::Watch(Ok(WatchEvent::Progress { authority, as_of })));
            }
            85..92 => world.answer(),
            _ => {
                let time = Duration::from_millis(world.rng.u64(..20_000));
                world.answer();
                world.pass(time);
            }
        }
    }
    // The registry settles, and everybody is where they say: the view becomes what it lists.
    world.answers.clear();
    world.settled = true;
    let listing = world.listing_of(0, Authority::Quorum);
    world.watch(&listing);
    world.pass(Duration::from_secs(310));
    let listing = world.listing_of(0, Authority::Quorum);
    let skipped: BTreeSet<_> = listing.skipped.iter().map(|skipped| skipped.id.to_string()).collect();
    world.watch(&listing);
    // Who could not be read before may have turned out to be critical.
    world.pass(Duration::from_secs(310));
    let shown = world.machine.shown().clone();
    assert!(matches!(shown.freshness, Freshness::Live));
    assert!(shown.held.is_empty(), "nothing is held for ever");
    for id in ids(&shown).iter().filter(|id| !skipped.contains(id.as_str())) {
        let listed = listing.instances.iter().find(|instance| instance.id() == id);
        let (shown, listed) = (shown.get(id.as_str()), listed.expect("nobody stays for ever"));
        let same_record = shown.filter(|shown| shown.pair() == listed.pair());
        assert!(same_record.is_none_or(|shown| shown.health == listed.health), "{id}: its health");
    }
}

#[test]
fn ten_thousand_random_schedules_keep_the_views_promises() {
    for seed in 0..SCHEDULES {
        let result = std::panic::catch_unwind(|| schedule(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}
