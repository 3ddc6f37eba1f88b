//! Who asks the ledger, and what becomes of it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::SystemTime;

use callsign_core::{Instance, Namespace, Pair, Receipt, Record, Result, ServiceKey, Ttl};
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

/// A record of number `n`, in one of two namespaces.
pub(super) fn record(n: usize, pair: Pair, weight: u16, ttl: u64) -> Record {
    let namespace = Namespace::new(format!("n{}", n % 2)).unwrap();
    let service = ServiceKey::new("orders").unwrap().with_namespace(namespace);
    let builder = Instance::builder(service).id(format!("i-{n}")).endpoint("http://127.0.0.1:1");
    let builder = builder.registered_at(SystemTime::UNIX_EPOCH);
    Record::new(builder.weight(weight).pair(pair).build().unwrap(), Ttl::from_secs(ttl).unwrap())
}

pub(super) fn key_of(record: &Record) -> Key {
    let key = record.key();
    format!("{}/{}", key.service.namespace, key.id).into_bytes().into()
}

pub(super) fn value_of(record: &Record) -> Vec<u8> {
    format!("{} {:?}", record.pair(), record.instance.weight).into_bytes()
}
