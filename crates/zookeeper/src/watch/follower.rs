//! One round of a watch: everything, and then what changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callsign_core::task::{Spawner, Task};
use callsign_core::watch::{WatchOptions, drive};
use callsign_core::{Listing, Result, ServiceKey, WatchEvent, WatchStream};
use futures::StreamExt;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use zookeeper_client as zk;

use super::budget::Share;
use super::pump::{Mark, drain};
use super::sink::Sink;
use crate::error::Call;
use crate::reader::{Reader, authority};
use crate::records::{Records, lock};
use crate::session::Live;

/// How long a watch is quiet before it proves that nothing has changed. The contract is 10 s.
const QUIET: Duration = Duration::from_secs(7);

/// The never-ending watch of `service`.
pub(crate) fn follow(reader: Arc<Reader>, service: &ServiceKey) -> WatchStream {
    let service = service.clone();
    let records = reader.watched().begin(&service);
    let told = Arc::new(AtomicBool::new(false));
    let closed = reader.session().closed();
    drive(reader.name().clone(), WatchOptions::default(), closed, move || {
        let (reader, records, service, told) =
            (reader.clone(), records.clone(), service.clone(), told.clone());
        async move {
            // The first round of an outage tells why; the next ones wait for its end.
            let session = reader.session();
            let live =
                if told.load(Ordering::Relaxed) { session.reconnected().await } else { session.live().await };
            told.store(live.is_err(), Ordering::Relaxed);
            let follower = Follower::begin(reader, live?, service, records).await?;
            let first = follower.whole().await?;
            let first = futures::stream::iter([Ok(WatchEvent::Listing(first))]);
            let rest = futures::stream::unfold(follower, |follower| async move {
                Some((follower.next().await, follower))
            });
            Ok(first.chain(rest).boxed())
        }
    })
}

struct Follower {
    reader: Arc<Reader>,
    live: Live,
    service: ServiceKey,
    records: Arc<Mutex<Records>>,
    sink: Arc<Sink>,
    marks: mpsc::Sender<Mark>,
    _pump: Task,
    _share: Share,
}

impl Follower {
    /// Sets the watch.
    async fn begin(
        reader: Arc<Reader>,
        live: Live,
        service: ServiceKey,
        records: Arc<Mutex<Records>>,
    ) -> Result<Self> {
        let session = reader.session();
        let settings = session.settings();
        let folder = settings.paths.service(&service);
        let share = reader.budget().share(&folder, &settings.paths.namespace(&service.namespace));
        let subject = format!("watch {}", share.path());
        let client = live.client()?;
        let watching = client.watch(share.path(), zk::AddWatchMode::PersistentRecursive);
        let watcher = session.run(&live, settings.op_timeout, Call::read(&subject), watching).await?;
        let sink = Sink::new();
        let (marks, marked) = mpsc::channel(1);
        let draining = drain(watcher, folder, sink.clone(), marked, session.disconnected(&live));
        let pump = Spawner::current()?.spawn(draining);
        Ok(Self { reader, live, service, records, sink, marks, _pump: pump, _share: share })
    }

    /// Reads everything.
    async fn whole(&self) -> Result<Listing> {
        let as_of = Instant::now();
        let seen = self.reader.whole(&self.live, &self.service, !self.live.read_only).await?;
        let mut records = lock(&self.records);
        records.replace(seen.place, seen.nodes, None);
        Ok(self.listing(&records, as_of))
    }

    fn listing(&self, records: &Records, as_of: Instant) -> Listing {
        records.listing(self.reader.name(), authority(&self.live), as_of)
    }

    async fn next(&self) -> Result<WatchEvent> {
        loop {
            let Ok(taken) = timeout(QUIET, self.sink.take()).await else {
                match self.progress().await? {
                    Some(progress) => return Ok(progress),
                    None => continue,
                }
            };
            if let Some(cause) = taken.ended {
                return Err(cause);
            }
            let as_of = Instant::now();
            if taken.all {
                return self.whole().await.map(WatchEvent::Listing);
            }
            let names: Vec<_> = taken.dirty.into_iter().collect();
            let seen = self.reader.some(&self.live, &self.service, names).await?;
            let same_epoch = seen.place.epoch == lock(&self.records).epoch();
            if !same_epoch {
                return self.whole().await.map(WatchEvent::Listing);
            }
            let mut records = lock(&self.records);
            if records.apply(seen.place, seen.nodes) {
                return Ok(WatchEvent::Listing(self.listing(&records, as_of)));
            }
        }
    }

    /// Has the server say on this connection, behind all that it has told, that it is up to date. `None`: something has
    /// come meanwhile.
    async fn progress(&self) -> Result<Option<WatchEvent>> {
        let as_of = Instant::now();
        self.reader.prove(&self.live).await?;
        let (mark, marked) = oneshot::channel();
        // Where neither arrives the watch has ended, and the sink says why.
        let _ = self.marks.send(mark).await;
        let _ = marked.await;
        if !self.sink.is_empty() {
            return Ok(None);
        }
        Ok(Some(WatchEvent::Progress { authority: authority(&self.live), as_of }))
    }
}
