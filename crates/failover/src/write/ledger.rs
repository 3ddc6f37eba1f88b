//! What is written where: a pure machine. Per id and member one write is under way at a time, and only the newest intent
//! is ever sent, so that no old registration follows a newer removal.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Duration;

use callsign_core::{Error, InstanceKey, Pair, Record, Result};
use tokio::time::Instant;

use super::entry::{At, CallId, Entry, Intent, Mode, Output, Queued, Verb};
use super::pace::Pace;
use super::plan::Step;

/// A write to send.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) key: InstanceKey,
    pub(crate) verb: Verb,
    pub(crate) record: Record,
}

/// All ids.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(super) entries: HashMap<InstanceKey, Entry>,
    pub(super) members: Vec<Side>,
    calls: CallId,
}

/// One member, over all ids.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) mode: Mode,
    /// The ids of which something is queued and nothing is under way.
    pub(super) ready: VecDeque<InstanceKey>,
    /// The ids whose removal it has not confirmed.
    pub(super) pending: BTreeSet<InstanceKey>,
    pub(super) added: usize,
    pub(super) removed: usize,
    /// Its last answer was none.
    pub(super) silent: bool,
    pub(super) pace: Pace,
}

impl Side {
    fn new() -> Self {
        let (ready, pending) = (VecDeque::new(), BTreeSet::new());
        Self { mode: Mode::Open, ready, pending, added: 0, removed: 0, silent: false, pace: Pace::default() }
    }
}

/// A call that was taken.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) call: CallId,
    /// From how many members an answer comes.
    pub(crate) expected: usize,
    /// Those of them that are not asked, and why.
    pub(crate) refused: Vec<(usize, Error)>,
}

impl Ledger {
    pub(crate) fn new(members: usize) -> Self {
        let members = std::iter::repeat_with(Side::new).take(members).collect();
        Self { entries: HashMap::new(), members, calls: 0 }
    }

    /// Takes an owner's call.
    ///
    /// # Errors
    /// `Conflict` when a higher pair is wanted already and about to be sent; `Unavailable` when it waits for members that do
    /// not answer.
    pub(crate) fn begin(
        &mut self,
        verb: Verb,
        record: &Record,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) -> Result<Begun> {
        let key = record.key();
        let count = self.members.len();
        let entry = self.entries.entry(key.clone()).or_insert_with(|| Entry::new(record.clone(), count, now));
        // One that waits to be sent must not be pushed aside; what the members have, they say themselves.
        let waits = |at: &At| at.queued.as_ref().is_some_and(|one| one.verb != Verb::Deregister);
        let mut waiting = self.members.iter().zip(&entry.at).filter(|(_, at)| waits(at)).peekable();
        let held = entry.alive(now).map(Record::pair).filter(|held| *held > record.pair());
        if let Some(holder) = held.filter(|_| waiting.peek().is_some()) {
            if waiting.all(|(side, _)| side.silent) {
                return Err(Error::unavailable(format!("`{key}` waits to be registered with {holder}")));
            }
            return Err(Error::conflict(holder, format!("`{key}` is registered with the pair {holder}")));
        }
        self.calls += 1;
        let call = self.calls;
        let known = entry.generation > 0;
        entry.generation += 1;
        let mut begun = Begun { call, expected: 0, refused: Vec::new() };
        if verb == Verb::Deregister {
            entry.intent = Intent::Gone(record.clone());
            entry.alive_until = now;
            self.begin_removal(record, now, &mut begun, outputs);
        } else {
            entry.intent = Intent::Wanted(record.clone());
            entry.wants_for(record.ttl.get(), now);
            let plan = self.plan(verb, record, known, now);
            for (member, step) in plan.into_iter().enumerate() {
                match step {
                    Step::Nothing => {}
                    Step::Refuse(error) => {
                        begun.expected += 1;
                        begun.refused.push((member, error));
                    }
                    Step::Send(verb) => {
                        begun.expected += 1;
                        self.enqueue(member, key, verb, Some(call), outputs);
                    }
                }
            }
        }
        Ok(begun)
    }

    /// The next write for `member`.
    pub(crate) fn next(&mut self, member: usize, outputs: &mut Vec<Output>) -> Option<Job> {
        loop {
            let key = self.members.get_mut(member)?.ready.pop_front()?;
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            let intent = entry.intent.clone();
            let Some((side, at)) = self.side(member, &key) else { continue };
            // What is queued behind it is looked at when it has ended.
            let Some(queued) = at.queued.take_if(|_| at.flight.is_none()) else { continue };
            if let Mode::Closed(error) = &side.mode {
                answer(&queued.calls, member, error, outputs);
                continue;
            }
            let record = match queued.verb {
                Verb::Deregister => at.removal.as_ref().map(|removal| removal.record.clone()),
                _ => intent.wanted().cloned(),
            };
            let Some(record) = record else {
                answer(&queued.calls, member, &superseded(), outputs);
                continue;
            };
            at.touched |= queued.verb == Verb::Register;
            at.flight =
                Some(super::entry::Flight { verb: queued.verb, record: record.clone(), calls: queued.calls });
            return Some(Job { key, verb: queued.verb, record });
        }
    }

    /// The mode of `member` is another.
    pub(crate) fn set_mode(&mut self, member: usize, mode: Mode, now: Instant, outputs: &mut Vec<Output>) {
        let Some(side) = self.members.get_mut(member) else { return };
        let before = std::mem::replace(&mut side.mode, mode);
        let mode = side.mode.clone();
        if mode.same(&before) {
            return;
        }
        match &mode {
            Mode::Closed(error) => {
                let slow = std::mem::take(&mut side.pace).into_waiting();
                for key in std::mem::take(&mut side.ready).into_iter().chain(slow) {
                    let queued = self.side(member, &key).and_then(|(_, at)| at.queued.take());
                    if let Some(queued) = queued {
                        answer(&queued.calls, member, error, outputs);
                    }
                }
            }
            Mode::Open if matches!(before, Mode::Passive) => {
                self.retry_removals(member, now, outputs);
                // On a switch everything is registered again there.
                self.register_where(member, now, outputs, |at, pair| !at.has(pair, now));
            }
            _ => {
                if let Some(side) = self.members.get_mut(member)
                    && matches!(before, Mode::Closed(_))
                {
                    (side.added, side.removed) = (0, 0);
                    // What it refused before it went away it may take now.
                    self.entries.values_mut().for_each(|entry| entry.at[member].refused = None);
                }
                self.hurry_removals(member, now);
                self.retry_removals(member, now, outputs);
                if matches!(mode, Mode::Open) {
                    // What is there in an older state is mended at once; what is not there, with its next renewal.
                    self.register_where(member, now, outputs, |at, pair| {
                        at.has.is_some_and(|(has, _)| has != pair)
                    });
                }
            }
        }
    }

    fn register_where(
        &mut self,
        member: usize,
        now: Instant,
        outputs: &mut Vec<Output>,
        wanting: impl Fn(&At, Pair) -> bool,
    ) {
        let entries = self.entries.iter().filter(|(_, entry)| {
            let at = &entry.at[member];
            at.is_idle() && entry.alive(now).is_some_and(|record| wanting(at, record.pair()))
        });
        let keys: Vec<_> = entries.map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.enqueue(member, &key, Verb::Register, None, outputs);
        }
    }

    /// Forgets whom nobody has wanted for a ttl.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.entries.retain(|_, entry| !entry.is_over(now));
    }

    /// Every id that something is known of.
    pub(crate) fn own(&self) -> HashSet<InstanceKey> {
        self.entries.keys().cloned().collect()
    }

    /// Whether the owner of `key` still wants it.
    pub(crate) fn knows(&self, key: &InstanceKey) -> bool {
        self.entries.contains_key(key)
    }

    /// How many removals `member` has not confirmed.
    pub(crate) fn pending(&self, member: usize) -> usize {
        self.members.get(member).map_or(0, |side| side.pending.len())
    }

    /// Whether `member` has everything it should have, and nothing it should not. What it refuses for good is waited
    /// for by nobody.
    pub(crate) fn is_whole(&self, member: usize, now: Instant) -> bool {
        let Some(side) = self.members.get(member) else { return true };
        let removed = side.pending.iter().filter_map(|key| self.entries.get(key)).all(|entry| {
            let removal = entry.at[member].removal.as_ref();
            removal.is_none_or(|removal| removal.refused) || entry.alive(now).is_some()
        });
        removed
            && (matches!(side.mode, Mode::Passive)
                || self.entries.values().all(|entry| {
                    let at = &entry.at[member];
                    entry.alive(now).is_none_or(|record| {
                        at.has(record.pair(), now) || at.refused.is_some() || at.outranked.is_some()
                    })
                }))
    }

    /// What was made up for at `member` since it came back: added, removed, refused.
    pub(crate) fn healed(&self, member: usize) -> (usize, usize, usize) {
        let Some(side) = self.members.get(member) else { return (0, 0, 0) };
        let refused = self.entries.values().filter(|entry| entry.at[member].refused.is_some()).count();
        (side.added, side.removed, refused)
    }

    /// The longest ttl of all that is wanted.
    pub(crate) fn longest_ttl(&self, now: Instant) -> Duration {
        let alive = self.entries.values().filter_map(|entry| entry.alive(now));
        alive.map(|record| record.ttl.get()).max().unwrap_or_default()
    }

    pub(super) fn side(&mut self, member: usize, key: &InstanceKey) -> Option<(&mut Side, &mut At)> {
        let at = self.entries.get_mut(key)?.at.get_mut(member)?;
        Some((self.members.get_mut(member)?, at))
    }

    pub(super) fn enqueue(
        &mut self,
        member: usize,
        key: &InstanceKey,
        verb: Verb,
        call: Option<CallId>,
        outputs: &mut Vec<Output>,
    ) {
        let Some((side, at)) = self.side(member, key) else { return };
        let waited_for = call.is_some();
        let mut calls: Vec<_> = call.into_iter().collect();
        let was_queued = at.queued.is_some();
        if let Some(former) = at.queued.take() {
            if former.verb == verb || (verb == Verb::Register && former.verb == Verb::Renew) {
                // The newer write answers for both.
                calls.extend(former.calls);
            } else {
                answer(&former.calls, member, &superseded(), outputs);
            }
        }
        at.queued = Some(Queued { verb, calls });
        // What is waited for goes at once, also where it has been waiting for its turn: who finds it sent already skips it.
        if at.flight.is_none() && verb == Verb::Register && !waited_for && side.pace.is_slow() {
            if !was_queued {
                side.pace.wait(key.clone());
            }
        } else if at.flight.is_none() && (!was_queued || side.pace.is_slow()) {
            side.ready.push_back(key.clone());
        }
        outputs.push(Output::Wake { member });
    }
}

pub(super) fn answer(calls: &[CallId], member: usize, error: &Error, outputs: &mut Vec<Output>) {
    let answers = calls.iter().map(|call| Output::Answer { call: *call, member, answer: Err(error.clone()) });
    outputs.extend(answers);
}

/// The answer to a write whose place a newer one of the same id has taken before it was sent.
fn superseded() -> Error {
    Error::unavailable("a newer write of the same id has taken its place")
}
