//! Single promises of the registrar; `schedules` has the rest.

use std::time::Duration;

use callsign_core::{Error, Instance, Pair, Receipt, Result, Status, Ttl};
use tokio::time::Instant;

use super::RegistrationState;
use super::machine::Registrar;
use super::step::{Input, Output, Verb};

const TTL: Duration = Duration::from_secs(15);

/// A registrar with a clock of its own, its last state, and the write that is under way.
struct Stage {
    machine: Registrar,
    state: Option<RegistrationState>,
    now: Instant,
    under_way: Option<(Verb, Instance, Duration)>,
}

impl Stage {
    fn new() -> Self {
        let instance = Instance::builder("orders").id("a").endpoint("http://127.0.0.1:1");
        let instance = instance.pair(Pair::new(7, 1)).build().unwrap();
        let now = Instant::now();
        let mut stage = Self {
            machine: Registrar::new(instance, Ttl::new(TTL).unwrap(), now),
            now,
            state: None,
            under_way: None,
        };
        stage.step(Input::Tick);
        stage
    }

    fn registered() -> Self {
        let mut stage = Self::new();
        stage.succeed();
        stage
    }

    fn step(&mut self, input: Input) -> bool {
        let mut gone = false;
        for output in self.machine.step(input, self.now) {
            match output {
                Output::Write(write) => {
                    self.under_way =
                        Some((write.verb, Instance::clone(&write.record.instance), write.timeout));
                }
                Output::Gone(_) => gone = true,
                Output::State(state) => self.state = Some(state),
            }
        }
        gone
    }

    /// Lets time pass until the machine wants to be woken.
    fn wake(&mut self) -> bool {
        self.now = self.now.max(self.machine.wake_at().unwrap());
        self.step(Input::Tick)
    }

    fn answer(&mut self, answer: Result<Receipt>) -> Verb {
        let (verb, ..) = self.under_way.take().unwrap();
        self.step(Input::Answer(answer));
        verb
    }

    fn succeed(&mut self) -> Verb {
        self.answer(Ok(Receipt::new(TTL)))
    }

    fn refuse(&mut self) -> Verb {
        self.answer(Err(Error::limit_exceeded("too large")))
    }

    fn update(&mut self) {
        let changed = Instance::clone(self.machine.desired());
        self.step(Input::Update(changed));
    }

    fn verb(&self) -> Option<Verb> {
        self.under_way.as_ref().map(|(verb, ..)| *verb)
    }

    fn pair(&self) -> Pair {
        self.under_way.as_ref().unwrap().1.pair()
    }
}

#[test]
fn a_change_that_is_refused_leaves_the_former_record_alive_and_is_tried_again() {
    let mut stage = Stage::registered();
    stage.update();
    for _ in 0..20 {
        assert_eq!((stage.pair(), stage.refuse()), (Pair::new(7, 2), Verb::Register));
        stage.wake();
        assert_eq!((stage.pair(), stage.succeed()), (Pair::new(7, 1), Verb::Renew));
    }
}

#[test]
fn of_two_quick_changes_the_first_is_kept_alive_when_the_second_is_refused() {
    let mut stage = Stage::registered();
    stage.update();
    stage.update();
    assert_eq!((stage.pair(), stage.succeed()), (Pair::new(7, 2), Verb::Register));
    assert_eq!((stage.pair(), stage.refuse()), (Pair::new(7, 3), Verb::Register));
    stage.wake();
    assert_eq!((stage.pair(), stage.succeed()), (Pair::new(7, 2), Verb::Renew));
}

#[test]
fn a_registration_whose_change_is_refused_is_written_again_after_a_wipe() {
    let mut stage = Stage::registered();
    stage.update();
    stage.refuse();
    stage.step(Input::Lost(Error::not_found("wiped")));
    assert_eq!((stage.pair(), stage.succeed()), (Pair::new(7, 1), Verb::Register));
}

#[test]
fn who_leaves_does_not_wait_for_a_renewal_that_hangs() {
    let mut stage = Stage::registered();
    stage.wake();
    assert_eq!(stage.verb(), Some(Verb::Renew));
    stage.step(Input::Leave { notice: Duration::from_secs(1), deadline: Duration::from_secs(2) });
    assert_eq!(stage.verb(), Some(Verb::Register));
    assert_eq!(stage.under_way.as_ref().unwrap().1.status, Status::Draining);
}

#[test]
fn a_delete_is_sent_after_the_notice_also_while_the_announcement_hangs() {
    let mut stage = Stage::registered();
    stage.step(Input::Leave { notice: Duration::from_secs(1), deadline: Duration::from_secs(2) });
    let left = stage.now;
    assert_eq!(stage.verb(), Some(Verb::Register));
    stage.wake();
    assert_eq!((stage.verb(), stage.now - left), (Some(Verb::Deregister), Duration::from_secs(1)));
    assert!(stage.wake(), "over by the deadline");
}

#[test]
fn who_was_outranked_and_is_alone_again_writes_a_pair_above_the_rivals() {
    let mut stage = Stage::registered();
    stage.wake();
    let rival = Pair::new(9, 4);
    stage.answer(Err(Error::conflict(rival, "held")));
    assert!(matches!(stage.state, Some(RegistrationState::Rejected(_))));
    stage.wake();
    assert_eq!((stage.pair(), stage.succeed()), (Pair::new(7, 1), Verb::Register));
    assert_eq!((stage.pair() > rival, stage.succeed()), (true, Verb::Register));
}

#[test]
fn a_record_that_is_lost_again_and_again_is_not_raced_for() {
    let mut stage = Stage::registered();
    let start = stage.now;
    for _ in 0..20 {
        stage.step(Input::Lost(Error::not_found("deleted by a cleaner")));
        while stage.verb().is_none() {
            stage.wake();
        }
        stage.succeed();
    }
    assert!(stage.now - start > Duration::from_secs(10), "{:?}", stage.now - start);
}

#[test]
fn durations_that_are_meant_for_ever_do_not_overflow_a_clock() {
    let mut stage = Stage::registered();
    stage.wake();
    stage.answer(Ok(Receipt::new(Duration::MAX)));
    stage.step(Input::Leave { notice: Duration::MAX, deadline: Duration::MAX });
    stage.succeed();
    assert!(stage.machine.wake_at().is_some());
}

#[test]
fn a_shorter_grant_shortens_the_wait_for_an_answer() {
    let mut stage = Stage::new();
    stage.answer(Ok(Receipt::new(Duration::from_secs(3))));
    let before = stage.now;
    stage.wake();
    let (.., timeout) = stage.under_way.as_ref().unwrap();
    assert!(stage.now - before <= Duration::from_secs(1) && *timeout <= Duration::from_secs(1));
}
