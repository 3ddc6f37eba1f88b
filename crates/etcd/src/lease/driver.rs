//! Does what the ledger asks for, in one task that is started by the first write.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callsign_core::task::{Spawner, Task};
use callsign_core::{Error, Receipt, Record, Result, stored};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ledger::{Caller, Item, Ledger, Outcome, Output, ShardId};
use super::member::{Key, Stored};
use super::txn;
use crate::connection::Subject;
use crate::session::{Session, Verb};
use crate::watch::{Change, Range, Sink, Subscription, Taken};

/// How many calls may wait to be taken up; further ones wait to be queued.
const BACKLOG: usize = 1024;
/// How late a record that nobody renews may be noticed.
const TICK: Duration = Duration::from_millis(500);

/// Writes records, and keeps the leases that they share.
#[derive(Debug)]
pub(crate) struct Leases {
    session: Arc<Session>,
    running: Mutex<Option<(mpsc::Sender<Command>, Task)>>,
}

#[derive(Debug)]
pub(crate) struct Command {
    verb: Verb,
    record: Record,
    value: Vec<u8>,
    answer: oneshot::Sender<Result<Receipt>>,
}

impl Caller for oneshot::Sender<Result<Receipt>> {
    fn answer(self, result: Result<Receipt>) {
        // An error means that the caller has gone.
        let _ = self.send(result);
    }

    fn is_gone(&self) -> bool {
        self.is_closed()
    }
}

impl Leases {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        Self { session, running: Mutex::default() }
    }

    /// Does `verb` with `record`, whose value is `value`.
    pub(crate) async fn call(&self, verb: Verb, record: &Record, value: Vec<u8>) -> Result<Receipt> {
        // Whoever is cut off says so at once, and queues nothing.
        self.session.connection().await?;
        let (answer, result) = oneshot::channel();
        let command = Command { verb, record: record.clone(), value, answer };
        let closed = || Error::closed("the backend was closed");
        self.commands()?.send(command).await.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }

    fn commands(&self) -> Result<mpsc::Sender<Command>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if self.session.is_closed() {
            return Err(Error::closed("the backend was closed"));
        }
        if let Some((sender, _)) = &*running {
            return Ok(sender.clone());
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let driver = Driver::new(self.session.clone());
        let task = Spawner::current()?.spawn(driver.run(receiver));
        *running = Some((sender.clone(), task));
        Ok(sender)
    }

    /// Ends the task. Nothing is written; what is waited for ends with `Closed`.
    pub(crate) fn close(&self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// What came of an [`Output`].
enum Done {
    Granted { shard: ShardId, asked_at: Instant, result: Result<(i64, Duration)> },
    Wrote { shard: ShardId, items: Vec<Item>, doubtful: bool, result: Result<Vec<Outcome>> },
    KeptAlive { shard: ShardId, lease: i64, sent_at: Instant, result: Result<()> },
    Proved { shard: ShardId, expected: Vec<(Key, i64)>, result: Result<Vec<Outcome>> },
    Inspected { shard: ShardId, lease: i64, result: Result<Vec<Vec<u8>>> },
}

struct Driver {
    session: Arc<Session>,
    ledger: Ledger<oneshot::Sender<Result<Receipt>>>,
    pending: FuturesUnordered<BoxFuture<'static, Done>>,
    /// Own keys, watched on the current connection.
    watched: HashMap<Key, Option<Subscription>>,
    sink: Arc<Sink>,
    /// Since when there has been no connection.
    away_since: Option<Instant>,
}

impl Driver {
    fn new(session: Arc<Session>) -> Self {
        Self {
            session,
            ledger: Ledger::new(),
            pending: FuturesUnordered::new(),
            watched: HashMap::new(),
            sink: Sink::new(),
            away_since: None,
        }
    }

    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut states = self.session.states();
        loop {
            let idle = self.ledger.is_empty();
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return,
                },
                Some(done) = self.pending.next() => self.told(done),
                _ = tick.tick(), if !idle => self.tick(),
                taken = self.sink.take(), if !idle => self.saw(taken),
                changed = states.changed() => match changed {
                    Ok(()) => self.state_changed(),
                    Err(_) => return,
                },
            }
            // Who comes at the same time goes together.
            while let Ok(command) = commands.try_recv() {
                self.take(command);
            }
            for output in self.ledger.take_outputs() {
                self.perform(output);
            }
        }
    }

    fn take(&mut self, Command { verb, record, value, answer }: Command) {
        let key: Key = self.session.keys().instance(record.key()).into();
        let now = Instant::now();
        match verb {
            Verb::Register => self.ledger.register(&key, &record, value, answer, now),
            Verb::Renew => self.ledger.renew(key, &record, answer, now),
            Verb::Deregister => self.ledger.deregister(&key, &record, answer, now),
        }
    }

    fn told(&mut self, done: Done) {
        let now = Instant::now();
        match done {
            Done::Granted { shard, asked_at, result } => self.ledger.granted(shard, asked_at, result),
            Done::Wrote { shard, items, doubtful, result } => {
                self.ledger.wrote(shard, items, doubtful, result, now);
            }
            Done::KeptAlive { shard, lease, sent_at, result } => {
                self.ledger.kept_alive(shard, lease, sent_at, result, now);
            }
            Done::Proved { shard, expected, result } => self.ledger.proved(shard, &expected, result, now),
            Done::Inspected { shard, lease, result } => self.ledger.inspected(shard, lease, result, now),
        }
    }

    fn perform(&mut self, output: Output) {
        let session = self.session.clone();
        self.pending.push(match output {
            Output::Grant { shard, seconds } => Box::pin(async move {
                let asked_at = Instant::now();
                Done::Granted { shard, asked_at, result: session.grant(seconds).await }
            }),
            Output::Write { shard, items } => Box::pin(async move {
                let (about, rights) = (about(&items), session.rights(items.first().map(|item| &*item.key)));
                let subject = Subject::write(&about).within(rights);
                let (result, doubtful) = session.txn(subject, &txn::write(&items)).await;
                let result = result.and_then(|response| txn::outcomes(response, items.len()));
                Done::Wrote { shard, items, doubtful, result }
            }),
            Output::KeepAlive { shard, lease } => Box::pin(async move {
                let sent_at = Instant::now();
                Done::KeptAlive { shard, lease, sent_at, result: session.keep_alive(lease).await }
            }),
            Output::Prove { shard, expected } => Box::pin(async move {
                let rights = session.rights(expected.first().map(|(key, _)| &**key));
                let subject = Subject::read("look at own records").within(rights);
                let (result, _) = session.txn(subject, &txn::prove(&expected)).await;
                let result = result.and_then(|response| txn::outcomes(response, expected.len()));
                Done::Proved { shard, expected, result }
            }),
            Output::Inspect { shard, lease } => {
                Box::pin(
                    async move { Done::Inspected { shard, lease, result: session.keys_of(lease).await } },
                )
            }
            Output::Watch(key) => {
                if !self.watched.contains_key(&key) {
                    let subscription = self.subscribe(&key);
                    self.watched.insert(key, subscription);
                }
                return;
            }
            Output::Unwatch(key) => {
                self.watched.remove(&key);
                return;
            }
        });
    }

    fn subscribe(&self, key: &Key) -> Option<Subscription> {
        let connection = self.session.serving()?;
        Some(connection.watches().subscribe(Range::Key(key.clone()), self.sink.clone()))
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if self.session.serving().is_none() {
            self.away_since.get_or_insert(now);
        }
        // What has fallen due meanwhile waits for the ledger to hear how long it was.
        if self.away_since.is_none() {
            self.ledger.tick(now);
        }
    }

    /// Where there is another connection, what is watched is watched there.
    fn state_changed(&mut self) {
        let now = Instant::now();
        let Some(connection) = self.session.serving() else {
            self.away_since.get_or_insert(now);
            return;
        };
        if let Some(since) = self.away_since.take() {
            self.ledger.reconnected(now - since, now);
        }
        for (key, subscription) in &mut self.watched {
            if subscription.as_ref().is_none_or(|held| !connection.watches().hold(held)) {
                let range = Range::Key(key.clone());
                *subscription = Some(connection.watches().subscribe(range, self.sink.clone()));
            }
        }
    }

    fn saw(&mut self, taken: Taken) {
        let now = Instant::now();
        for key in taken.begun {
            self.ledger.watched(&key, now);
        }
        for change in taken.changes.into_values() {
            match change {
                Change::Put { key, mod_revision, lease, value } => {
                    let stored = Stored { mod_revision, lease, pair: stored::pair_in(&value), value };
                    self.ledger.saw(&key, mod_revision, Some(stored));
                }
                Change::Deleted { key, revision } => self.ledger.saw(&key, revision, None),
            }
        }
    }
}

/// What a transaction is about, for errors.
fn about(items: &[Item]) -> String {
    let first = items.first().map(|item| String::from_utf8_lossy(&item.key)).unwrap_or_default();
    match items.len() {
        0 | 1 => format!("write {first}"),
        count => format!("write {first} and {} more", count - 1),
    }
}
