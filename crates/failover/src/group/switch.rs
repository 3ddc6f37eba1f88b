//! Which member is read: a pure machine over the states of all.

use std::collections::VecDeque;
use std::time::Duration;

use callsign_core::{MemberState, SwitchReason};
use tokio::time::Instant;

use crate::{Settings, Topology};

/// Over how much time returns to a preferred member are counted.
const WINDOW: Duration = Duration::from_secs(600);

/// When everybody was down, those who come back are waited for: the active one may be a moment behind, and other processes
/// would find it there.
const SETTLE: Duration = Duration::from_secs(1);

/// How long watches of a member that answers may fail, as where they are silent, while another one has what is shown.
const UNHEARD: Duration = Duration::from_secs(10);

/// What is known of a member when one is chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) state: MemberState,
    pub(crate) since: Instant,
    /// The share of what is shown that it lists too. 1.0 where nothing is shown.
    pub(crate) coverage: f64,
    /// Since when some watch of it fails.
    pub(crate) unheard_since: Option<Instant>,
    /// Others are registered here, and of a service that is looked at too few of them where it is read.
    pub(crate) inhabited: bool,
    /// How long it would have to stay.
    pub(crate) dwell: Duration,
}

impl Candidate {
    /// Whether it says what is shown.
    fn covers(&self, settings: &Settings) -> bool {
        self.coverage >= settings.coverage_min && self.unheard_since.is_none()
    }
}

/// Who is chosen instead, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switch {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) reason: SwitchReason,
}

/// What an operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Automatic,
    Frozen,
    Forced(usize),
}

/// The choice.
#[derive(Debug)]
pub(crate) struct Choice {
    active: usize,
    since: Instant,
    switches: u64,
    order: Order,
    failbacks: VecDeque<Instant>,
}

impl Choice {
    /// The first is preferred.
    pub(crate) fn new(now: Instant) -> Self {
        Self { active: 0, since: now, switches: 0, order: Order::Automatic, failbacks: VecDeque::new() }
    }

    pub(crate) fn active(&self) -> usize {
        self.active
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    pub(crate) fn switches(&self) -> u64 {
        self.switches
    }

    pub(crate) fn order(&self) -> Order {
        self.order
    }

    pub(crate) fn command(&mut self, order: Order) {
        self.order = order;
    }

    /// Looks at all members and chooses. Call it again whenever one of them has changed, and at `wake_at`.
    pub(crate) fn decide(
        &mut self,
        members: &[Candidate],
        settings: &Settings,
        now: Instant,
    ) -> Option<Switch> {
        while self.failbacks.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            self.failbacks.pop_front();
        }
        let (to, reason) = match self.order {
            Order::Frozen => return None,
            Order::Forced(wanted) => (wanted, SwitchReason::Forced),
            Order::Automatic => self.automatic(members, settings, now)?,
        };
        if to == self.active || to >= members.len() {
            return None;
        }
        if reason == SwitchReason::Preferred {
            self.failbacks.push_back(now);
        }
        let from = std::mem::replace(&mut self.active, to);
        self.since = now;
        self.switches += 1;
        Some(Switch { from, to, reason })
    }

    /// When to decide again if nothing changes before.
    pub(crate) fn wake_at(&self, members: &[Candidate], settings: &Settings) -> Option<Instant> {
        if self.order != Order::Automatic {
            return None;
        }
        let active = members.get(self.active)?;
        let aged = (active.state == MemberState::Degraded).then(|| active.since + settings.max_degraded_age);
        let preferred = members[..self.active].iter().filter(|member| member.state == MemberState::Healthy);
        let settled = preferred.map(|member| self.since + member.dwell);
        let others = members.iter().filter(|other| other.state == MemberState::Recovering);
        let early = others.map(|other| other.since + SETTLE).filter(|_| active.state == MemberState::Down);
        let deserted = members[..self.active].iter().filter(|member| member.inhabited);
        let deserted = deserted.map(|member| member.since + SETTLE);
        let unheard = active.unheard_since.map(|since| since + UNHEARD);
        let counted = self.failbacks.front().map(|first| *first + WINDOW);
        aged.into_iter()
            .chain(unheard)
            .chain(deserted)
            .chain(early)
            .chain(settled)
            .chain(counted.filter(|_| self.active > 0))
            .min()
    }

    fn automatic(
        &self,
        members: &[Candidate],
        settings: &Settings,
        now: Instant,
    ) -> Option<(usize, SwitchReason)> {
        let active = *members.get(self.active)?;
        match active.state {
            MemberState::Down => self.refuge(members, now).map(|to| (to, SwitchReason::Outage)),
            MemberState::Degraded => {
                let aged = now.duration_since(active.since) >= settings.max_degraded_age;
                // A standby has nobody before it is read; and until then newcomers could be registered nowhere.
                let needs_no_cover = aged || settings.topology == Topology::Standby;
                let better = members.iter().position(|member| {
                    member.state == MemberState::Healthy && (needs_no_cover || member.covers(settings))
                });
                better.map(|to| (to, SwitchReason::Degraded))
            }
            _ => {
                let deserted = self.deserted(members, settings, now).map(|to| (to, SwitchReason::Deserted));
                let unheard = || self.unheard(members, settings, now).map(|to| (to, SwitchReason::Degraded));
                let failback =
                    || self.failback(members, settings, now).map(|to| (to, SwitchReason::Preferred));
                deserted.or_else(unheard).or_else(failback)
            }
        }
    }

    /// Where to go from a member that is down: never limited.
    fn refuge(&self, members: &[Candidate], now: Instant) -> Option<usize> {
        let rank = |state| match state {
            MemberState::Healthy => 0,
            MemberState::Recovering => 1,
            MemberState::Suspect => 2,
            MemberState::Degraded => 3,
            _ => 4,
        };
        let others = members
            .iter()
            .enumerate()
            .filter(|(nth, member)| *nth != self.active && member.state != MemberState::Down)
            .filter(|(_, member)| member.state != MemberState::Recovering || now >= member.since + SETTLE);
        others.min_by_key(|(nth, member)| (rank(member.state), *nth)).map(|(nth, _)| nth)
    }

    /// Where others have stayed, or have gone back to, when this process is at the standby: never limited.
    fn deserted(&self, members: &[Candidate], settings: &Settings, now: Instant) -> Option<usize> {
        let is_up =
            |member: &Candidate| matches!(member.state, MemberState::Healthy | MemberState::Recovering);
        members[..self.active].iter().position(|member| {
            member.inhabited && is_up(member) && now >= member.since + SETTLE && member.covers(settings)
        })
    }

    /// Who has what is shown, when the one that is read answers, and its watches have failed for a while.
    fn unheard(&self, members: &[Candidate], settings: &Settings, now: Instant) -> Option<usize> {
        let since = members.get(self.active)?.unheard_since?;
        members.iter().position(|member| {
            now >= since + UNHEARD && member.state == MemberState::Healthy && member.covers(settings)
        })
    }

    /// Whom to return to: preferred, healthy, whole and full; not soon after another switch, and not often.
    fn failback(&self, members: &[Candidate], settings: &Settings, now: Instant) -> Option<usize> {
        let allowed = usize::try_from(settings.max_failbacks).unwrap_or(usize::MAX);
        if self.failbacks.len() >= allowed {
            return None;
        }
        members[..self.active].iter().position(|member| {
            member.state == MemberState::Healthy
                && now.duration_since(self.since) >= member.dwell
                && member.covers(settings)
        })
    }
}
