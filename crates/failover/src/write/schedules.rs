//! Random schedules for the ledger: whatever members do and owners want, no old write follows a newer removal, and in the end
//! every member has what is wanted and nothing else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use callsign_core::{Error, ErrorKind, Instance, InstanceKey, Pair, Receipt, Record, Result, Ttl};
use tokio::time::Instant;

use super::entry::{Mode, Output, Verb};
use super::ledger::{Job, Ledger};
use super::removals::WAITING;

const SCHEDULES: u64 = 10_000;
const TTL: Duration = Duration::from_secs(6);
const MEMBERS: usize = 3;

/// One registry: what it has, until when, and what is under way to it.
#[derive(Default)]
struct Registry {
    held: HashMap<InstanceKey, (Pair, Instant)>,
    running: Vec<Job>,
    away: bool,
    refuses: Option<InstanceKey>,
}

struct World {
    dice: fastrand::Rng,
    now: Instant,
    ledger: Ledger,
    registries: Vec<Registry>,
    /// What each owner wants: a pair, or nothing.
    wanted: BTreeMap<InstanceKey, Option<Record>>,
    /// The highest pair whose owner has removed it.
    removed: HashMap<InstanceKey, Pair>,
    expected: HashMap<u64, usize>,
    journal: HashMap<InstanceKey, Vec<usize>>,
    seq: u64,
    /// Whether answers get lost.
    loses: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            dice: fastrand::Rng::with_seed(seed),
            now: Instant::now(),
            ledger: Ledger::new(MEMBERS),
            registries: (0..MEMBERS).map(|_| Registry::default()).collect(),
            wanted: BTreeMap::new(),
            removed: HashMap::new(),
            expected: HashMap::new(),
            journal: HashMap::new(),
            seq: 0,
            loses: true,
        }
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Answer { call, .. } => {
                    let left = self.expected.get_mut(&call).expect("nobody is answered who has not asked");
                    *left = left.checked_sub(1).expect("nobody is answered twice");
                }
                Output::Remember { record, members } => {
                    self.journal.insert(record.key().clone(), members);
                }
                Output::Forget { key, member } => {
                    if let Some(members) = self.journal.get_mut(&key) {
                        members.retain(|one| *one != member);
                    }
                }
                Output::Lost { .. } | Output::Fenced { .. } | Output::Wake { .. } => {}
            }
        }
        for member in 0..MEMBERS {
            let mut outputs = Vec::new();
            while let Some(job) = self.ledger.next(member, &mut outputs) {
                let registry = &self.registries[member];
                assert!(
                    registry.running.iter().all(|one| one.key != job.key),
                    "one write at a time for each id"
                );
                if job.verb != Verb::Deregister {
                    let removed = self.removed.get(&job.key);
                    assert!(
                        removed.is_none_or(|pair| job.record.pair() > *pair),
                        "{:?} after its removal",
                        job.verb
                    );
                }
                self.registries[member].running.push(job);
            }
            if !outputs.is_empty() {
                self.carry_out(outputs);
            }
        }
    }

    fn call(&mut self, verb: Verb, record: &Record) {
        let mut outputs = Vec::new();
        if verb == Verb::Deregister {
            // Journalled, and remembered, before anybody waits.
            self.removed.insert(record.key().clone(), record.pair());
        }
        let begun = self.ledger.begin(verb, record, self.now, &mut outputs).expect("pairs only grow");
        self.expected.insert(begun.call, begun.expected - begun.refused.len());
        if verb == Verb::Deregister {
            assert!(outputs.iter().any(|output| matches!(output, Output::Remember { .. })));
        }
        self.carry_out(outputs);
    }

    fn answer(&mut self, member: usize, nth: usize) {
        let job = self.registries[member].running.swap_remove(nth);
        let (now, lost) = (self.now, self.loses && self.dice.u8(..10) == 0);
        let unproven = self.loses && self.dice.u8(..10) == 0;
        let registry = &mut self.registries[member];
        let (key, pair) = (&job.key, job.record.pair());
        registry.held.retain(|_, (_, until)| *until > now);
        let holder = registry.held.get(key).map(|(pair, _)| *pair);
        let answer: Result<Receipt> = if registry.away {
            Err(Error::unavailable("away"))
        } else if registry.refuses.as_ref() == Some(key) && job.verb == Verb::Register {
            Err(Error::new(ErrorKind::PermissionDenied, "no"))
        } else if let Some(holder) = holder.filter(|holder| *holder > pair) {
            Err(Error::conflict(holder, "held"))
        } else {
            let receipt = || Ok(Receipt::new(TTL));
            match job.verb {
                Verb::Renew if holder != Some(pair) => Err(Error::not_found("lost")),
                Verb::Register | Verb::Renew => {
                    registry.held.insert(key.clone(), (pair, now + TTL));
                    receipt()
                }
                // Taken, and to be seen there for a while yet.
                Verb::Deregister if unproven => receipt().map(|taken| taken.with_committed(false)),
                Verb::Deregister => {
                    registry.held.remove(key);
                    receipt()
                }
            }
        };
        let answer = if lost { Err(Error::timeout("lost").with_outcome_unknown()) } else { answer };
        let mut outputs = Vec::new();
        self.ledger.done(member, key, &answer, now, &mut outputs);
        self.carry_out(outputs);
    }

    fn owner(&mut self) {
        let id = ["a", "b", "c"][self.dice.usize(..3)];
        self.seq += 1;
        let record = record(id, self.seq);
        let key = record.key().clone();
        let known = self.wanted.get(&key).cloned().flatten();
        match (self.dice.u8(..10), known) {
            (0..2, Some(known)) => {
                self.wanted.insert(key, None);
                self.call(Verb::Deregister, &known);
            }
            (2..7, Some(known)) => self.call(Verb::Renew, &known),
            _ => {
                self.wanted.insert(key, Some(record.clone()));
                self.call(Verb::Register, &record);
            }
        }
    }

    fn step(&mut self) {
        let member = self.dice.usize(..MEMBERS);
        match self.dice.u8(..100) {
            0..30 => self.owner(),
            30..75 => {
                let running = self.registries[member].running.len();
                if running > 0 {
                    let nth = self.dice.usize(..running);
                    self.answer(member, nth);
                }
            }
            75..83 => {
                self.registries[member].away = self.dice.bool();
                let error = Error::unavailable("away");
                let modes = [Mode::Open, Mode::Closed(error.clone()), Mode::RenewOnly(error)];
                let mode = modes[self.dice.usize(..3)].clone();
                self.set_mode(member, mode);
                let healing = self.dice.bool();
                let mut outputs = Vec::new();
                self.ledger.set_healing(member, healing, self.now, &mut outputs);
                self.carry_out(outputs);
            }
            83..86 => {
                let refused = self.wanted.keys().next().cloned();
                self.registries[member].refuses = refused.filter(|_| self.dice.bool());
            }
            86..89 => {
                let key = self.wanted.keys().next().cloned();
                if let Some(key) = key {
                    self.registries[member].held.remove(&key);
                    let mut outputs = Vec::new();
                    self.ledger.lost(member, &key, &Error::not_found("gone"), self.now, &mut outputs);
                    self.carry_out(outputs);
                }
            }
            _ => {
                self.now += Duration::from_millis(self.dice.u64(..3000));
                self.tick();
            }
        }
    }

    fn set_mode(&mut self, member: usize, mode: Mode) {
        let mut outputs = Vec::new();
        self.ledger.set_mode(member, mode, self.now, &mut outputs);
        self.carry_out(outputs);
    }

    fn tick(&mut self) {
        for member in 0..MEMBERS {
            let mut outputs = Vec::new();
            self.ledger.retry_removals(member, self.now, &mut outputs);
            self.ledger.heal(member, self.now, &mut outputs);
            self.carry_out(outputs);
        }
        self.ledger.sweep(self.now);
    }

    fn answer_all(&mut self) {
        while let Some(member) = self.registries.iter().position(|registry| !registry.running.is_empty()) {
            self.answer(member, 0);
        }
    }

    /// Everybody is well: with a few renewals, every member has what is wanted, and nothing else.
    fn heal(&mut self) {
        self.loses = false;
        for member in 0..MEMBERS {
            (self.registries[member].away, self.registries[member].refuses) = (false, None);
            self.set_mode(member, Mode::Open);
        }
        for _ in 0..10 {
            self.answer_all();
            self.now += Duration::from_secs(4);
            self.tick();
            let wanted: Vec<_> = self.wanted.values().flatten().cloned().collect();
            for record in wanted {
                // As a registrar would: what is lost is registered.
                self.call(Verb::Renew, &record);
                self.answer_all();
                if self.registries.iter().all(|registry| !registry.held.contains_key(record.key())) {
                    self.call(Verb::Register, &record);
                }
                self.answer_all();
            }
        }
        for (member, registry) in self.registries.iter().enumerate() {
            let held: BTreeMap<_, _> = registry
                .held
                .iter()
                .filter(|(_, (_, until))| *until > self.now)
                .map(|(key, (pair, _))| (key.clone(), *pair))
                .collect();
            let wanted: BTreeMap<_, _> =
                self.wanted.values().flatten().map(|record| (record.key().clone(), record.pair())).collect();
            assert_eq!(held, wanted, "member {member}");
            assert_eq!(self.ledger.pending(member), 0);
            assert!(self.ledger.is_whole(member, self.now));
        }
        assert!(self.expected.values().all(|left| *left == 0), "everybody is answered");
        assert!(self.journal.values().all(Vec::is_empty), "everything is confirmed");
        let wanted: HashSet<_> = self.wanted.values().flatten().map(|record| record.key().clone()).collect();
        assert_eq!(self.ledger.own(), wanted, "who has left is forgotten");
        self.now += TTL;
        self.tick();
        assert_eq!(self.ledger.own(), HashSet::new(), "and whose lease has ended without a word");
    }
}

fn record(id: &str, seq: u64) -> Record {
    let instance =
        Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").pair(Pair::new(7, seq)).build();
    Record::new(instance.unwrap(), Ttl::new(TTL).unwrap())
}

#[test]
fn a_member_that_never_comes_back_does_not_fill_the_memory() {
    let (now, mut outputs) = (Instant::now(), Vec::new());
    let mut ledger = Ledger::new(2);
    ledger.set_mode(1, Mode::Closed(Error::unavailable("away")), now, &mut outputs);
    for nth in 0..WAITING + 1_000 {
        let record = record(&format!("o-{nth}"), 1);
        outputs.clear();
        let begun = ledger.begin(Verb::Deregister, &record, now, &mut outputs).unwrap();
        assert_eq!(
            (begun.expected, begun.refused.len()),
            (2, 1),
            "what is not done there is told all the same"
        );
        ledger.next(0, &mut outputs).unwrap();
        ledger.done(0, record.key(), &Ok(Receipt::new(TTL)), now, &mut outputs);
    }
    ledger.sweep(now);
    assert_eq!((ledger.pending(0), ledger.pending(1), ledger.own().len()), (0, WAITING, WAITING));
}

#[test]
fn ten_thousand_random_schedules_keep_the_ledgers_promises() {
    for seed in 0..SCHEDULES {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..world.dice.usize(20..80) {
                world.step();
            }
            world.heal();
        });
        assert!(result.is_ok(), "seed {seed}");
    }
}
