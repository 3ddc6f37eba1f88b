//! A ledger that is asked and told by hand.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use callsign_core::{Error, Receipt, Record, Result};
use tokio::time::Instant;

use super::super::ledger::{Item, Ledger, Outcome, Output};
use super::super::member::Key;
use super::callers::{Answers, Asker, key_of, value_of};
use crate::session::Verb;

/// Asks, and hands over what is asked for.
pub(super) struct Desk {
    pub(super) ledger: Ledger<Asker>,
    pub(super) now: Instant,
    answers: Answers,
    asked: usize,
    outputs: Vec<Output>,
}

impl Desk {
    pub(super) fn new() -> Self {
        let (now, answers) = (Instant::now(), Answers::default());
        Self { ledger: Ledger::new(), now, answers, asked: 0, outputs: Vec::new() }
    }

    /// Asks; what is returned makes that nobody waits for the answer.
    pub(super) fn ask(&mut self, verb: Verb, record: &Record) -> Rc<Cell<bool>> {
        self.asked += 1;
        let gone = Rc::new(Cell::new(false));
        let asker =
            Asker { call: self.asked, gone: gone.clone(), answers: self.answers.clone(), answered: false };
        let key = key_of(record);
        match verb {
            Verb::Register => self.ledger.register(&key, record, value_of(record), asker, self.now),
            Verb::Renew => self.ledger.renew(key, record, asker, self.now),
            Verb::Deregister => self.ledger.deregister(&key, record, asker, self.now),
        }
        gone
    }

    /// The answers that have come since the last time.
    pub(super) fn answers(&self) -> Vec<Result<Receipt>> {
        self.answers.borrow_mut().drain(..).map(|(_, answer)| answer.expect("an answer")).collect()
    }

    pub(super) fn receipt(&self) -> Receipt {
        let [answer] = <[_; 1]>::try_from(self.answers()).expect("one answer");
        answer.expect("a receipt")
    }

    /// What is asked for, and fits; the rest waits.
    pub(super) fn asks<T>(&mut self, fits: impl Fn(&Output) -> Option<T>) -> Option<T> {
        self.outputs.extend(self.ledger.take_outputs());
        let (at, found) =
            self.outputs.iter().enumerate().find_map(|(at, output)| Some((at, fits(output)?)))?;
        self.outputs.remove(at);
        Some(found)
    }

    pub(super) fn asks_to_write(&mut self) -> Option<(u64, Vec<Item>)> {
        self.asks(|output| match output {
            Output::Write { shard, items } => Some((*shard, items.clone())),
            _ => None,
        })
    }

    pub(super) fn asks_for_renewal(&mut self) -> Option<i64> {
        self.asks(|output| match output {
            Output::KeepAlive { lease, .. } => Some(*lease),
            _ => None,
        })
    }

    pub(super) fn asks_for_a_look(&mut self) -> Option<Vec<(Key, i64)>> {
        self.asks(|output| match output {
            Output::Prove { expected, .. } => Some(expected.clone()),
            _ => None,
        })
    }

    fn asks_for_a_lease(&mut self) -> (u64, Duration) {
        let asked = self.asks(|output| match output {
            Output::Grant { shard, seconds } => Some((*shard, Duration::from_secs(*seconds))),
            _ => None,
        });
        asked.expect("a lease is asked for")
    }

    pub(super) fn grants(&mut self, lease: i64) {
        let (shard, ttl) = self.asks_for_a_lease();
        self.ledger.granted(shard, self.now, Ok((lease, ttl)));
    }

    pub(super) fn refuses_a_lease(&mut self) {
        let (shard, _) = self.asks_for_a_lease();
        self.ledger.granted(shard, self.now, Err(Error::unavailable("no")));
    }

    /// The write that is asked for ends so, for each of its keys.
    pub(super) fn writes(&mut self, outcome: impl Fn() -> Outcome) {
        let (shard, items) = self.asks_to_write().expect("a write is asked for");
        self.wrote(shard, items, outcome);
    }

    pub(super) fn wrote(&mut self, shard: u64, items: Vec<Item>, outcome: impl Fn() -> Outcome) {
        let outcomes = items.iter().map(|_| outcome()).collect();
        self.ledger.wrote(shard, items, false, Ok(outcomes), self.now);
    }

    /// Registers `record` with a lease of its own.
    pub(super) fn registers(&mut self, record: &Record, lease: i64, mod_revision: i64) -> Receipt {
        self.ask(Verb::Register, record);
        self.grants(lease);
        self.writes(|| Outcome::Applied { mod_revision });
        self.receipt()
    }

    pub(super) fn renewed(&mut self, lease: i64, result: Result<()>) {
        self.ledger.kept_alive(0, lease, self.now, result, self.now);
    }
}
