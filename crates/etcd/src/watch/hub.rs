//! The watches of a connection, and the streams that carry them: one, unless a login runs out.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callsign_core::Error;
use callsign_core::task::{Spawner, Task};
use etcd_client::WatchClient;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Notify, watch};

use super::table::{Subscription, Table};
use super::{Range, Sink, stream};
use crate::codec::Keys;
use crate::config::Settings;
use crate::error::Failure;
use crate::login::Login;

/// The watches of one connection. A stream is opened with the first of them.
pub(crate) struct Watches {
    table: Arc<Table>,
    start: Mutex<Start>,
}

enum Start {
    Waiting(Box<Hub>),
    Running { _task: Task },
    Impossible,
}

/// What the streams of a connection have in common.
pub(super) struct Hub {
    pub(super) client: WatchClient,
    pub(super) login: Login,
    pub(super) endpoint: String,
    pub(super) keys: Keys,
    pub(super) limit: Duration,
    lost: watch::Sender<Option<Error>>,
    pub(super) table: Arc<Table>,
    /// The stream that took watches does so no longer.
    pub(super) outdated: Notify,
}

impl Watches {
    pub(crate) fn new(
        client: WatchClient,
        login: Login,
        endpoint: String,
        settings: &Settings,
        lost: watch::Sender<Option<Error>>,
    ) -> Self {
        let table = Arc::new(Table::default());
        let (keys, limit) = (settings.keys.clone(), settings.op_timeout);
        let outdated = Notify::new();
        let hub = Hub { client, login, endpoint, keys, limit, lost, table: table.clone(), outdated };
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
    /// Ends with the connection: by itself when a stream breaks, and takes the connection along.
    async fn run(self: Box<Self>) {
        let Failure { error, .. } = self.follow().await;
        self.lost.send_if_modified(|held| held.is_none() && held.replace(error.clone()).is_none());
        self.table.end_all(&error);
    }

    /// One stream, as long as its login lasts. What has begun before goes on afterwards, and the next watches begin on
    /// another one.
    async fn follow(&self) -> Failure {
        let mut streams = FuturesUnordered::new();
        let mut number = 0;
        loop {
            streams.push(stream::run(self, number));
            number += 1;
            tokio::select! {
                failure = broken(&mut streams) => return failure,
                () = self.outdated.notified() => {}
            }
        }
    }
}

/// Waits until one of the streams breaks.
async fn broken<F: Future<Output = Result<(), Failure>>>(streams: &mut FuturesUnordered<F>) -> Failure {
    while let Some(ended) = streams.next().await {
        if let Err(failure) = ended {
            return failure;
        }
    }
    // The latest takes watches, and does not end by itself.
    std::future::pending().await
}

impl fmt::Debug for Watches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watches").field("table", &self.table).finish_non_exhaustive()
    }
}
