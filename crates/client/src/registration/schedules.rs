//! Random schedules for the registrar: whatever a registry and an application do, its promises hold.

use std::time::Duration;

use callsign_core::{Error, ErrorKind, Instance, Pair, Receipt, Result, Status, Ttl};
use tokio::time::Instant;

use super::RegistrationState;
use super::machine::Registrar;
use super::step::{Input, Output, Verb, Write};

const SCHEDULES: u64 = 10_000;
const TTL: Duration = Duration::from_secs(6);
/// The pair of another owner of the same id.
const RIVAL: Pair = Pair::new(1_000_000, 1);

/// What the registry does with calls for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Fine,
    Down,
    Silent,
    LosesAnswers,
    Refuses,
    /// Refuses what is new, and renews what is there.
    Full,
}

struct World {
    rng: fastrand::Rng,
    now: Instant,
    machine: Registrar,
    mood: Mood,
    /// The registry's record of the id: its pair, its status, and when its lease ends.
    held: Option<(Pair, Status, Instant)>,
    in_flight: Option<(Write, Instant)>,
    state: RegistrationState,
    /// The highest pair ever sent.
    sent: Option<Pair>,
    acknowledged: Option<Pair>,
    last_success: Instant,
    leaves_by: Option<Instant>,
    gone: bool,
    steps_at_once: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        // The machine's own dice, too.
        fastrand::seed(seed);
        let now = Instant::now();
        let instance = Instance::builder("orders").id("a").endpoint("http://127.0.0.1:1");
        let machine =
            Registrar::new(instance.pair(Pair::new(7, 1)).build().unwrap(), Ttl::new(TTL).unwrap(), now);
        Self {
            rng: fastrand::Rng::with_seed(seed),
            now,
            machine,
            mood: Mood::Fine,
            held: None,
            in_flight: None,
            state: RegistrationState::Pending { attempt: 0, cause: None },
            sent: None,
            acknowledged: None,
            last_success: now,
            leaves_by: None,
            gone: false,
            steps_at_once: 0,
        }
    }

    fn step(&mut self, input: Input) {
        for output in self.machine.step(input, self.now) {
            assert!(!self.gone, "nothing follows the end: {output:?}");
            match output {
                Output::Write(write) => self.take(write),
                Output::State(state) => self.state = state,
                Output::Gone(_) => {
                    assert!(
                        self.leaves_by.is_some_and(|by| self.now <= by),
                        "who leaves, and only who does, is gone in time"
                    );
                    self.gone = true;
                }
            }
        }
        self.check();
    }

    fn take(&mut self, write: Write) {
        // Who leaves overtakes what is under way; otherwise there is one write at a time.
        assert!(self.in_flight.is_none() || self.leaves_by.is_some(), "one write at a time");
        let pair = write.record.pair();
        // The former record may be kept alive while the registry does not take the change.
        let former = write.verb == Verb::Renew || self.machine.refused().is_some();
        let back = !former && self.sent.is_some_and(|sent| pair < sent);
        assert!(!back, "pairs never go back: {pair} after {:?}", self.sent);
        if let Some(acknowledged) = self.acknowledged {
            // Raised above a rival whose record the registry has let go of; otherwise it stands after the first success.
            let incarnation = pair.incarnation;
            assert!(
                incarnation == acknowledged.incarnation || incarnation == RIVAL.incarnation + 1,
                "{pair}"
            );
        }
        if self.leaves_by.is_some() {
            let draining = write.record.instance.status == Status::Draining;
            assert!(
                draining && write.verb != Verb::Renew,
                "nobody who leaves is registered again: {write:?}"
            );
        }
        self.sent = self.sent.max(Some(pair));
        let answers_at = self.now + write.timeout.mul_f64(self.rng.f64() * 0.9);
        self.in_flight = Some((write, answers_at));
    }

    fn check(&self) {
        if self.gone {
            return;
        }
        assert!(
            self.in_flight.is_some() || self.machine.wake_at().is_some(),
            "never gives up: {:?}",
            self.state
        );
        if matches!(self.state, RegistrationState::Registered { .. }) {
            assert!(
                self.now < self.last_success + TTL,
                "`Registered` is never shown longer than the lease lasts"
            );
        }
    }

    /// The registry's answer to the write under way.
    fn answer(&mut self) {
        let Some((write, at)) = self.in_flight.take() else {
            return;
        };
        self.now = at;
        let full = self.mood == Mood::Full && write.verb == Verb::Register;
        let happens = !full
            && !matches!(self.mood, Mood::Down | Mood::Refuses)
            && (self.mood != Mood::Silent || self.rng.bool());
        let outcome = if happens { self.apply(&write) } else { Ok(()) };
        let answer: Result<Receipt> = match self.mood {
            Mood::Down => Err(Error::unavailable("connection refused")),
            Mood::Refuses => Err(Error::new(ErrorKind::PermissionDenied, "no")),
            Mood::Silent | Mood::LosesAnswers => {
                self.now = self.now.max(at);
                Err(Error::timeout("no answer").with_outcome_unknown())
            }
            Mood::Full if full => Err(Error::limit_exceeded("full")),
            Mood::Fine | Mood::Full => outcome.map(|()| Receipt::new(TTL)),
        };
        if answer.is_ok() && write.verb != Verb::Deregister {
            self.last_success = self.now;
        }
        if answer.is_ok() && write.verb == Verb::Register {
            self.acknowledged = Some(write.record.pair());
        }
        self.step(Input::Answer(answer));
    }

    fn apply(&mut self, write: &Write) -> Result<()> {
        let pair = write.record.pair();
        self.held = self.held.filter(|(_, _, until)| *until > self.now);
        if let Some((holder, ..)) = self.held
            && holder > pair
        {
            return Err(Error::conflict(holder, "held"));
        }
        let record = (pair, write.record.instance.status, self.now + TTL);
        match write.verb {
            Verb::Register => self.held = Some(record),
            Verb::Renew if self.held.is_some_and(|(holder, ..)| holder == pair) => self.held = Some(record),
            Verb::Renew => return Err(Error::not_found("lost")),
            Verb::Deregister => self.held = None,
        }
        Ok(())
    }

    /// Lets time pass until something happens, at most until `limit`.
    fn run_until(&mut self, limit: Instant) {
        while !self.gone {
            let answer_at = self.in_flight.as_ref().map(|(_, at)| *at);
            let wake_at = self.machine.wake_at();
            let next = answer_at.into_iter().chain(wake_at).min().unwrap_or(limit);
            if next > limit {
                break;
            }
            self.steps_at_once = if next <= self.now { self.steps_at_once + 1 } else { 0 };
            assert!(self.steps_at_once < 50, "no hot loop: {:?}", self.state);
            self.now = self.now.max(next);
            if answer_at == Some(next) { self.answer() } else { self.step(Input::Tick) }
        }
        self.now = self.now.max(limit);
        if !self.gone {
            self.step(Input::Tick);
        }
    }

    fn disturb(&mut self) {
        let moods =
            [Mood::Fine, Mood::Fine, Mood::Down, Mood::Silent, Mood::LosesAnswers, Mood::Refuses, Mood::Full];
        match self.rng.u8(..100) {
            0..50 => {
                self.mood = moods[self.rng.usize(..moods.len())];
                if self.mood == Mood::Fine && self.rng.bool() {
                    self.step(Input::Ready);
                }
            }
            50..60 => self.held = None,
            60..65 => self.held = Some((RIVAL, Status::Up, self.now + TTL)),
            65..75 => self.step(Input::Lost(Error::not_found("session expired"))),
            75..92 => {
                let builder = self.machine.desired().to_builder().weight(self.rng.u16(..)).status(Status::Up);
                self.step(Input::Update(builder.build().unwrap()));
            }
            _ => self.leave(),
        }
    }

    fn leave(&mut self) {
        let deadline = Duration::from_millis(self.rng.u64(1..8000));
        let notice = Duration::from_millis(self.rng.u64(..4000));
        let by = self.now + deadline;
        self.leaves_by = Some(self.leaves_by.map_or(by, |before| before.min(by)));
        self.step(Input::Leave { notice, deadline });
    }
}

fn schedule(seed: u64) {
    let mut world = World::new(seed);
    world.step(Input::Tick);
    for _ in 0..world.rng.u8(5..40) {
        let pause = Duration::from_millis(world.rng.u64(..4000));
        world.run_until(world.now + pause);
        if world.gone {
            return;
        }
        world.disturb();
    }
    world.mood = Mood::Fine;
    world.held = world.held.filter(|(pair, ..)| *pair != RIVAL);
    if world.leaves_by.is_none()
        && world.machine.desired().incarnation < RIVAL.incarnation
        && world.rng.bool()
    {
        world.leave();
    }
    // A write that was under way, then the longest pause, then the spread, then the write that gets through.
    world.run_until(world.now + TTL / 3 * 4);
    if world.leaves_by.is_some() {
        world.run_until(world.now + Duration::from_secs(8));
        assert!(world.gone, "who leaves is gone");
    } else {
        assert!(world.state.is_registered(), "a healed registry has the record again: {:?}", world.state);
        assert_eq!(world.held.map(|(pair, ..)| pair), Some(world.machine.desired().pair()));
    }
}

#[test]
fn ten_thousand_random_schedules_keep_the_registrars_promises() {
    for seed in 0..SCHEDULES {
        let result = std::panic::catch_unwind(|| schedule(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}
