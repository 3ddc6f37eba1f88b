//! The stream of a connection that carries all its watches.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callsign_core::Error;
use callsign_core::task::{Spawner, Task};
use etcd_client::{Event, WatchClient, WatchOptions, WatchRequestSender, WatchResponse, WatchResponseStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::sink::Ended;
use super::table::{Subscription, Table};
use super::{Change, Range, Sink};
use crate::error::{Call, Failure, Verdict, judge, judge_cancel, timed_out};
use crate::login::Login;

/// How often the registry is asked whether that was all. Whoever watches hears of it; the contract's bound is 10 s.
const PROGRESS: Duration = Duration::from_secs(3);
/// How long the stream may stay silent after that. With the 3 s before, a member that hangs is given up within 7 s;
/// pings alone would take up to 9 s.
const SILENCE: Duration = Duration::from_secs(4);

/// The watches of one connection. The stream is opened with the first of them.
pub(crate) struct Watches {
    table: Arc<Table>,
    start: Mutex<Start>,
}

enum Start {
    Waiting(Box<Hub>),
    Running { _task: Task },
    Impossible,
}

struct Hub {
    client: WatchClient,
    login: Login,
    endpoint: String,
    limit: Duration,
    lost: watch::Sender<Option<Error>>,
    table: Arc<Table>,
}

/// A watch that was asked for and has not begun. One at a time: a refusal does not say what it refuses.
#[derive(Debug)]
struct Creating {
    id: u64,
    range: Range,
    since: Instant,
    logins: u64,
    /// Whether it was refused before, for want of a login.
    again: bool,
}

impl Watches {
    pub(crate) fn new(
        client: WatchClient,
        login: Login,
        endpoint: String,
        limit: Duration,
        lost: watch::Sender<Option<Error>>,
    ) -> Self {
        let table = Arc::new(Table::default());
        let hub = Hub { client, login, endpoint, limit, lost, table: table.clone() };
        Self { table, start: Mutex::new(Start::Waiting(Box::new(hub))) }
    }

    /// Watches `range` from now on, until the subscription is dropped; `sink` gets what happens.
    pub(crate) fn subscribe(&self, range: Range, sink: Arc<Sink>) -> Subscription {
        let mut start = self.start.lock().unwrap_or_else(PoisonError::into_inner);
        if let Start::Waiting(_) = &*start
            && let Start::Waiting(hub) = std::mem::replace(&mut *start, Start::Impossible)
        {
            match Spawner::current() {
                Ok(spawner) => *start = Start::Running { _task: spawner.spawn(hub.run()) },
                Err(error) => self.table.end_all(&error),
            }
        }
        self.table.insert(range, sink)
    }

    /// Whether `subscription` is one of these.
    pub(crate) fn hold(&self, subscription: &Subscription) -> bool {
        subscription.is_in(&self.table)
    }
}

impl Hub {
    /// Ends with the connection: by itself when the stream breaks, and takes the connection along.
    async fn run(self: Box<Self>) {
        let Failure { error, .. } = self.follow().await;
        self.lost.send_if_modified(|held| held.is_none() && held.replace(error.clone()).is_none());
        self.table.end_all(&error);
    }

    fn call(&self) -> Call<'_> {
        Call { endpoint: &self.endpoint, subject: "watch", write: false }
    }

    async fn follow(&self) -> Failure {
        match self.opened().await {
            Ok((creating, requests, responses)) => {
                let stream = Stream {
                    hub: self,
                    requests,
                    creating: Some(creating),
                    asked_at: Instant::now(),
                    unanswered: false,
                };
                stream.follow(responses).await
            }
            Err(failure) => failure,
        }
    }

    /// Opens the stream with the first watch.
    async fn opened(&self) -> Result<(Creating, WatchRequestSender, WatchResponseStream), Failure> {
        let (id, range) = loop {
            if let Some(first) = self.table.next() {
                break first;
            }
            self.table.changed.notified().await;
        };
        let creating =
            Creating { id, range, since: Instant::now(), logins: self.login.count(), again: false };
        let (key, options) = request(&creating.range);
        let mut client = self.client.clone();
        match timeout(self.limit, client.watch(key, Some(options))).await {
            Ok(Ok(stream)) => {
                let (requests, responses) = stream.split();
                Ok((creating, requests, responses))
            }
            Ok(Err(error)) => Err(judge(error, &self.call())),
            Err(_) => Err(timed_out(self.limit, &self.call())),
        }
    }
}

struct Stream<'a> {
    hub: &'a Hub,
    requests: WatchRequestSender,
    creating: Option<Creating>,
    /// When progress was last asked for.
    asked_at: Instant,
    unanswered: bool,
}

impl Stream<'_> {
    async fn follow(mut self, mut responses: WatchResponseStream) -> Failure {
        let mut heard_at = Instant::now();
        loop {
            let busy = self.creating.is_some() || self.hub.table.has_watches();
            let silent_at = match &self.creating {
                Some(creating) => (creating.since.max(heard_at)) + self.hub.limit,
                None => self.asked_at.max(heard_at) + SILENCE,
            };
            let step = tokio::select! {
                message = responses.message() => {
                    heard_at = Instant::now();
                    match message {
                        Ok(Some(response)) => self.heard(response).await,
                        Ok(None) => Err(self.broken("the registry has ended the stream")),
                        Err(error) => Err(judge(error, &self.hub.call())),
                    }
                }
                () = self.hub.table.changed.notified() => Ok(()),
                () = sleep_until(self.asked_at + PROGRESS), if busy && !self.unanswered => self.ask_for_progress().await,
                () = sleep_until(silent_at), if busy && (self.creating.is_some() || self.unanswered) => {
                    Err(timed_out(silent_at - heard_at, &self.hub.call()))
                }
            };
            if let Err(failure) = match step {
                Ok(()) => self.tend().await,
                error => error,
            } {
                return failure;
            }
        }
    }

    /// Asks for the next watch, and lets go of those that nobody reads.
    async fn tend(&mut self) -> Result<(), Failure> {
        for orphan in self.hub.table.take_orphans() {
            let cancelled = timeout(self.hub.limit, self.requests.cancel(orphan)).await;
            self.sent(cancelled)?;
        }
        if self.creating.is_none()
            && let Some((id, range)) = self.hub.table.next()
        {
            self.create(id, range, false).await?;
        }
        Ok(())
    }

    async fn create(&mut self, id: u64, range: Range, again: bool) -> Result<(), Failure> {
        let (key, options) = request(&range);
        let logins = self.hub.login.count();
        self.creating = Some(Creating { id, range, since: Instant::now(), logins, again });
        let created = timeout(self.hub.limit, self.requests.watch(key, Some(options))).await;
        self.sent(created)
    }

    async fn ask_for_progress(&mut self) -> Result<(), Failure> {
        (self.asked_at, self.unanswered) = (Instant::now(), true);
        let asked = timeout(self.hub.limit, self.requests.request_progress()).await;
        self.sent(asked)
    }

    fn sent<E>(&self, sent: Result<Result<(), etcd_client::Error>, E>) -> Result<(), Failure> {
        match sent {
            Ok(sent) => sent.map_err(|error| judge(error, &self.hub.call())),
            Err(_) => Err(timed_out(self.hub.limit, &self.hub.call())),
        }
    }

    fn broken(&self, what: &str) -> Failure {
        let error = Error::unavailable(format!("watch at {}: {what}", self.hub.endpoint));
        Failure { error, verdict: Verdict::Rotate }
    }

    async fn heard(&mut self, mut response: WatchResponse) -> Result<(), Failure> {
        let watch = response.watch_id();
        if response.canceled() {
            return self.cancelled(&response).await;
        }
        if response.created() {
            let creating = self.creating.take();
            let creating = creating.ok_or_else(|| self.broken("a watch has begun that nobody asked for"))?;
            self.hub.table.begun(creating.id, watch);
            return Ok(());
        }
        if response.0.events.is_empty() {
            self.unanswered = false;
            self.hub.table.progress(self.asked_at);
            return Ok(());
        }
        let events = std::mem::take(&mut response.0.events);
        let changes = events.into_iter().map(|event| change(Event(event)));
        let changes = changes.collect::<Option<Vec<_>>>();
        let changes = changes.ok_or_else(|| self.broken("an event that is none"))?;
        self.hub.table.change(watch, changes);
        Ok(())
    }

    async fn cancelled(&mut self, response: &WatchResponse) -> Result<(), Failure> {
        let refused = response.created() || response.watch_id() < 0;
        if !refused && (response.compact_revision() > 0 || response.cancel_reason().is_empty()) {
            self.hub.table.end_watch(response.watch_id(), Ended::Overtaken);
            return Ok(());
        }
        let failure = judge_cancel(response.cancel_reason(), &self.hub.call());
        if !refused {
            self.hub.table.end_watch(response.watch_id(), Ended::Failed(failure.error.clone()));
            return Ok(());
        }
        let creating = self.creating.take();
        let creating = creating.ok_or_else(|| self.broken("a watch was refused that nobody asked for"))?;
        match failure.verdict {
            Verdict::RefreshToken if self.hub.login.exists() && !creating.again => {
                let logins = creating.logins;
                // The errors of a login are the connection's, as they are for any other call.
                self.hub.login.again(logins, failure, &self.hub.call(), self.hub.limit).await?;
                self.create(creating.id, creating.range, true).await
            }
            Verdict::Rotate | Verdict::NoQuorum => Err(failure),
            _ => {
                self.hub.table.end(creating.id, Ended::Failed(failure.error));
                Ok(())
            }
        }
    }
}

fn request(range: &Range) -> (Vec<u8>, WatchOptions) {
    match range {
        Range::Key(key) => (key.to_vec(), WatchOptions::new()),
        Range::Prefix(prefix) => (prefix.to_vec(), WatchOptions::new().with_prefix()),
    }
}

/// `None` for what is neither a put nor a delete; the crate's own accessor would panic.
fn change(event: Event) -> Option<Change> {
    let kv = event.0.kv?;
    match event.0.r#type {
        0 => Some(Change::Put {
            key: kv.key.into(),
            mod_revision: kv.mod_revision,
            lease: kv.lease,
            value: kv.value,
        }),
        1 => Some(Change::Deleted { key: kv.key.into(), revision: kv.mod_revision }),
        _ => None,
    }
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").field("table", &self.table).finish_non_exhaustive()
    }
}
