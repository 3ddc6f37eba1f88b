//! How one member is: a pure machine, fed with what was learnt of it.

use std::collections::VecDeque;
use std::time::Duration;

use callsign_core::{Error, MemberState};
use tokio::time::Instant;

use crate::Settings;

/// Over how much time failures are counted against successes.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// Fewer calls than this say nothing about a rate.
const RATE_AT_LEAST: usize = 5;
/// The most calls that are remembered.
const RATE_AT_MOST: usize = 64;
/// Over how much time departures from a member add up.
const DEPARTURES: Duration = Duration::from_secs(600);
/// How often a member that refuses is asked: its credentials are for a person to mend.
const REFUSED_AGAIN: Duration = Duration::from_secs(10);

/// What was learnt of a member.
#[derive(Debug, Clone)]
pub(crate) enum Evidence {
    /// It proved an answer.
    Proof,
    /// It proved its answer to a probe.
    Probed,
    /// It answered.
    Answer,
    /// A call, a watch or an event spoke against it.
    Trouble(Error),
    /// Not even a plain probe was answered.
    Unreachable(Error),
    /// It answers, and could not prove it.
    NoProof(Error),
    /// It answers and refuses: credentials or configuration.
    Refusal(Error),
    /// It has everything that was written here, and nothing that was removed.
    Whole,
    /// It lacks something again.
    Lacking,
}

/// What is to be known of the change.
#[derive(Debug, Clone)]
pub(crate) struct Transition {
    pub(crate) from: MemberState,
    pub(crate) to: MemberState,
    pub(crate) cause: Option<Error>,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Machine {
    state: MemberState,
    since: Instant,
    cause: Option<Error>,
    failures: u32,
    unproven: u32,
    proofs: u32,
    recent: VecDeque<(Instant, bool)>,
    /// When the last failure was counted.
    failed_at: Option<Instant>,
    last_success: Instant,
    /// When it was last left or went down, the oldest first.
    departures: VecDeque<Instant>,
    whole: bool,
    refuses: bool,
}

impl Machine {
    /// A member of which nothing is known is believed to be well.
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            state: MemberState::Healthy,
            since: now,
            cause: None,
            failures: 0,
            unproven: 0,
            proofs: 0,
            recent: VecDeque::new(),
            failed_at: None,
            last_success: now,
            departures: VecDeque::new(),
            whole: false,
            refuses: false,
        }
    }

    pub(crate) fn state(&self) -> MemberState {
        self.state
    }

    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// When it last was well.
    pub(crate) fn last_success(&self) -> Instant {
        self.last_success
    }

    pub(crate) fn cause(&self) -> Option<&Error> {
        self.cause.as_ref()
    }

    /// Whether it answers and refuses.
    pub(crate) fn refuses(&self) -> bool {
        self.refuses
    }

    /// Whether it has been given a chance after it was away: proofs have begun to come.
    pub(crate) fn is_stirring(&self) -> bool {
        self.proofs > 0 || self.unproven > 0
    }

    /// How long it has to be whole before it counts as healthy.
    pub(crate) fn dwell(&self, settings: &Settings, longest_ttl: Duration, now: Instant) -> Duration {
        if settings.failback_dwell.is_zero() {
            return Duration::ZERO;
        }
        let base = settings.failback_dwell.max(longest_ttl + Duration::from_secs(5));
        let recent = self.departures.iter().filter(|at| now.duration_since(**at) < DEPARTURES).count();
        let doublings = u32::try_from(recent.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        base.saturating_mul(factor).min(settings.failback_dwell_max.max(settings.failback_dwell))
    }

    /// From when on a failure is another one: a hundred streams that break together are one.
    pub(crate) fn counts_from(&self, settings: &Settings) -> Instant {
        let latest = self.failed_at.filter(|_| self.state != MemberState::Healthy);
        latest.map_or(self.since, |at| at + settings.suspect_interval / 2)
    }

    /// How long until it is probed again.
    pub(crate) fn probe_pause(&self, settings: &Settings, dice: f64) -> Duration {
        if self.refuses {
            return REFUSED_AGAIN.max(settings.probe_interval);
        }
        match self.state {
            MemberState::Healthy | MemberState::Recovering | MemberState::Degraded => settings.probe_interval,
            MemberState::Suspect => settings.suspect_interval,
            _ if self.is_stirring() => settings.suspect_interval,
            _ => {
                let ceiling =
                    1_u32.checked_shl(self.failures.saturating_sub(settings.suspect_failures).min(16));
                let longest = settings.probe_interval.saturating_mul(ceiling.unwrap_or(u32::MAX));
                let longest = longest.min(settings.down_interval);
                settings.probe_interval / 2
                    + longest.saturating_sub(settings.probe_interval / 2).mul_f64(dice)
            }
        }
    }

    /// When to call [`tick`](Self::tick) if nothing else happens before.
    pub(crate) fn wake_at(
        &self,
        settings: &Settings,
        longest_ttl: Duration,
        now: Instant,
    ) -> Option<Instant> {
        match self.state {
            MemberState::Suspect => Some(self.last_success.max(self.since) + settings.suspect_time),
            MemberState::Recovering if self.whole => {
                Some(self.since + self.dwell(settings, longest_ttl, now))
            }
            _ => None,
        }
    }

    /// Time has passed.
    pub(crate) fn tick(
        &mut self,
        settings: &Settings,
        longest_ttl: Duration,
        now: Instant,
    ) -> Option<Transition> {
        let due = self.wake_at(settings, longest_ttl, now).is_some_and(|at| at <= now);
        match self.state {
            MemberState::Suspect if due => Some(self.go(MemberState::Down, self.cause.clone(), now)),
            MemberState::Recovering if due => Some(self.go(MemberState::Healthy, None, now)),
            _ => None,
        }
    }

    /// Takes what was learnt; the change of state, if it makes one.
    pub(crate) fn learn(
        &mut self,
        evidence: Evidence,
        settings: &Settings,
        now: Instant,
    ) -> Option<Transition> {
        match evidence {
            // A stream that was opened before goes on although nothing new is let in.
            Evidence::Proof if self.refuses => None,
            Evidence::Proof | Evidence::Probed => self.proof(settings, now),
            Evidence::Answer => {
                self.note(true, now);
                if self.state != MemberState::Down {
                    self.failures = 0;
                    self.last_success = now;
                }
                None
            }
            Evidence::Trouble(error) => self.trouble(error, false, settings, now),
            Evidence::Unreachable(error) => self.trouble(error, true, settings, now),
            Evidence::NoProof(error) => self.no_proof(error, settings, now),
            Evidence::Refusal(error) => self.refusal(error, now),
            Evidence::Whole => {
                self.whole = true;
                None
            }
            Evidence::Lacking => {
                self.whole = false;
                None
            }
        }
    }

    fn proof(&mut self, settings: &Settings, now: Instant) -> Option<Transition> {
        self.note(true, now);
        (self.failures, self.unproven, self.refuses) = (0, 0, false);
        self.proofs = self.proofs.saturating_add(1);
        self.last_success = now;
        match self.state {
            MemberState::Suspect => Some(self.go(MemberState::Healthy, None, now)),
            // Also after it was merely degraded: it was not written to, and so is not whole.
            MemberState::Down | MemberState::Degraded if self.proofs >= settings.recover_successes => {
                self.whole = false;
                Some(self.go(MemberState::Recovering, self.cause.clone(), now))
            }
            _ => None,
        }
    }

    fn trouble(
        &mut self,
        error: Error,
        unreachable: bool,
        settings: &Settings,
        now: Instant,
    ) -> Option<Transition> {
        // A degraded member refuses writes all the time: what it cannot do is no news.
        if self.state == MemberState::Degraded && !unreachable {
            return None;
        }
        if now < self.counts_from(settings) {
            return None;
        }
        self.failed_at = Some(now);
        self.note(false, now);
        self.failures = self.failures.saturating_add(1);
        self.proofs = 0;
        // A write that fails says nothing about a plain read that was answered.
        if unreachable || self.state == MemberState::Down {
            self.unproven = 0;
        }
        match self.state {
            MemberState::Healthy => Some(self.go(MemberState::Suspect, Some(error), now)),
            MemberState::Down => {
                if !self.refuses {
                    self.cause = Some(error);
                }
                None
            }
            _ if self.failures >= settings.suspect_failures || self.fails_too_often() => {
                Some(self.go(MemberState::Down, Some(error), now))
            }
            _ => {
                self.cause = Some(error);
                None
            }
        }
    }

    fn no_proof(&mut self, error: Error, settings: &Settings, now: Instant) -> Option<Transition> {
        (self.failures, self.proofs, self.refuses) = (0, 0, false);
        self.last_success = now;
        self.unproven = self.unproven.saturating_add(1);
        if self.state == MemberState::Degraded {
            self.cause = Some(error);
            return None;
        }
        if self.unproven >= settings.degraded_after {
            return Some(self.go(MemberState::Degraded, Some(error), now));
        }
        let well = self.state == MemberState::Healthy;
        well.then(|| self.go(MemberState::Suspect, Some(error), now))
    }

    /// What a person has to mend is not waited for: it is down, and seldom asked.
    fn refusal(&mut self, error: Error, now: Instant) -> Option<Transition> {
        (self.proofs, self.unproven) = (0, 0);
        self.refuses = true;
        if self.state == MemberState::Down {
            self.cause = Some(error);
            return None;
        }
        Some(self.go(MemberState::Down, Some(error), now))
    }

    fn note(&mut self, success: bool, now: Instant) {
        while self.recent.len() >= RATE_AT_MOST
            || self.recent.front().is_some_and(|(at, _)| now.duration_since(*at) > RATE_WINDOW)
        {
            self.recent.pop_front();
        }
        self.recent.push_back((now, success));
    }

    fn fails_too_often(&self) -> bool {
        let failures = self.recent.iter().filter(|(_, success)| !success).count();
        self.recent.len() >= RATE_AT_LEAST && failures * 2 >= self.recent.len()
    }

    fn go(&mut self, to: MemberState, cause: Option<Error>, now: Instant) -> Transition {
        let from = std::mem::replace(&mut self.state, to);
        (self.since, self.cause) = (now, cause.clone());
        if to == MemberState::Down {
            self.unproven = 0;
            self.recent.clear();
            self.departures.retain(|at| now.duration_since(*at) < DEPARTURES);
            self.departures.push_back(now);
        }
        if to != MemberState::Recovering {
            self.proofs = 0;
        }
        Transition { from, to, cause }
    }
}
