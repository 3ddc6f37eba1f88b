//! Random schedules for the members' machine and the choice among them: whatever is learnt of whom, the promises hold.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, ErrorKind, MemberState, SwitchReason};
use tokio::time::Instant;

use super::{Evidence, Group, Order, Told, Word};
use crate::{Settings, Topology};

const SCHEDULES: u64 = 10_000;

struct World {
    dice: fastrand::Rng,
    group: Group,
    settings: Arc<Settings>,
    now: Instant,
    states: Vec<MemberState>,
    active: usize,
    order: Order,
    failbacks: VecDeque<Instant>,
    lost: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let topology = [Topology::Mirror, Topology::Standby, Topology::Union][dice.usize(..3)];
        let settings = Arc::new(Settings::default().with_topology(topology));
        let count = dice.usize(1..=4);
        let now = Instant::now();
        Self {
            group: Group::new(count, settings.clone(), now),
            states: vec![MemberState::Healthy; count],
            dice,
            settings,
            now,
            active: 0,
            order: Order::Automatic,
            failbacks: VecDeque::new(),
            lost: false,
        }
    }

    fn evidence(&mut self) -> Evidence {
        let error = || Error::unavailable("refused");
        match self.dice.u8(..20) {
            0..5 => Evidence::Proof,
            5..7 => Evidence::Probed,
            7..9 => Evidence::Answer,
            9..13 => Evidence::Trouble(error()),
            13..15 => Evidence::Unreachable(error()),
            15..17 => Evidence::NoProof(error()),
            17 => Evidence::Refusal(Error::new(ErrorKind::Unauthorized, "who")),
            18 => Evidence::Whole,
            _ => Evidence::Lacking,
        }
    }

    fn step(&mut self) {
        let member = self.dice.usize(..self.states.len());
        let told = match self.dice.u8(..100) {
            0..70 => {
                let evidence = self.evidence();
                let before = self.states[member];
                let healthy = matches!(evidence, Evidence::Proof | Evidence::Probed);
                let told = self.group.learn(member, evidence, self.now);
                if healthy && matches!(before, MemberState::Down | MemberState::Degraded) {
                    let to = self.group.members()[member].state();
                    assert!(
                        to == before || to == MemberState::Recovering,
                        "healing is never skipped: {before} {to}"
                    );
                }
                told
            }
            70..80 => {
                let (unheard, inhabited) = (self.dice.bool(), self.dice.bool());
                let coverage = [0.0, 0.5, 1.0, 1.0][self.dice.usize(..4)];
                let word = Word { coverage, unheard, inhabited };
                self.group.says(member, word, self.now)
            }
            80..84 => {
                let orders = [Order::Automatic, Order::Automatic, Order::Frozen, Order::Forced(member)];
                self.order = orders[self.dice.usize(..orders.len())];
                self.group.command(self.order, self.now)
            }
            _ => {
                self.now += Duration::from_millis(self.dice.u64(..20_000));
                self.group.tick(self.now)
            }
        };
        self.check(&told);
        // Once what is due is done, a choice stands until something changes.
        let due = self.group.tick(self.now);
        self.check(&due);
        let again = self.group.tick(self.now);
        assert!(again.is_empty(), "undecided: {again:?}");
    }

    fn check(&mut self, told: &[Told]) {
        for told in told {
            match told {
                Told::State { member, from, to, cause } => {
                    assert_eq!(self.states[*member], *from, "states are told without a gap");
                    self.states[*member] = *to;
                    assert!(from != to);
                    assert!(cause.is_some() || *to == MemberState::Healthy, "{to} without a cause");
                    let skipped = matches!(from, MemberState::Down | MemberState::Degraded)
                        && *to == MemberState::Healthy;
                    assert!(!skipped, "healing is never skipped");
                }
                Told::Switched { from, to, reason } => {
                    assert_eq!(self.active, *from);
                    self.active = *to;
                    match self.order {
                        Order::Frozen => panic!("frozen means frozen"),
                        Order::Forced(wanted) => assert_eq!((*to, *reason), (wanted, SwitchReason::Forced)),
                        Order::Automatic => assert_ne!(*reason, SwitchReason::Forced),
                    }
                    if *reason == SwitchReason::Preferred {
                        assert!(to < from);
                        let now = self.now;
                        self.failbacks.retain(|at| now.duration_since(*at) < Duration::from_secs(600));
                        self.failbacks.push_back(now);
                        assert!(self.failbacks.len() <= self.settings.max_failbacks as usize);
                    }
                }
                Told::Refused { cause, .. } => assert!(cause.is_misconfiguration()),
                Told::AllLost(_) => {
                    assert!(!self.lost && self.group.is_desperate());
                    self.lost = true;
                }
                Told::Ready => assert!(std::mem::take(&mut self.lost), "the end of what was told"),
            }
        }
        let states: Vec<_> = self.group.members().iter().map(super::Machine::state).collect();
        assert_eq!(states, self.states, "every change is told");
        assert_eq!(self.group.choice().active(), self.active);
        let settled = |state: &MemberState| matches!(state, MemberState::Healthy | MemberState::Suspect);
        if self.order == Order::Automatic && self.states[self.active] == MemberState::Down {
            assert!(
                !self.states.iter().any(settled),
                "nobody stays with a member that is down: {:?}",
                self.states
            );
        }
    }

    /// Everybody is well again: so is what is shown, in bounded time.
    fn heal(&mut self) {
        self.order = Order::Automatic;
        let told = self.group.command(Order::Automatic, self.now);
        self.check(&told);
        let end = self.now + Duration::from_secs(1300);
        while self.now < end {
            for member in 0..self.states.len() {
                for evidence in [Evidence::Probed, Evidence::Whole] {
                    let told = self.group.learn(member, evidence, self.now);
                    self.check(&told);
                }
                let told = self.group.says(member, Word::default(), self.now);
                self.check(&told);
            }
            let next = self.group.wake_at(self.now).unwrap_or(end).min(self.now + Duration::from_secs(60));
            self.now = self.now.max(next) + Duration::from_millis(1);
            let told = self.group.tick(self.now);
            self.check(&told);
        }
        assert!(self.states.iter().all(|state| *state == MemberState::Healthy), "{:?}", self.states);
        assert_eq!(self.active, 0, "the preferred one is read in the end");
    }
}

#[test]
fn ten_thousand_random_schedules_keep_the_groups_promises() {
    for seed in 0..SCHEDULES {
        let result = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..world.dice.usize(20..100) {
                world.step();
            }
            world.heal();
        });
        assert!(result.is_ok(), "seed {seed}");
    }
}
