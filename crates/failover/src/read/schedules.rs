//! Random schedules for what is shown: whatever members say and whoever is read, it never goes back, and an error is never
//! an empty list.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Authority, Error, Instance, InstanceId, Listing, MemberState, Pair, WatchEvent};
use tokio::time::Instant;

use super::follow::Seen;
use super::position::Position;
use super::service::{Outlook, Picture, Service};
use crate::{Settings, Topology};

const SCHEDULES: u64 = 10_000;
const MEMBERS: usize = 3;

#[derive(Clone, Default)]
struct Registry {
    epoch: u64,
    revision: u64,
    held: BTreeMap<u8, Arc<Instance>>,
}

struct World {
    dice: fastrand::Rng,
    now: Instant,
    topology: Topology,
    service: Service,
    registries: Vec<Registry>,
    picture: Picture,
    seen: Seen,
    position: (u64, u64),
    /// The highest pair of each id that a follower has seen.
    highest: BTreeMap<InstanceId, Pair>,
    shown: Option<Listing>,
    trouble: bool,
    seq: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let topology = [Topology::Mirror, Topology::Standby, Topology::Union][dice.usize(..3)];
        let settings = Arc::new(Settings::default().with_topology(topology));
        let sources: Arc<[Arc<str>]> = ["dr", "dr/a", "dr/b", "dr/c"].map(Arc::from).into();
        let now = Instant::now();
        let outlook = Outlook { state: MemberState::Healthy, since: now, cause: None };
        let picture = Picture { members: vec![outlook; MEMBERS], active: 0, forced: false };
        Self {
            dice,
            now,
            topology,
            service: Service::new(settings, sources, Position::default(), 0),
            registries: vec![Registry::default(); MEMBERS],
            picture,
            seen: Seen::default(),
            position: (0, 0),
            highest: BTreeMap::new(),
            shown: None,
            trouble: false,
            seq: 0,
        }
    }

    fn listing(&self, member: usize, authority: Authority) -> Listing {
        let registry = &self.registries[member];
        let instances = registry.held.values().cloned().collect();
        Listing::new("m", authority, instances).at(registry.epoch, registry.revision).with_as_of(self.now)
    }

    fn write(&mut self) {
        let id = self.dice.u8(..6);
        self.seq += 1;
        let instance = Instance::builder("orders").id(id.to_string()).endpoint("http://127.0.0.1:1");
        let instance = Arc::new(instance.pair(Pair::new(1, self.seq)).build().unwrap());
        let gone = self.dice.u8(..4) == 0;
        for member in 0..MEMBERS {
            if self.dice.u8(..5) == 0 {
                continue;
            }
            let registry = &mut self.registries[member];
            registry.revision += 1;
            if gone {
                registry.held.remove(&id);
            } else {
                registry.held.insert(id, instance.clone());
            }
        }
    }

    fn step(&mut self) {
        let member = self.dice.usize(..MEMBERS);
        self.now += Duration::from_millis(self.dice.u64(1..2000));
        match self.dice.u8(..100) {
            0..25 => self.write(),
            25..55 => {
                let authority = if self.dice.u8(..8) == 0 { Authority::Stale } else { Authority::Quorum };
                let listing = self.listing(member, authority);
                self.service.take(member, Ok(WatchEvent::Listing(listing)), &self.picture, self.now);
            }
            55..63 => {
                let item = Err(Error::unavailable("reset"));
                self.service.take(member, item, &self.picture, self.now);
            }
            63..70 => {
                let item = Ok(WatchEvent::Progress { authority: Authority::Quorum, as_of: self.now });
                self.service.take(member, item, &self.picture, self.now);
            }
            70..74 => {
                let registry = &mut self.registries[member];
                (registry.epoch, registry.revision) = (registry.epoch + 1, 0);
                registry.held.clear();
            }
            74..86 => {
                let states =
                    [MemberState::Healthy, MemberState::Down, MemberState::Degraded, MemberState::Recovering];
                let state = states[self.dice.usize(..states.len())];
                let cause = (state == MemberState::Down).then(|| Error::unavailable("down"));
                self.picture.members[member] = Outlook { state, since: self.now, cause };
                self.picture.active = self.dice.usize(..MEMBERS);
                self.picture.forced = self.dice.u8(..10) == 0;
                self.service.refresh(&self.picture, self.now);
            }
            _ => {
                let listing = self.listing(member, Authority::Quorum);
                for _ in 0..2 {
                    if let Some(answer) = self.ask(member, &listing) {
                        self.placed(&answer);
                    }
                }
                // Who is asked again and says the same is no news to anybody: it would be asked for ever.
                let shown = self.service.shown.listing_no;
                self.ask(member, &listing);
                assert_eq!(self.service.shown.listing_no, shown, "followers are told of nothing");
            }
        }
        self.follow();
    }

    fn ask(&mut self, member: usize, listing: &Listing) -> Option<Listing> {
        if self.topology == Topology::Union && !self.picture.forced {
            let answers = [(member, Some(listing.clone())), ((member + 1) % MEMBERS, None)];
            self.service.answered_all(&answers, &self.picture, self.now)
        } else {
            self.service.answered(member, listing, &self.picture, self.now)
        }
    }

    /// What is handed over never goes back, whoever it comes from; the same place is the same content.
    fn placed(&mut self, listing: &Listing) {
        let place = (listing.epoch, listing.revision);
        assert!(
            place >= self.position || listing.authority == Authority::Stale,
            "{place:?} after {:?}",
            self.position
        );
        self.position = self.position.max(place);
        assert!(listing.instances.is_sorted_by(|a, b| a.id() < b.id()));
        assert!(listing.source.starts_with("dr"));
    }

    /// No follower sees anybody go back to a former version.
    fn is_newest(&mut self, listing: &Listing) {
        for instance in listing.instances.iter() {
            let highest = self.highest.entry(instance.id().clone()).or_default();
            assert!(instance.pair() >= *highest, "a former version: {} after {highest}", instance.pair());
            *highest = instance.pair();
        }
    }

    fn follow(&mut self) {
        // A follower may be slow: it still comes to see the last.
        if self.dice.u8(..3) == 0 {
            return;
        }
        self.catch_up();
    }

    fn catch_up(&mut self) {
        while let Some(item) = self.seen.next(&self.service.shown.clone()) {
            match item {
                Ok(WatchEvent::Listing(listing)) => {
                    self.placed(&listing);
                    self.is_newest(&listing);
                    (self.trouble, self.shown) = (false, Some(listing));
                }
                Ok(_) => assert!(!self.trouble, "after an error comes a listing"),
                Err(error) => {
                    assert!(error.counts_as_outage());
                    self.trouble = true;
                }
            }
        }
    }

    fn heal(&mut self) {
        self.picture.active = 0;
        self.picture.forced = false;
        for member in 0..MEMBERS {
            let since = self.now;
            self.picture.members[member] = Outlook { state: MemberState::Healthy, since, cause: None };
        }
        self.now += Duration::from_secs(60);
        for member in 0..MEMBERS {
            let listing = self.listing(member, Authority::Quorum);
            self.service.take(member, Ok(WatchEvent::Listing(listing)), &self.picture, self.now);
        }
        self.now += Duration::from_secs(60);
        for member in 0..MEMBERS {
            let item = Ok(WatchEvent::Progress { authority: Authority::Quorum, as_of: self.now });
            self.service.take(member, item, &self.picture, self.now);
        }
        self.catch_up();
        let shown = self.shown.as_ref().expect("everybody has said something");
        assert!(!self.trouble && shown.authority == Authority::Quorum);
        let mut expected = self.registries[0].held.clone();
        if self.topology == Topology::Union {
            for registry in &self.registries {
                for (id, instance) in &registry.held {
                    let held = expected.entry(*id).or_insert_with(|| instance.clone());
                    if instance.pair() > held.pair() {
                        *held = instance.clone();
                    }
                }
            }
        }
        let newest =
            |one: &Instance| self.highest.get(one.id()).copied().max(Some(one.pair())).unwrap_or_default();
        let expected: Vec<_> = expected.values().map(|one| (one.id().clone(), newest(one))).collect();
        let found: Vec<_> = shown.instances.iter().map(|one| (one.id().clone(), one.pair())).collect();
        assert_eq!(found, expected, "{}", self.topology);
    }
}

#[test]
fn ten_thousand_random_schedules_keep_what_is_shown_in_order() {
    for seed in 0..SCHEDULES {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..world.dice.usize(10..80) {
                world.step();
            }
            world.heal();
        });
        assert!(result.is_ok(), "seed {seed}");
    }
}
