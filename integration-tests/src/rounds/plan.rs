//! What will happen, decided beforehand: the same seed gives the same faults and the same acts, however fast the
//! machine is. Pure.

use std::fmt;
use std::time::Duration;

use super::ground::Shape;
use crate::proxy::{Direction, Mode};

/// How many ids there are. Who leaves makes room for another owner of the same id.
pub(super) const IDS: usize = 24;
/// How many processes own them: the id's number tells which.
pub(super) const PROCESSES: usize = 4;
/// Faults last up to this.
const LONGEST: Duration = Duration::from_secs(8);
const SHORTEST: Duration = Duration::from_millis(500);
/// Longest notice of somebody who leaves.
const NOTICE: Duration = Duration::from_secs(2);

/// Whose way to the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Owners,
    Views,
    Everybody,
}

/// What befalls the registry, or the ways to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    Kill(Vec<usize>),
    Freeze(Vec<usize>),
    /// All members of one registry, or of all, are killed and their data is deleted.
    Wipe(Vec<usize>),
    /// The member is cut off from the other ones, and its clients reach it.
    Isolate(usize),
    /// The ways of some clients to some of the doors.
    Way {
        side: Side,
        doors: Vec<usize>,
        mode: Mode,
    },
}

impl Fault {
    /// Whether no lease has to end by it, on a registry of so many members: as soon as somebody counts the time of a lease
    /// somebody can be reached who extends it.
    pub(super) fn spares_leases(&self, members: usize) -> bool {
        match self {
            Self::Kill(_) | Self::Way { side: Side::Views, .. } => true,
            Self::Freeze(frozen) => frozen.len() * 2 < members,
            Self::Wipe(_) | Self::Isolate(_) | Self::Way { .. } => false,
        }
    }
}

/// What an owner does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Registers the id, or changes what is registered.
    Touch {
        id: usize,
        weight: u16,
    },
    Drain {
        id: usize,
        notice: Duration,
    },
    Deregister {
        id: usize,
    },
    /// Drops the handle, without a word.
    Drop {
        id: usize,
    },
    /// A process ends without a word, with all that it has registered.
    Crash {
        process: usize,
    },
}

/// One fault, and what owners do meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Round {
    /// What is under way when the fault begins.
    pub(super) before: Vec<Act>,
    pub(super) fault: Fault,
    pub(super) lasts: Duration,
    /// When, after the fault has begun; in order.
    pub(super) acts: Vec<(Duration, Act)>,
    /// Who crashes when all is well again.
    pub(super) victim: usize,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Kill,
    Freeze,
    Wipe,
    Partition,
    Stall,
}

const KINDS: [Kind; 5] = [Kind::Kill, Kind::Freeze, Kind::Wipe, Kind::Partition, Kind::Stall];

/// So many rounds for a registry of this shape. Each five of them have every kind of fault.
pub(super) fn plan(seed: u64, shape: Shape, rounds: usize) -> Vec<Round> {
    let mut dice = Dice { rng: fastrand::Rng::with_seed(seed), shape };
    let mut deck = Vec::new();
    (0..rounds)
        .map(|_| {
            if deck.is_empty() {
                deck = KINDS.to_vec();
                dice.rng.shuffle(&mut deck);
            }
            dice.round(deck.pop().unwrap_or(Kind::Kill))
        })
        .collect()
}

struct Dice {
    rng: fastrand::Rng,
    shape: Shape,
}

impl Dice {
    fn round(&mut self, kind: Kind) -> Round {
        let lasts = self.time(SHORTEST, LONGEST);
        let fault = self.fault(kind);
        let half: Vec<_> = (0..IDS).filter(|_| self.rng.bool()).collect();
        let before = half.into_iter().map(|id| self.touch(id)).collect();
        let mut acts: Vec<_> = (0..self.rng.usize(4..=12))
            .map(|_| {
                let at = self.time(Duration::ZERO, lasts);
                (at, self.act())
            })
            .collect();
        acts.sort_by_key(|(at, _)| *at);
        Round { before, fault, lasts, acts, victim: self.rng.usize(..PROCESSES) }
    }

    fn time(&mut self, least: Duration, most: Duration) -> Duration {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.rng.u64(millis(least)..=millis(most)))
    }

    fn fault(&mut self, kind: Kind) -> Fault {
        match kind {
            Kind::Kill => Fault::Kill(self.some(self.shape.members)),
            Kind::Freeze => Fault::Freeze(self.some(self.shape.members)),
            Kind::Wipe => Fault::Wipe(self.registry()),
            Kind::Partition if self.shape.isolates && self.rng.bool() => {
                Fault::Isolate(self.rng.usize(..self.shape.members))
            }
            Kind::Partition => self.way(&[Mode::Refuse]),
            Kind::Stall => self.way(&[
                Mode::Stall,
                Mode::HalfOpen,
                Mode::Drop(Direction::ToServer),
                Mode::Drop(Direction::ToClient),
                Mode::Delay(Duration::from_millis(400)),
            ]),
        }
    }

    fn way(&mut self, modes: &[Mode]) -> Fault {
        let sides = [Side::Everybody, Side::Owners, Side::Views];
        let side = sides[self.rng.usize(..if self.shape.one_sided { 3 } else { 1 })];
        let doors = self.some(self.shape.doors);
        Fault::Way { side, doors, mode: modes[self.rng.usize(..modes.len())] }
    }

    /// The members of one registry, or of all.
    fn registry(&mut self) -> Vec<usize> {
        let Shape { members, preferred, .. } = self.shape;
        let registries = [0..members, 0..preferred, preferred..members];
        registries[self.rng.usize(..if preferred < members { 3 } else { 1 })].clone().collect()
    }

    /// One of so many, most of them, or all.
    fn some(&mut self, count: usize) -> Vec<usize> {
        let mut some: Vec<_> = (0..count).collect();
        self.rng.shuffle(&mut some);
        some.truncate(self.rng.usize(1..=count));
        some.sort_unstable();
        some
    }

    fn act(&mut self) -> Act {
        let id = self.rng.usize(..IDS);
        match self.rng.u8(..100) {
            0..60 => self.touch(id),
            60..72 => Act::Drain { id, notice: self.time(Duration::ZERO, NOTICE) },
            72..84 => Act::Deregister { id },
            84..94 => Act::Drop { id },
            _ => Act::Crash { process: self.rng.usize(..PROCESSES) },
        }
    }

    fn touch(&mut self, id: usize) -> Act {
        Act::Touch { id, weight: self.rng.u16(1..) }
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} for {:.1} s", self.fault, self.lasts.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREE: Shape = Shape { isolates: true, ..Shape::of(3, 3) };
    const ONE_DOOR: Shape = Shape::of(4, 1);
    const TWO: Shape = Shape { preferred: 1, one_sided: false, ..Shape::of(4, 4) };

    #[test]
    fn a_seed_is_a_plan() {
        assert_eq!(plan(7, THREE, 20), plan(7, THREE, 20));
        assert_ne!(plan(7, THREE, 20), plan(8, THREE, 20));
        assert_eq!(plan(7, THREE, 20)[..10], plan(7, THREE, 10));
    }

    #[test]
    fn five_rounds_have_every_kind_of_fault() {
        let shapes = [THREE, ONE_DOOR, TWO];
        for (seed, shape) in (0..201).zip(shapes.into_iter().cycle()) {
            let rounds = plan(seed, shape, 5);
            let count = |has: fn(&Fault) -> bool| rounds.iter().filter(|round| has(&round.fault)).count();
            assert_eq!(count(|fault| matches!(fault, Fault::Kill(_))), 1);
            assert_eq!(count(|fault| matches!(fault, Fault::Freeze(_))), 1);
            assert_eq!(count(|fault| matches!(fault, Fault::Wipe(_))), 1);
            assert_eq!(count(|fault| matches!(fault, Fault::Isolate(_) | Fault::Way { .. })), 2);
        }
    }

    #[test]
    fn one_of_two_registries_is_wiped_or_both_are_and_everybody_has_the_same_ways_to_them() {
        let faults: Vec<_> = plan(7, TWO, 200).into_iter().map(|round| round.fault).collect();
        let has = |fault: &Fault| faults.contains(fault);
        for registry in [vec![0], vec![1, 2, 3], vec![0, 1, 2, 3]] {
            assert!(has(&Fault::Wipe(registry)));
        }
        let one_sided = |fault: &&Fault| matches!(fault, Fault::Way { side, .. } if *side != Side::Everybody);
        assert_eq!(faults.iter().find(one_sided), None);
    }

    #[test]
    fn what_owners_do_falls_into_the_time_of_the_fault() {
        for round in plan(7, THREE, 100) {
            assert!(round.acts.is_sorted_by_key(|(at, _)| *at));
            assert!(round.acts.iter().all(|(at, _)| *at <= round.lasts));
        }
    }
}
