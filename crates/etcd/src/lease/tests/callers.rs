//! Who asks the ledger, and what becomes of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use callsign_core::{Receipt, Record, Result};
use tokio::time::Instant;

use super::super::ledger::Caller;
use super::super::member::Key;
use crate::session::Verb;

/// What is asked, and how it ended.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) verb: Verb,
    pub(super) key: Key,
    pub(super) record: Record,
    pub(super) asked_at: Instant,
    pub(super) gone: Rc<Cell<bool>>,
    pub(super) answer: Option<Result<Receipt>>,
}

pub(super) type Answers = Rc<RefCell<Vec<(usize, Option<Result<Receipt>>)>>>;

#[derive(Debug)]
pub(super) struct Asker {
    pub(super) call: usize,
    pub(super) gone: Rc<Cell<bool>>,
    pub(super) answers: Answers,
    pub(super) answered: bool,
}

impl Caller for Asker {
    fn answer(mut self, result: Result<Receipt>) {
        self.answered = true;
        self.answers.borrow_mut().push((self.call, Some(result)));
    }

    fn is_gone(&self) -> bool {
        self.gone.get()
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if !self.answered {
            self.answers.borrow_mut().push((self.call, None));
        }
    }
}

pub(super) fn key_of(record: &Record) -> Key {
    let key = record.key();
    format!("{}/{}", key.service.namespace, key.id).into_bytes().into()
}

pub(super) fn value_of(record: &Record) -> Vec<u8> {
    format!("{} {:?}", record.pair(), record.instance.weight).into_bytes()
}
