//! A ledger, a registry and what may go wrong between them, step by step on a clock of its own.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

use callsign_core::{Error, ErrorKind, LostSignal, Record, Result};
use tokio::time::Instant;

use super::super::ledger::{Ledger, Outcome, Output};
use super::super::member::{Key, Stored};
use super::callers::{Answers, Asker, Call, key_of, value_of};
use super::registry::Registry;
use super::trouble::Mood;
use crate::session::Verb;

pub(super) const TICK: Duration = Duration::from_millis(500);
/// How long a call may take, as the session sees to it.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// How late a write is made whose answer nobody waits for any more.
pub(super) const LATEST: u64 = 20_000;
/// What the calls of a removal take, at the most, while everything is fine.
pub(super) const SLACK: Duration = Duration::from_secs(4);
/// How long calls from before may still be under way after everything is fine again.
pub(super) const AFTERMATH: Duration = Duration::from_secs(8);

#[derive(Debug)]
pub(super) enum Reply {
    Granted(i64, Duration),
    Outcomes(Vec<Outcome>),
    Done,
    Keys(Vec<Vec<u8>>),
}

#[derive(Debug)]
pub(super) enum Event {
    /// A request reaches the registry; `unheard`: nobody will know.
    Reach {
        request: usize,
        output: Rc<Output>,
        unheard: bool,
    },
    /// What came of a request is told.
    Tell(usize),
    Begun(Key),
    Saw(Key, i64, Option<Stored>),
    Tick,
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) output: Rc<Output>,
    sent_at: Instant,
    pub(super) reply: Result<Reply>,
    /// Whether it may be made once more.
    doubtful: bool,
}

pub(super) struct World {
    pub(super) rng: fastrand::Rng,
    pub(super) now: Instant,
    pub(super) registry: Registry,
    pub(super) ledger: Ledger<Asker>,
    pub(super) mood: Mood,
    pub(super) fine_since: Instant,
    pub(super) down_since: Instant,
    pub(super) agenda: BTreeMap<(Instant, u64), Event>,
    events: u64,
    sent: usize,
    pub(super) requests: HashMap<usize, Request>,
    pub(super) calls: Vec<Call>,
    answers: Answers,
    /// Which watches are asked for; when the last thing they show is shown, for those that have begun.
    pub(super) watched: BTreeMap<Key, Option<Instant>>,
    pub(super) loses_events: bool,
    /// Per key: the last call that wants its record to live on.
    pub(super) wanted_at: HashMap<Key, Instant>,
    pub(super) signals: Vec<(usize, LostSignal)>,
    /// When the last renewal that was answered, or the grant, was sent.
    pub(super) renewed_at: HashMap<i64, Instant>,
    ours: HashSet<i64>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let now = Instant::now();
        let mut world = Self {
            rng: fastrand::Rng::with_seed(seed),
            now,
            registry: Registry::new(),
            ledger: Ledger::new(),
            mood: Mood::Fine,
            fine_since: now,
            down_since: now,
            agenda: BTreeMap::new(),
            events: 0,
            sent: 0,
            requests: HashMap::new(),
            calls: Vec::new(),
            answers: Answers::default(),
            watched: BTreeMap::new(),
            loses_events: false,
            wanted_at: HashMap::new(),
            signals: Vec::new(),
            renewed_at: HashMap::new(),
            ours: HashSet::new(),
        };
        world.schedule(TICK, Event::Tick);
        world
    }

    pub(super) fn is_ours(&self, lease: i64) -> bool {
        self.ours.contains(&lease)
    }

    fn schedule(&mut self, after: Duration, event: Event) {
        self.events += 1;
        self.agenda.insert((self.now + after, self.events), event);
    }

    fn some_millis(&mut self, upper: u64) -> Duration {
        Duration::from_millis(self.rng.u64(..upper))
    }

    /// What a call takes while everything is fine.
    fn some_latency(&mut self) -> Duration {
        let upper = if self.rng.u8(..20) == 0 { 200 } else { 20 };
        self.some_millis(upper)
    }

    pub(super) fn ask(&mut self, verb: Verb, record: &Record) -> usize {
        let key = key_of(record);
        let (call, gone) = (self.calls.len(), Rc::new(Cell::new(false)));
        let asker = Asker { call, gone: gone.clone(), answers: self.answers.clone(), answered: false };
        self.calls.push(Call {
            verb,
            key: key.clone(),
            record: record.clone(),
            asked_at: self.now,
            gone,
            answer: None,
        });
        match verb {
            Verb::Register => self.ledger.register(&key, record, value_of(record), asker, self.now),
            Verb::Renew => self.ledger.renew(key.clone(), record, asker, self.now),
            Verb::Deregister => self.ledger.deregister(&key, record, asker, self.now),
        }
        let refused = self
            .answers
            .borrow()
            .iter()
            .any(|(id, result)| *id == call && result.as_ref().is_some_and(Result::is_err));
        if verb == Verb::Renew && !refused {
            self.wanted_at.insert(key, self.now);
        }
        self.settle();
        call
    }

    pub(super) fn give_up(&mut self, call: usize) {
        self.calls[call].gone.set(true);
    }

    /// Lets time pass, with everything that falls due.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = self.agenda.first_key_value().map(|((at, _), _)| *at);
            let ends = self.registry.ends_next().filter(|(at, _)| next.is_none_or(|next| *at <= next));
            if let Some((at, lease)) = ends.filter(|(at, _)| *at <= end) {
                self.now = self.now.max(at);
                self.registry.revoke(lease, self.now);
                self.show_changes();
                continue;
            }
            let Some(((at, _), event)) = next.filter(|at| *at <= end).and_then(|_| self.agenda.pop_first())
            else {
                self.now = end;
                return;
            };
            self.now = self.now.max(at);
            self.happen(event);
            self.settle();
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Reach { request, output, unheard } => {
                let reply = self.reach(&output, unheard);
                self.show_changes();
                if let Some(request) = self.requests.get_mut(&request).filter(|_| !unheard) {
                    request.reply = reply;
                }
            }
            Event::Tell(request) => self.tell(request),
            Event::Begun(key) => {
                if let Some(shown) = self.watched.get_mut(&key) {
                    *shown = Some(self.now);
                    self.ledger.watched(&key, self.now);
                }
            }
            Event::Saw(key, revision, stored) => {
                if self.watched.contains_key(&key) {
                    self.ledger.saw(&key, revision, stored);
                }
            }
            Event::Tick => {
                if self.mood != Mood::Down {
                    self.ledger.tick(self.now);
                }
                self.nothing_lives_on_its_neighbours();
                self.schedule(TICK, Event::Tick);
            }
        }
    }

    fn reach(&mut self, output: &Output, unheard: bool) -> Result<Reply> {
        let now = self.now;
        match output {
            Output::Grant { seconds, .. } => {
                let (lease, ttl) = self.registry.grant(*seconds, now);
                if !unheard {
                    self.ours.insert(lease);
                }
                Ok(Reply::Granted(lease, ttl))
            }
            Output::Write { items, .. } => self.registry.write(items, unheard, now).map(Reply::Outcomes),
            Output::KeepAlive { lease, .. } => self.registry.keep_alive(*lease, now).map(|()| Reply::Done),
            Output::Prove { expected, .. } => Ok(Reply::Outcomes(self.registry.look(expected))),
            Output::Inspect { lease, .. } => {
                Ok(Reply::Keys(self.registry.keys_of(*lease).iter().map(|key| key.to_vec()).collect()))
            }
            Output::Watch(_) | Output::Unwatch(_) => Ok(Reply::Done),
        }
    }

    fn tell(&mut self, request: usize) {
        let Request { output, sent_at, reply, doubtful } = self.requests.remove(&request).unwrap();
        let now = self.now;
        match &*output {
            Output::Grant { shard, .. } => {
                let result = reply.map(|reply| match reply {
                    Reply::Granted(lease, ttl) => {
                        self.renewed_at.insert(lease, sent_at);
                        (lease, ttl)
                    }
                    reply => panic!("{reply:?}"),
                });
                self.ledger.granted(*shard, sent_at, result);
            }
            Output::Write { shard, items } => {
                let result = reply.map(outcomes);
                self.ledger.wrote(*shard, items.clone(), doubtful, result, now);
            }
            Output::KeepAlive { shard, lease } => {
                if reply.is_ok() {
                    self.renewed_at.insert(*lease, sent_at);
                }
                self.ledger.kept_alive(*shard, *lease, sent_at, reply.map(drop), now);
            }
            Output::Prove { shard, expected } => {
                self.ledger.proved(*shard, expected, reply.map(outcomes), now);
            }
            Output::Inspect { shard, lease } => {
                let keys = reply.map(|reply| match reply {
                    Reply::Keys(keys) => keys,
                    reply => panic!("{reply:?}"),
                });
                self.ledger.inspected(*shard, *lease, keys, now);
            }
            Output::Watch(_) | Output::Unwatch(_) => {}
        }
    }

    /// Does what the ledger asks for, and looks at what it answers.
    pub(super) fn settle(&mut self) {
        for output in self.ledger.take_outputs() {
            match output {
                Output::Watch(key) => self.begin_watch(key),
                Output::Unwatch(key) => drop(self.watched.remove(&key)),
                output => self.send(output),
            }
        }
        loop {
            let Some((call, result)) = self.answers.borrow_mut().pop() else { break };
            self.hear(call, result);
        }
        self.losses_are_losses();
    }

    pub(super) fn begin_watch(&mut self, key: Key) {
        self.watched.insert(key.clone(), None);
        let after = self.some_millis(500);
        self.schedule(after, Event::Begun(key));
    }

    pub(super) fn show_changes(&mut self) {
        for change in std::mem::take(&mut self.registry.changes) {
            let lost = self.mood == Mood::Down || (self.loses_events && self.rng.bool());
            let after = self.some_latency();
            let Some(Some(shown)) = self.watched.get_mut(&change.key) else { continue };
            if !lost {
                *shown = (*shown).max(self.now + after);
                let after = *shown - self.now;
                self.schedule(after, Event::Saw(change.key, change.revision, change.stored));
            }
        }
    }

    fn send(&mut self, output: Output) {
        self.one_at_a_time(&output);
        self.well_formed(&output);
        self.sent += 1;
        let request = self.sent;
        let output = Rc::new(output);
        let (way, back, late) = (self.some_latency(), self.some_latency(), self.some_millis(LATEST));
        let reach = |unheard| Event::Reach { request, output: output.clone(), unheard };
        let unknown = || Err(Error::timeout("no answer").with_outcome_unknown());
        let mood = match self.mood {
            Mood::Mixed => {
                [Mood::Fine, Mood::Down, Mood::Silent, Mood::LosesAnswers, Mood::Rotates][self.rng.usize(..5)]
            }
            mood => mood,
        };
        let (reply, doubtful, told_after) = match mood {
            Mood::Fine | Mood::Mixed => {
                self.schedule(way, reach(false));
                (Ok(Reply::Done), false, way + back)
            }
            Mood::Down => (Err(Error::unavailable("connection refused")), false, Duration::from_millis(1)),
            Mood::Refuses => {
                let error = Error::new(ErrorKind::RateLimited, "too many requests");
                (Err(error), false, Duration::from_millis(1))
            }
            Mood::Silent => {
                if self.rng.bool() {
                    self.schedule(late, reach(true));
                }
                (unknown(), true, PATIENCE)
            }
            Mood::LosesAnswers => {
                self.schedule(way, reach(true));
                (unknown(), true, PATIENCE)
            }
            Mood::Rotates => {
                self.schedule(way, reach(false));
                self.schedule(way + late, reach(true));
                (Ok(Reply::Done), true, way + back)
            }
        };
        self.requests.insert(request, Request { output, sent_at: self.now, reply, doubtful });
        self.schedule(told_after, Event::Tell(request));
    }

    pub(super) fn nothing_is_late(&self) -> bool {
        !self.agenda.values().any(|event| matches!(event, Event::Reach { unheard: true, .. }))
    }
}

fn outcomes(reply: Reply) -> Vec<Outcome> {
    match reply {
        Reply::Outcomes(outcomes) => outcomes,
        reply => panic!("{reply:?}"),
    }
}
