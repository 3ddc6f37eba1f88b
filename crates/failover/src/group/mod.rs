//! The members' states, and which of them is read: two pure machines, and the lock around them.

mod member;
mod switch;

#[cfg(test)]
mod schedules;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, MemberState, SwitchReason};
use tokio::time::Instant;

use crate::Settings;
pub(crate) use member::{Evidence, Machine};
pub(crate) use switch::{Candidate, Choice, Order};

/// Something to tell.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    State {
        member: usize,
        from: MemberState,
        to: MemberState,
        cause: Option<Error>,
    },
    Switched {
        from: usize,
        to: usize,
        reason: SwitchReason,
    },
    Refused {
        member: usize,
        cause: Error,
    },
    /// Nobody can be written to any more.
    AllLost(Error),
    /// Somebody answers again.
    Ready,
}

/// What a member says of the services that are followed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    /// The share of what is shown that it lists too.
    pub(crate) coverage: f64,
    /// Some watch of it fails, as where it is silent.
    pub(crate) unheard: bool,
    /// Of some service it lists others of whom the member that is read lists too few.
    pub(crate) inhabited: bool,
}

impl Default for Word {
    /// Nothing is followed.
    fn default() -> Self {
        Self { coverage: 1.0, unheard: false, inhabited: false }
    }
}

/// All members together.
#[derive(Debug)]
pub(crate) struct Group {
    members: Vec<Machine>,
    /// What each says, and since when some watch of it fails.
    words: Vec<(Word, Option<Instant>)>,
    choice: Choice,
    settings: Arc<Settings>,
    longest_ttl: Duration,
    /// Whether nobody could be written to when it was last looked at.
    desperate: bool,
    /// Whether that was told, and nobody has proven anything since.
    all_lost: bool,
}

impl Group {
    pub(crate) fn new(count: usize, settings: Arc<Settings>, now: Instant) -> Self {
        Self {
            members: (0..count).map(|_| Machine::new(now)).collect(),
            words: vec![(Word::default(), None); count],
            choice: Choice::new(now),
            settings,
            longest_ttl: Duration::ZERO,
            desperate: false,
            all_lost: false,
        }
    }

    pub(crate) fn members(&self) -> &[Machine] {
        &self.members
    }

    pub(crate) fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Something was learnt of `member`.
    pub(crate) fn learn(&mut self, member: usize, evidence: Evidence, now: Instant) -> Vec<Told> {
        let mut told = Vec::new();
        let Some(machine) = self.members.get_mut(member) else {
            return told;
        };
        let proof = matches!(evidence, Evidence::Proof | Evidence::Probed);
        let trouble = matches!(evidence, Evidence::Trouble(_) | Evidence::Unreachable(_));
        let refusal = match &evidence {
            Evidence::Refusal(cause) if !machine.refuses() => Some(cause.clone()),
            _ => None,
        };
        let change = machine.learn(evidence, &self.settings, now);
        if let Some(change) = change {
            told.push(Told::State { member, from: change.from, to: change.to, cause: change.cause });
        }
        if let Some(cause) = refusal {
            told.push(Told::Refused { member, cause });
        }
        if trouble && self.desperate && self.is_desperate() && !self.all_lost {
            // It was told that somebody answers, and that was not for long.
            self.desperate = false;
        }
        // One proof is enough for who waits to be told; for being read it takes more.
        if proof && std::mem::take(&mut self.all_lost) {
            told.push(Told::Ready);
        }
        self.settle(now, told)
    }

    /// What `member` says of the services that are followed.
    pub(crate) fn says(&mut self, member: usize, word: Word, now: Instant) -> Vec<Told> {
        if let Some((known, unheard_since)) = self.words.get_mut(member) {
            *unheard_since = word.unheard.then(|| unheard_since.unwrap_or(now));
            *known = word;
        }
        self.settle(now, Vec::new())
    }

    /// The longest ttl that anything is registered with.
    pub(crate) fn lives_for(&mut self, longest_ttl: Duration) {
        self.longest_ttl = longest_ttl;
    }

    pub(crate) fn command(&mut self, order: Order, now: Instant) -> Vec<Told> {
        self.choice.command(order);
        self.settle(now, Vec::new())
    }

    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Told> {
        let mut told = Vec::new();
        for (member, machine) in self.members.iter_mut().enumerate() {
            if let Some(change) = machine.tick(&self.settings, self.longest_ttl, now) {
                told.push(Told::State { member, from: change.from, to: change.to, cause: change.cause });
            }
        }
        self.settle(now, told)
    }

    /// When to call [`tick`](Self::tick) if nothing else happens before.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let of_members =
            self.members.iter().filter_map(|one| one.wake_at(&self.settings, self.longest_ttl, now));
        // A decision that could not be made when it was due waits for a change, not for a time that is over.
        let of_choice = self.choice.wake_at(&self.candidates(now), &self.settings).filter(|at| *at > now);
        of_members.chain(of_choice).min()
    }

    /// Whether no member at all can be written to, so that each is tried all the same.
    pub(crate) fn is_desperate(&self) -> bool {
        let usable = |one: &Machine| !matches!(one.state(), MemberState::Down | MemberState::Degraded);
        !self.members.iter().any(usable)
    }

    fn candidates(&self, now: Instant) -> Vec<Candidate> {
        let members = self.members.iter().zip(&self.words);
        members
            .map(|(one, (word, unheard_since))| Candidate {
                state: one.state(),
                since: one.since(),
                coverage: word.coverage,
                unheard_since: *unheard_since,
                inhabited: word.inhabited,
                dwell: one.dwell(&self.settings, self.longest_ttl, now),
            })
            .collect()
    }

    fn settle(&mut self, now: Instant, mut told: Vec<Told>) -> Vec<Told> {
        let candidates = self.candidates(now);
        if let Some(switch) = self.choice.decide(&candidates, &self.settings, now) {
            told.push(Told::Switched { from: switch.from, to: switch.to, reason: switch.reason });
            // That was said beside whom another member lists.
            self.words.iter_mut().for_each(|(word, _)| word.inhabited = false);
        }
        let desperate = self.is_desperate();
        let before = std::mem::replace(&mut self.desperate, desperate);
        if self.desperate && !before && !self.all_lost {
            self.all_lost = true;
            let cause = self.members.get(self.choice.active()).and_then(Machine::cause).cloned();
            told.push(Told::AllLost(cause.unwrap_or_else(|| Error::unavailable("no member answers"))));
        }
        told
    }
}
