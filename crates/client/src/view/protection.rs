//! Removals that are too good to be true are held until somebody confirms them. An instance that the registry still
//! lists, as critical, is removed from traffic: that counts as well.
//!
//! The rule is Envoy's (absent and healthy: keep; absent and not: drop) with an end, because protection without one
//! keeps clients on dead hosts (dubbo#9965), and above every registry, because a guard inside one is forgotten
//! (nacos#4470).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use callsign_core::{Instance, InstanceId, Listing};
use tokio::time::Instant;

use super::HoldKind;
use super::merge::unfit;
use crate::prober::Probed;

/// The share of a set that may vanish within [`WINDOW`] without being held.
const LIMIT: f64 = 0.3;
/// Over how much time removals add up.
const WINDOW: Duration = Duration::from_secs(10);
/// How often a held instance is probed, and the registry asked again until it has answered.
const AGAIN: Duration = Duration::from_secs(2);
/// How long an instance that answers is kept although the registry does not stand by it.
const KEEP_ANSWERING: Duration = Duration::from_secs(300);
/// How long an instance that cannot be probed is kept.
const KEEP_UNPROBED: Duration = Duration::from_secs(30);

/// Counts the removals that nobody announced.
#[derive(Debug, Default)]
pub(crate) struct Gate(VecDeque<(Instant, usize)>);

impl Gate {
    /// Decides on `missing` unannounced removals from a set of `set` that leave `present` instances: let through, or
    /// the reason to hold them.
    pub(crate) fn judge(
        &mut self,
        missing: usize,
        present: usize,
        set: usize,
        now: Instant,
    ) -> Option<HoldKind> {
        while self.0.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.0.pop_front();
        }
        if present == 0 {
            return Some(HoldKind::Empty);
        }
        let recent: usize = self.0.iter().map(|(_, count)| count).sum();
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let limit = ((set + recent) as f64 * LIMIT) as usize;
        if recent + missing > limit.max(1) {
            return Some(HoldKind::MassLoss);
        }
        self.0.push_back((now, missing));
        None
    }
}

#[derive(Debug)]
struct Hold {
    since: Instant,
    until: Instant,
    /// The question under way is about it, too.
    asked: bool,
    /// The registry was asked again and does not list it as fit.
    absent: bool,
    probe: Probe,
    /// The last probe had no answer.
    silent: bool,
}

#[derive(Debug)]
enum Probe {
    Due(Instant),
    UnderWay,
}

/// Whether the registry is being asked again.
#[derive(Debug)]
enum Question {
    NotNeeded,
    Due(Instant),
    UnderWay,
}

/// The instances that are shown although the registry does not list them, or lists them as critical.
#[derive(Debug)]
pub(crate) struct Holds {
    held: BTreeMap<InstanceId, Hold>,
    kind: HoldKind,
    question: Question,
}

impl Holds {
    pub(crate) fn new() -> Self {
        Self { held: BTreeMap::new(), kind: HoldKind::Empty, question: Question::NotNeeded }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    pub(crate) fn kind(&self) -> HoldKind {
        self.kind
    }

    pub(crate) fn contains(&self, id: &InstanceId) -> bool {
        self.held.contains_key(id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &InstanceId> {
        self.held.keys()
    }

    /// When the last one goes at the latest.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.held.values().map(|hold| hold.until).max()
    }

    /// Holds `instance`. `confirmed`: nobody can be asked again, because the registry has no quorum for this.
    pub(crate) fn hold(&mut self, instance: &Instance, kind: HoldKind, confirmed: bool, now: Instant) {
        self.kind = kind;
        let probe = Probe::Due(now);
        let hold = Hold {
            since: now,
            until: now + KEEP_ANSWERING,
            asked: false,
            absent: confirmed,
            probe,
            silent: false,
        };
        self.held.insert(instance.id().clone(), hold);
        if !confirmed && matches!(self.question, Question::NotNeeded) {
            self.question = Question::Due(now);
        }
    }

    /// The registry was asked again and has answered: whom it was asked about and still does not list as
    /// fit is absent.
    pub(crate) fn confirm(&mut self, now: Instant) {
        for hold in self.held.values_mut() {
            hold.absent |= hold.asked;
        }
        self.ask_again_at(now);
    }

    /// The registry was asked again and has not answered.
    pub(crate) fn not_confirmed(&mut self, now: Instant) {
        self.ask_again_at(now + AGAIN);
    }

    fn ask_again_at(&mut self, at: Instant) {
        let needed = self.held.values().any(|hold| !hold.absent);
        self.question = if needed { Question::Due(at) } else { Question::NotNeeded };
    }

    /// Lets go of what `listing` lists again as fit for traffic; how many those are.
    pub(crate) fn release_listed(&mut self, listing: &Listing) -> usize {
        let before = self.held.len();
        // A record that cannot be decoded is there all the same.
        let listed = |id: &InstanceId| {
            let found = listing.instances.binary_search_by(|instance| instance.id().cmp(id));
            found.is_ok_and(|at| !unfit(&listing.instances[at]))
                || listing.skipped.iter().any(|skipped| *skipped.id == *id.as_str())
        };
        self.held.retain(|id, _| !listed(id));
        before - self.held.len()
    }

    /// Lets go of one that left by itself.
    pub(crate) fn forget(&mut self, id: &InstanceId) {
        self.held.remove(id);
    }

    /// Takes the result of a probe.
    pub(crate) fn probed(&mut self, id: &InstanceId, probed: Probed, now: Instant) {
        let Some(hold) = self.held.get_mut(id) else { return };
        hold.silent = probed == Probed::Silent;
        hold.probe = Probe::Due(now + AGAIN);
        if probed == Probed::Impossible {
            hold.until = hold.until.min(hold.since + KEEP_UNPROBED);
            hold.probe = Probe::Due(hold.until);
        }
    }

    /// The ones to let go now, sorted: absent and silent, or held for long enough.
    pub(crate) fn verdicts(&mut self, now: Instant) -> Vec<InstanceId> {
        self.held
            .extract_if(.., |_, hold| (hold.absent && hold.silent) || now >= hold.until)
            .map(|(id, _)| id)
            .collect()
    }

    /// The ones to probe now.
    pub(crate) fn probes(&mut self, now: Instant) -> Vec<InstanceId> {
        let mut due = Vec::new();
        for (id, hold) in &mut self.held {
            if matches!(hold.probe, Probe::Due(at) if at <= now) {
                hold.probe = Probe::UnderWay;
                due.push(id.clone());
            }
        }
        due
    }

    /// Whether to ask the registry now.
    pub(crate) fn ask(&mut self, now: Instant) -> bool {
        let due = matches!(self.question, Question::Due(at) if at <= now);
        if due {
            self.question = Question::UnderWay;
            for hold in self.held.values_mut() {
                hold.asked = true;
            }
        }
        due
    }

    /// When there is something to do.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        let holds = self.held.values().map(|hold| match hold.probe {
            Probe::Due(at) => at.min(hold.until),
            Probe::UnderWay => hold.until,
        });
        if self.held.is_empty() {
            // The question is about nobody any more.
            return None;
        }
        let question = if let Question::Due(at) = self.question { Some(at) } else { None };
        holds.chain(question).min()
    }
}
