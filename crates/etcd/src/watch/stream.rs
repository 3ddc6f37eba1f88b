//! One stream of a connection, and the watches on it.

use std::time::Duration;

use callsign_core::Error;
use etcd_client::{Event, WatchOptions, WatchRequestSender, WatchResponse, WatchResponseStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::hub::Hub;
use super::sink::Ended;
use super::{Change, Range};
use crate::error::{Call, Failure, Verdict, judge, judge_cancel, timed_out};

/// How often the registry is asked whether that was all. Whoever watches hears of it; the contract's bound is 10 s.
const PROGRESS: Duration = Duration::from_secs(3);
/// How often it is asked again until it answers: it does not answer what it is asked while a watch is behind.
const AGAIN: Duration = Duration::from_secs(1);
/// How long the stream may stay silent after that. With the 3 s before, a member that hangs is given up within 7 s;
/// pings alone would take up to 9 s.
const SILENCE: Duration = Duration::from_secs(4);

/// A watch that was asked for and has not begun. One at a time: a refusal does not say what it refuses.
#[derive(Debug)]
struct Creating {
    id: u64,
    range: Range,
    since: Instant,
}

struct Stream<'a> {
    hub: &'a Hub,
    number: u64,
    requests: WatchRequestSender,
    creating: Option<Creating>,
    /// How often the login had been renewed when it was opened: etcd looks at what was shown then with each watch.
    logins: u64,
    /// Its login has run out: it takes no more watches.
    outdated: bool,
    /// When progress was asked for: of several times without an answer, the first.
    asked_at: Instant,
    /// When it is asked for next.
    ask_at: Instant,
    unanswered: bool,
}

/// Opens a stream with the first watch that is asked for, and follows it. Ends without a failure when its login has run
/// out and none of its watches is left.
pub(super) async fn run(hub: &Hub, number: u64) -> Result<(), Failure> {
    let mut changes = hub.table.changes();
    let (id, range) = loop {
        if let Some(first) = hub.table.next() {
            break first;
        }
        changed(&mut changes).await;
    };
    let logins = hub.login.count();
    let creating = Creating { id, range, since: Instant::now() };
    let (key, options) = request(&creating.range);
    let mut client = hub.client.clone();
    let call = call(hub, "watch", "");
    let (requests, responses) = match timeout(hub.limit, client.watch(key, Some(options))).await {
        Ok(Ok(stream)) => stream.split(),
        Ok(Err(error)) => return Err(judge(error, &call)),
        Err(_) => return Err(timed_out(hub.limit, &call)),
    };
    let stream = Stream {
        hub,
        number,
        requests,
        creating: Some(creating),
        logins,
        outdated: false,
        asked_at: Instant::now(),
        ask_at: Instant::now() + PROGRESS,
        unanswered: false,
    };
    stream.follow(responses, changes).await
}

impl Stream<'_> {
    async fn follow(
        mut self,
        mut responses: WatchResponseStream,
        mut changes: watch::Receiver<()>,
    ) -> Result<(), Failure> {
        let mut heard_at = Instant::now();
        loop {
            let busy = self.creating.is_some() || self.hub.table.has_watches(self.number);
            if self.outdated && !busy {
                return Ok(());
            }
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
                        Err(error) => Err(judge(error, &self.call())),
                    }
                }
                () = changed(&mut changes) => Ok(()),
                () = sleep_until(self.ask_at), if busy => self.ask_for_progress().await,
                () = sleep_until(silent_at), if busy && (self.creating.is_some() || self.unanswered) => {
                    Err(timed_out(silent_at - heard_at, &self.call()))
                }
            };
            step?;
            self.tend().await?;
        }
    }

    fn call(&self) -> Call<'_> {
        call(self.hub, "watch", "")
    }

    /// Asks for the next watch, and lets go of those that nobody reads.
    async fn tend(&mut self) -> Result<(), Failure> {
        for orphan in self.hub.table.take_orphans(self.number) {
            let cancelled = timeout(self.hub.limit, self.requests.cancel(orphan)).await;
            self.sent(cancelled)?;
        }
        if self.creating.is_none()
            && !self.outdated
            && let Some((id, range)) = self.hub.table.next()
        {
            self.create(id, range).await?;
        }
        Ok(())
    }

    async fn create(&mut self, id: u64, range: Range) -> Result<(), Failure> {
        let (key, options) = request(&range);
        self.creating = Some(Creating { id, range, since: Instant::now() });
        let created = timeout(self.hub.limit, self.requests.watch(key, Some(options))).await;
        self.sent(created)
    }

    async fn ask_for_progress(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        if !self.unanswered {
            (self.asked_at, self.unanswered) = (now, true);
        }
        self.ask_at = now + AGAIN;
        let asked = timeout(self.hub.limit, self.requests.request_progress()).await;
        self.sent(asked)
    }

    fn sent<E>(&self, sent: Result<Result<(), etcd_client::Error>, E>) -> Result<(), Failure> {
        match sent {
            Ok(sent) => sent.map_err(|error| judge(error, &self.call())),
            Err(_) => Err(timed_out(self.hub.limit, &self.call())),
        }
    }

    fn broken(&self, what: &str) -> Failure {
        let error = Error::unavailable(format!("watch at {}: {what}", self.hub.endpoint));
        Failure { error, verdict: Verdict::Rotate }
    }

    async fn heard(&mut self, mut response: WatchResponse) -> Result<(), Failure> {
        let watch = (self.number, response.watch_id());
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
            (self.unanswered, self.ask_at) = (false, self.asked_at + PROGRESS);
            self.hub.table.progress(self.number, self.asked_at);
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
        let watch = (self.number, response.watch_id());
        let refused = response.created() || response.watch_id() < 0;
        if !refused && (response.compact_revision() > 0 || response.cancel_reason().is_empty()) {
            self.hub.table.end_watch(watch, Ended::Overtaken);
            return Ok(());
        }
        if !refused {
            let failure = judge_cancel(response.cancel_reason(), &self.call());
            self.hub.table.end_watch(watch, Ended::Failed(failure.error));
            return Ok(());
        }
        let creating = self.creating.take();
        let creating = creating.ok_or_else(|| self.broken("a watch was refused that nobody asked for"))?;
        let start = creating.range.start();
        let subject = format!("watch {}", String::from_utf8_lossy(start));
        let call = call(self.hub, &subject, self.hub.keys.namespace_of(start));
        let failure = judge_cancel(response.cancel_reason(), &call);
        match failure.verdict {
            Verdict::RefreshToken if self.hub.login.exists() && self.hub.table.ask_again(creating.id) => {
                // The errors of a login are the connection's, as they are for any other call.
                self.hub.login.again(self.logins, failure, &call, self.hub.limit).await?;
                self.outdated = true;
                self.hub.outdated.notify_one();
                Ok(())
            }
            Verdict::Rotate | Verdict::NoQuorum => Err(failure),
            _ => {
                self.hub.table.end(creating.id, Ended::Failed(failure.error));
                Ok(())
            }
        }
    }
}

fn call<'a>(hub: &'a Hub, subject: &'a str, rights: &'a str) -> Call<'a> {
    Call { endpoint: &hub.endpoint, subject, write: false, rights }
}

async fn changed(changes: &mut watch::Receiver<()>) {
    // The table has the sender, and lasts as long as its streams.
    let _ = changes.changed().await;
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
