//! Random schedules: whatever owners, other writers and the registry do, the ledger's promises hold.

use std::time::Duration;

use callsign_core::{ErrorKind, LostSignal, Pair, Record, Ttl};
use futures::FutureExt;

use super::callers::{key_of, record, value_of};
use super::trouble::Mood;
use super::world::{AFTERMATH, LATEST, World};
use crate::session::Verb;

const SCHEDULES: u64 = 1_500;
const OWNERS: usize = 6;
/// How often an owner looks after its record: three times in the shortest ttl.
const TURN: u64 = 600;
/// How long an owner waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Wants {
    ToLive,
    ToLeave,
    /// Nothing: it has left, or was forgotten.
    Nothing,
}

struct Owner {
    record: Record,
    wants: Wants,
    /// What the last successful registration has come with.
    lost: Option<LostSignal>,
    call: Option<usize>,
}

impl Owner {
    fn new(n: usize) -> Self {
        let wants = Wants::Nothing;
        Self { record: record(n, Pair::new(10, 1), 1, 2), wants, lost: None, call: None }
    }

    /// Does what a registrar would.
    fn take_turn(&mut self, world: &mut World) {
        if let Some(call) = self.call {
            match &world.calls[call].answer {
                Some(_) => self.hear(world, call),
                None if world.now >= world.calls[call].asked_at + PATIENCE => {
                    world.give_up(call);
                    self.lost = None;
                }
                None => return,
            }
            self.call = None;
        }
        if self.lost.as_mut().is_some_and(|lost| lost.fired().now_or_never().is_some()) {
            self.lost = None;
        }
        let verb = match self.wants {
            Wants::ToLive if self.lost.is_some() => Verb::Renew,
            Wants::ToLive => Verb::Register,
            Wants::ToLeave => Verb::Deregister,
            Wants::Nothing => return,
        };
        self.call = Some(world.ask(verb, &self.record));
    }

    fn hear(&mut self, world: &World, call: usize) {
        let call = &world.calls[call];
        match (call.verb, call.answer.as_ref().unwrap()) {
            (Verb::Deregister, Ok(_)) => self.wants = Wants::Nothing,
            (Verb::Register, Ok(receipt)) => self.lost = Some(receipt.lost.clone()),
            (_, Err(error)) if error.kind() == ErrorKind::Conflict => {
                let holder = error.holder().unwrap();
                self.change(holder.incarnation + 1, 1, None);
                if self.wants == Wants::ToLeave {
                    self.wants = Wants::Nothing;
                }
            }
            (_, Err(error)) if error.kind() == ErrorKind::NotFound => self.lost = None,
            _ => {}
        }
    }

    fn change(&mut self, incarnation: u64, seq: u64, ttl: Option<Ttl>) {
        let builder = self.record.instance.to_builder().pair(Pair::new(incarnation, seq));
        let ttl = ttl.unwrap_or(self.record.ttl);
        self.record = Record::new(builder.build().unwrap(), ttl);
        self.lost = None;
    }
}

struct Schedule {
    world: World,
    owners: Vec<Owner>,
}

impl Schedule {
    fn new(seed: u64) -> Self {
        Self { world: World::new(seed), owners: (0..OWNERS).map(Owner::new).collect() }
    }

    /// Lets time pass in which everybody does what they want.
    fn live(&mut self, time: Duration) {
        let end = self.world.now + time;
        while self.world.now < end {
            for owner in &mut self.owners {
                owner.take_turn(&mut self.world);
            }
            let pause = Duration::from_millis(self.world.rng.u64(1..TURN));
            self.world.pass(pause);
        }
    }

    fn disturb(&mut self) {
        let Self { world, owners } = self;
        let n = world.rng.usize(..OWNERS);
        let owner = &mut owners[n];
        let pair = owner.record.pair();
        match world.rng.u8(..100) {
            0..30 => {
                let moods = [
                    Mood::Fine,
                    Mood::Fine,
                    Mood::Down,
                    Mood::Refuses,
                    Mood::Silent,
                    Mood::LosesAnswers,
                    Mood::Rotates,
                    Mood::Mixed,
                ];
                let mood = moods[world.rng.usize(..moods.len())];
                world.set_mood(mood);
            }
            30..45 => owner.wants = Wants::ToLive,
            45..52 => owner.wants = Wants::ToLeave,
            52..57 => owner.wants = Wants::Nothing,
            57..65 => owner.change(pair.incarnation, pair.seq + 1, None),
            65..70 => {
                let ttl = Ttl::from_secs(world.rng.u64(2..5)).unwrap();
                owner.change(pair.incarnation, pair.seq + 1, Some(ttl));
            }
            70..73 => owner.change(pair.incarnation + 1, 1, None),
            73..80 => {
                let rival = [
                    Pair::NONE,
                    Pair::new(1, 1),
                    pair,
                    Pair::new(pair.incarnation, pair.seq + 1),
                    Pair::new(pair.incarnation + 1, 1),
                ];
                let pair = rival[world.rng.usize(..rival.len())];
                world.rival_puts(&key_of(&owner.record), pair);
            }
            80..84 => world.operator_deletes(&key_of(&owner.record)),
            84..86 => world.some_lease_ends(),
            86 => {
                let leases = world.rng.bool();
                world.start_anew(leases);
            }
            87..90 => world.loses_events = world.rng.bool(),
            90 => world.elect(),
            _ => unruly(world, &owner.record, n),
        }
    }

    /// Everything is fine again, and nobody disturbs it.
    fn heal(&mut self) {
        self.world.set_mood(Mood::Fine);
        self.world.loses_events = false;
    }

    fn everybody_who_wants_to_live_does(&self) {
        for owner in &self.owners {
            let key = key_of(&owner.record);
            let there = self.world.registry.keys.get(&key);
            if owner.wants == Wants::ToLive {
                let own = there.is_some_and(|held| held.stored.value == value_of(&owner.record));
                assert!(own, "{key:?} holds {there:?} instead of {:?}", owner.record);
            } else {
                let gone = there.is_none_or(|held| !self.world.is_ours(held.stored.lease));
                assert!(gone, "{key:?} holds {there:?} for ever");
            }
        }
    }
}

/// What no registrar would do.
fn unruly(world: &mut World, known: &Record, n: usize) {
    let pair = known.pair();
    let (verb, record) = match world.rng.u8(..7) {
        0 => (Verb::Register, record(n, Pair::new(pair.incarnation - 1, 7), 7, 3)),
        1 => (Verb::Register, known.clone()),
        2 => (Verb::Renew, known.clone()),
        3 => (Verb::Renew, record(n, pair, 8, 2)),
        4 => (Verb::Deregister, record(n, Pair::new(pair.incarnation - 1, 7), 7, 3)),
        5 => (Verb::Deregister, Record::new(known.instance.clone(), Ttl::from_secs(4).unwrap())),
        _ => (Verb::Register, record(n, pair, 9, 4)),
    };
    let call = world.ask(verb, &record);
    if world.rng.bool() {
        world.give_up(call);
    }
}

fn schedule(seed: u64) {
    let mut schedule = Schedule::new(seed);
    for _ in 0..schedule.world.rng.u8(5..30) {
        let pause = Duration::from_millis(schedule.world.rng.u64(..4000));
        schedule.live(pause);
        schedule.disturb();
    }
    schedule.heal();
    schedule.live(AFTERMATH + Duration::from_millis(LATEST));
    assert!(schedule.world.nothing_is_late());
    schedule.live(Duration::from_secs(16));
    schedule.everybody_who_wants_to_live_does();
    let calls = schedule.world.calls.len();
    schedule.live(Duration::from_secs(30));
    schedule.everybody_who_wants_to_live_does();
    let again = schedule.world.calls[calls..].iter().find(|call| call.verb != Verb::Renew);
    assert!(again.is_none(), "in quiet times nobody has to register again: {again:?}");

    for owner in schedule.owners.iter_mut().filter(|owner| owner.wants == Wants::ToLive) {
        owner.wants = Wants::ToLeave;
    }
    schedule.live(Duration::from_secs(5));
    schedule.everybody_who_wants_to_live_does();
    schedule.live(Duration::from_secs(10));
    let Schedule { world, .. } = schedule;
    world.everybody_is_answered();
    assert!(world.ledger.is_empty(), "something is left: {:?}", world.ledger);
    assert!(world.watched.is_empty(), "nobody needs these watches: {:?}", world.watched);
}

#[test]
fn thousands_of_random_schedules_keep_the_ledgers_promises() {
    for seed in 0..SCHEDULES {
        let result = std::panic::catch_unwind(|| schedule(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}
