//! Everything that may happen, in an order that a seed decides.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use callsign_core::{InstanceId, InstanceKey};
use callsign_failover::Topology;
use callsign_memory::{Fault, FaultGuard};
use callsign_testkit::chaos::Rates;
use callsign_testkit::history::{Bounds, Rule};
use tokio::time::{Instant, sleep};

use super::owner::{Owed, TTL};
use super::site::{BACKUP, MAIN};
use super::support::{Trouble, Way};
use super::table::live;
use super::world::{ONLOOKERS, ORDERS, SETTLED, World, id, orders};

const STEPS: usize = 500;
/// The longest time for which a member has to stay well until it is returned to, and how long it may be left alone before.
const TOGETHER: Duration = Duration::from_secs(600 + 60);
/// For how long a standby that was switched to shows whom it lacks.
const SHOWN_ON: Duration = Duration::from_secs(30);
/// Faults last up to this, and may follow one another.
const LONGEST_FAULT: Duration = Duration::from_secs(20);
/// What a view may be behind while faults of two registries come and go. Who has left while a view went from one of them
/// to the other, so that it has not seen the notice, may be seen again at the one that has not heard of it: until the
/// lease ends there, and that is told.
const LATE: Bounds =
    Bounds::both(Duration::from_secs(60)).with_returns(Duration::from_secs(TTL.as_secs() + 10));
/// Where everybody loses both registries, one after the other and again, nobody hears anything for longer.
const ALL_AWAY: Bounds =
    Bounds::both(Duration::from_secs(120)).with_returns(Duration::from_secs(TTL.as_secs() + 10));
/// On standby, a process that cannot reach the member where the others are knows nothing of them: for as long as it holds whom
/// it knows, it shows who has left.
const APART: Bounds = Bounds::both(Duration::from_secs(300 + 60))
    .with_returns(Duration::from_secs(TTL.as_secs() + 10 + SHOWN_ON.as_secs()));
/// Fewer live instances than this would make single removals look like mass loss, and the reverse.
const AT_LEAST: usize = 8;

fn setting<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// As many lives as are wanted, a third of them in each topology, each by a seed of its own.
pub(crate) async fn schedule(topology: Topology) {
    // Each life has a clock of its own.
    let lives = tokio::task::spawn_blocking(move || lives(topology));
    lives.await.unwrap();
}

fn lives(topology: Topology) {
    let of = |seed: u64| {
        [Topology::Mirror, Topology::Standby, Topology::Union][usize::try_from(seed % 3).unwrap()]
    };
    let one: Option<u64> = setting("CALLSIGN_SIM_SEED");
    let seeds = setting("CALLSIGN_SIM_SEEDS").unwrap_or(6);
    let all: Vec<u64> = one.map_or_else(|| (0..seeds).collect(), |seed| vec![seed]);
    let seeds: Vec<u64> = all.into_iter().filter(|seed| of(*seed) == topology).collect();
    let failed = Mutex::new(Vec::new());
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(seed) =
                    seeds.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap())
                {
                    let life = || live(*seed, async { Life::new(topology, *seed).run().await });
                    if catch_unwind(AssertUnwindSafe(life)).is_err() {
                        failed.lock().unwrap().push(*seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "run one again with CALLSIGN_SIM_SEED; failed of {} seeds: {failed:?}",
        seeds.len()
    );
}

/// Whom a fault of a way concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ways {
    /// One process at a time: its way to one registry.
    Apart,
    /// All processes: they reach a registry, or they do not.
    Together,
}

enum Up {
    Way(Way),
    Ways { member: usize },
    Store { member: usize, _guard: FaultGuard },
}

struct Life {
    world: World,
    ways: Ways,
    faults: Vec<(Instant, Up)>,
}

impl Life {
    fn new(topology: Topology, seed: u64) -> Self {
        let ways = if (seed / 3).is_multiple_of(2) { Ways::Apart } else { Ways::Together };
        Self { world: World::new(topology, seed, Owed::WhileRenewed), ways, faults: Vec::new() }
    }

    async fn run(mut self) {
        for onlooker in 0..ONLOOKERS {
            let rates = self.some_rates();
            self.world.onlookers[onlooker].site.set_rates(rates);
        }
        self.world.populate().await;
        for _ in 0..STEPS {
            sleep(Duration::from_millis(self.world.dice.u64(..500))).await;
            self.heal(|at, now| at <= now);
            self.step().await;
        }
        self.heal(|_, _| true);
        let sites = self.world.owners.values().map(|owner| &owner.site);
        for site in sites.chain(self.world.onlookers.iter().map(|one| &one.site)) {
            site.set_rates(Rates::none());
        }
        if self.world.topology == Topology::Standby {
            // Processes that were cut off apart read apart, until the last of them has returned: a documented limit.
            self.world.until("all together again", TOGETHER, World::reads_together).await;
        }
        let settled = if self.world.topology == Topology::Standby { SETTLED + SHOWN_ON } else { SETTLED };
        sleep(settled).await;
        self.world
            .well()
            .unwrap_or_else(|wrong| panic!("not well {settled:?} after the last fault: {wrong}"));
        self.world.until_full_members(Duration::ZERO).await;
        // Where an owner's way to the member that is read is bad for longer than its lease, its record ends there alone: a
        // single removal that nobody has announced, which a view believes. That nobody is left is owed all the same. A
        // union takes two ways that are bad at the same time.
        let gaps = self.ways == Ways::Apart;
        let late = match (self.world.topology, self.ways) {
            (Topology::Standby, _) => APART,
            (_, Ways::Apart) => LATE,
            (_, Ways::Together) => ALL_AWAY,
        };
        self.world.nothing_was_wrong(&late, |rule| rule != Rule::NoGaps || !gaps).await;
    }

    fn some_rates(&mut self) -> Rates {
        let all = [Rates::none(), Rates::healthy(), Rates::hostile()];
        all[self.world.dice.usize(..if self.ways == Ways::Apart { 3 } else { 2 })]
    }

    fn some_time(&mut self) -> Duration {
        LONGEST_FAULT.mul_f64(self.world.dice.f64())
    }

    fn some_trouble(&mut self) -> Trouble {
        let all = [
            Trouble::Refused,
            Trouble::Silent,
            Trouble::Deaf,
            Trouble::Denied,
            Trouble::Limited,
            Trouble::WritesFail,
            Trouble::Slow(Duration::from_millis(700)),
            Trouble::Lossy(50),
            Trouble::Minority,
            Trouble::Mute,
        ];
        all[self.world.dice.usize(..all.len())]
    }

    fn heal(&mut self, due: impl Fn(Instant, Instant) -> bool) {
        let now = Instant::now();
        for (_, up) in self.faults.extract_if(.., |(at, _)| due(*at, now)) {
            match up {
                Up::Way(way) => way.set(Trouble::None),
                Up::Ways { member } => self.world.trouble(member, Trouble::None),
                Up::Store { .. } => {}
            }
        }
    }

    async fn step(&mut self) {
        let nth = self.world.dice.usize(..ORDERS + 8);
        let (id, service) = if nth < ORDERS {
            (id(&format!("o-{nth:02}")), orders())
        } else {
            (id(&format!("p-{:02}", nth - ORDERS)), super::world::payments())
        };
        let live = self.world.owners.values().filter(|owner| owner.service == service).count();
        let may_end = live > AT_LEAST.min(if service == orders() { 8 } else { 5 });
        let member = if self.world.dice.u8(..3) == 0 { BACKUP } else { MAIN };
        match self.world.dice.u8(..100) {
            0..40 => self.touch(&id, &service).await,
            40..50 if may_end => {
                if let Some(owner) = self.world.owners.remove(&id) {
                    owner.leave_by_itself();
                }
            }
            50..56 if may_end => {
                if let Some(owner) = self.world.owners.remove(&id) {
                    owner.crash();
                }
            }
            56..80 if self.ways == Ways::Together => self.disturb_everybody(member),
            56..68 => {
                if let Some(owner) = self.world.owners.get(&id) {
                    let way = owner.site.way(member).clone();
                    self.disturb(way);
                }
            }
            68..80 => {
                let onlooker = self.world.dice.usize(..ONLOOKERS);
                let way = self.world.onlookers[onlooker].site.way(member).clone();
                self.disturb(way);
            }
            80..90 => self.break_a_registry(member),
            90 => self.world.stores[member].wipe(),
            91..93 if may_end => {
                // An operator's mistake is an unannounced removal: views may believe it, and the owner repairs it.
                if let Some(owner) = self.world.owners.get(&id) {
                    owner.lapse();
                    self.world.stores[member].delete(&InstanceKey::new(service, id));
                }
            }
            93..95 => self.world.stores[member].garbage(&InstanceKey::new(service, id)),
            _ => {}
        }
    }

    async fn touch(&mut self, id: &InstanceId, service: &callsign_core::ServiceKey) {
        match self.world.owners.get(id) {
            Some(owner) => {
                let weight = self.world.dice.u16(1..);
                owner.update(weight);
            }
            // One owner at a time: who leaves still runs.
            None if !self.world.book.runs(id) => {
                self.world.start(id, service).await;
                let rates = self.some_rates();
                self.world.owners[id].site.set_rates(rates);
            }
            None => {}
        }
    }

    fn disturb(&mut self, way: Way) {
        let (trouble, lasts) = (self.some_trouble(), self.some_time());
        way.set(trouble);
        self.faults.push((Instant::now() + lasts, Up::Way(way)));
    }

    fn disturb_everybody(&mut self, member: usize) {
        let (trouble, lasts) = (self.some_trouble(), self.some_time());
        let up = |(_, up): &(Instant, Up)| matches!(up, Up::Ways { member: of } if *of == member);
        if !self.faults.iter().any(up) {
            self.world.trouble(member, trouble);
            self.faults.push((Instant::now() + lasts, Up::Ways { member }));
        }
    }

    /// For everybody; one such fault of a registry at a time.
    fn break_a_registry(&mut self, member: usize) {
        let all =
            [Fault::Unavailable, Fault::Frozen, Fault::Stale, Fault::LostAcknowledgement, Fault::Partial];
        let (fault, lasts) = (all[self.world.dice.usize(..all.len())], self.some_time());
        let up = |(_, up): &(Instant, Up)| matches!(up, Up::Store { member: of, .. } if *of == member);
        if !self.faults.iter().any(up) {
            let guard = self.world.fault(member, fault);
            self.faults.push((Instant::now() + lasts, Up::Store { member, _guard: guard }));
        }
    }
}
