//! The ledger, and who waits for its answers.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::{Error, ErrorKind, InstanceKey, LostSignal, LostTrigger, Receipt, Record, Result};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, timeout, timeout_at};

use super::entry::{CallId, Output};
use super::ledger::{Job, Ledger};
use super::tally::Tally;
use super::{Mode, Verb};
use crate::shared::Shared;

/// How long a removal that some member has not heard of waits to be on the disk.
const ON_DISK: Duration = Duration::from_secs(1);

type Answers = mpsc::Sender<(usize, Result<Receipt>)>;

#[derive(Debug)]
struct Books {
    ledger: Ledger,
    calls: HashMap<CallId, Answers>,
    /// What fires when nobody has the record any more.
    lost: HashMap<InstanceKey, (LostTrigger, LostSignal)>,
}

/// Everything that is written.
#[derive(Debug)]
pub(crate) struct Writer {
    books: Mutex<Books>,
    wake: Vec<Notify>,
}

impl Writer {
    pub(crate) fn new(members: usize) -> Self {
        let books = Books { ledger: Ledger::new(members), calls: HashMap::new(), lost: HashMap::new() };
        Self { books: Mutex::new(books), wake: (0..members).map(|_| Notify::new()).collect() }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // A panic of another thread leaves the ledger whole: its steps do not panic half way.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes `record` to all members that should have it.
    pub(crate) async fn write(&self, shared: &Arc<Shared>, verb: Verb, record: &Record) -> Result<Receipt> {
        let settings = &shared.settings;
        let (sender, mut answers) = mpsc::channel(shared.members.len().max(1) * 2);
        // Before anything is waited for: a caller that goes away has asked all the same.
        let begun = self.step(shared, |books, outputs| {
            let begun = books.ledger.begin(verb, record, Instant::now(), outputs)?;
            books.calls.insert(begun.call, sender);
            Ok::<_, Error>(begun)
        });
        let begun = begun.map_err(|error| shared.named(verb.name(), error))?;
        let _gone = Gone { writer: self, call: begun.call };
        let on_disk =
            shared.journal.as_ref().filter(|_| verb == Verb::Deregister).map(crate::journal::Journal::now);
        let mut tally = Tally::new(verb, begun.expected);
        for (member, error) in begun.refused {
            tally.take(member, Err(error));
        }
        let mut until = Instant::now() + settings.write_timeout;
        let mut graced = false;
        while !tally.is_complete() {
            if tally.has_succeeded() && !graced {
                (graced, until) = (true, until.min(Instant::now() + settings.fanout_grace));
            }
            match timeout_at(until, answers.recv()).await {
                Ok(Some((member, answer))) => tally.take(member, answer),
                Ok(None) | Err(_) => break,
            }
        }
        if let (Some(journal), Some(position)) = (&shared.journal, on_disk)
            && tally.is_pending()
        {
            // One that cannot be written has told of it; nobody is kept waiting for a disk.
            let _ = timeout(ON_DISK, journal.written(position)).await;
        }
        let name = |member: usize| shared.members[member].name.clone();
        let told_by = |errors: &[(usize, &Error)]| shared.told_by_all(verb.name(), errors);
        let receipt = tally.result(shared.members.len(), name, told_by)?;
        if verb == Verb::Deregister {
            self.books().lost.remove(record.key());
            return Ok(receipt);
        }
        Ok(receipt.with_lost(self.lost_signal(record.key())))
    }

    fn lost_signal(&self, key: &InstanceKey) -> LostSignal {
        let mut books = self.books();
        books.lost.entry(key.clone()).or_insert_with(LostSignal::channel).1.clone()
    }

    fn step<T>(&self, shared: &Shared, step: impl FnOnce(&mut Books, &mut Vec<Output>) -> T) -> T {
        let mut outputs = Vec::new();
        let mut books = self.books();
        let result = step(&mut books, &mut outputs);
        let mut fenced = Vec::new();
        for output in outputs {
            match output {
                Output::Answer { call, member, answer } => {
                    if let Some(sender) = books.calls.get(&call) {
                        // There is room for an answer of each member; who is gone needs none.
                        let _ = sender.try_send((member, answer));
                    }
                }
                Output::Lost { key, cause } => {
                    if let Some((trigger, _)) = books.lost.remove(&key) {
                        trigger.fire(shared.named("lost", cause));
                    }
                }
                Output::Fenced { key, holder } => fenced.push((key, holder)),
                Output::Remember { record, members } => {
                    if let Some(journal) = &shared.journal {
                        let names = members.iter().map(|member| shared.members[*member].name.clone());
                        journal.remember(&record, names.collect());
                    }
                }
                Output::Forget { key, member } => {
                    if let Some(journal) = &shared.journal {
                        journal.forget(key, shared.members[member].name.clone());
                    }
                }
                Output::Wake { member } => self.wake[member].notify_one(),
            }
        }
        drop(books);
        for (key, holder) in fenced {
            shared.fenced(key, holder);
        }
        result
    }

    pub(super) fn next(&self, shared: &Shared, member: usize) -> Option<Job> {
        self.step(shared, |books, outputs| books.ledger.next(member, outputs))
    }

    pub(super) fn done(&self, shared: &Shared, member: usize, key: &InstanceKey, answer: &Result<Receipt>) {
        self.step(shared, |books, outputs| books.ledger.done(member, key, answer, Instant::now(), outputs));
    }

    pub(super) fn slow(&self, shared: &Shared, member: usize, key: &InstanceKey, error: &Error) {
        self.step(shared, |books, outputs| books.ledger.slow(member, key, error, outputs));
    }

    pub(super) fn lost(&self, shared: &Shared, member: usize, key: &InstanceKey, cause: &Error) {
        self.step(shared, |books, outputs| books.ledger.lost(member, key, cause, Instant::now(), outputs));
    }

    pub(super) fn retry(&self, shared: &Shared, member: usize) {
        self.step(shared, |books, outputs| {
            books.ledger.retry_removals(member, Instant::now(), outputs);
            books.ledger.heal(member, Instant::now(), outputs);
        });
    }

    pub(super) async fn woken(&self, member: usize) {
        self.wake[member].notified().await;
    }

    pub(crate) fn set_mode(&self, shared: &Shared, member: usize, mode: Mode, healing: bool) {
        self.step(shared, |books, outputs| {
            books.ledger.set_healing(member, healing, Instant::now(), outputs);
            books.ledger.set_mode(member, mode, Instant::now(), outputs);
        });
    }

    /// Removals that a former process did not get done.
    pub(crate) fn restore(&self, shared: &Shared, record: &Record, members: &[usize]) {
        self.step(shared, |books, outputs| books.ledger.restore(record, members, Instant::now(), outputs));
    }

    pub(crate) fn pending(&self, member: usize) -> usize {
        self.books().ledger.pending(member)
    }

    pub(crate) fn is_whole(&self, member: usize) -> bool {
        self.books().ledger.is_whole(member, Instant::now())
    }

    pub(crate) fn healed(&self, member: usize) -> (usize, usize, usize) {
        self.books().ledger.healed(member)
    }

    pub(crate) fn longest_ttl(&self) -> Duration {
        self.books().ledger.longest_ttl(Instant::now())
    }

    /// What is registered by this process, or was a moment ago.
    pub(crate) fn own(&self) -> HashSet<InstanceKey> {
        self.books().ledger.own()
    }

    pub(crate) fn knows(&self, key: &InstanceKey) -> bool {
        self.books().ledger.knows(key)
    }

    pub(crate) fn sweep(&self) {
        let mut books = self.books();
        books.ledger.sweep(Instant::now());
        let Books { ledger, lost, .. } = &mut *books;
        lost.retain(|key, _| ledger.knows(key));
    }
}

/// Forgets a call whose caller is gone.
struct Gone<'a> {
    writer: &'a Writer,
    call: CallId,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.writer.books().calls.remove(&self.call);
    }
}

/// How a call ended, in a word.
pub(super) fn outcome(answer: &Result<Receipt>) -> &'static str {
    match answer.as_ref().map_err(Error::kind) {
        Ok(receipt) if receipt.committed => "ok",
        Ok(_) => "accepted",
        Err(ErrorKind::NotFound) => "not_found",
        Err(ErrorKind::Conflict) => "conflict",
        Err(ErrorKind::Timeout) => "timeout",
        Err(ErrorKind::Unavailable) => "unavailable",
        Err(_) => "refused",
    }
}
