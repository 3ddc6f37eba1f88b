//! One round of a watch: everything, and then what changes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callsign_core::watch::{WatchOptions, drive};
use callsign_core::{Authority, Listing, Result, ServiceKey, WatchEvent, WatchStream};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::slot::Content;
use super::subscriptions::Share;
use crate::reader::Reader;
use crate::records::{Mark, lock};
use crate::session::{Live, State};

/// How long a watch is quiet before it proves that nothing has changed. The contract is 10 s, and a server that is silent is
/// to be noticed within 9 s: this and the time of one request.
const QUIET: Duration = Duration::from_secs(5);

/// The never-ending watch of `service`.
pub(crate) fn follow(reader: Arc<Reader>, service: &ServiceKey) -> WatchStream {
    let service = service.clone();
    let told = Arc::new(AtomicBool::new(false));
    // Kept from round to round, so that whoever has not changed is the same after an outage.
    let held: Arc<Mutex<Option<Arc<Share>>>> = Arc::default();
    let closed = reader.session().closed();
    drive(reader.name().clone(), WatchOptions::default(), closed, move || {
        let (reader, service) = (reader.clone(), service.clone());
        let (told, held) = (told.clone(), held.clone());
        async move {
            // The first round of an outage tells why; the next ones wait for its end.
            let session = reader.session();
            let live =
                if told.load(Ordering::Relaxed) { session.reconnected().await } else { session.live().await };
            told.store(live.is_err(), Ordering::Relaxed);
            let live = live?;
            let share = share_of(&reader, &service, &held)?;
            let mut follower = Follower::new(reader, live, share);
            let first = follower.begin().await?;
            let first = futures::stream::iter([Ok(WatchEvent::Listing(first))]);
            let rest = futures::stream::unfold(follower, |mut follower| async move {
                Some((follower.next().await, follower))
            });
            Ok(first.chain(rest).boxed())
        }
    })
}

fn share_of(reader: &Reader, service: &ServiceKey, held: &Mutex<Option<Arc<Share>>>) -> Result<Arc<Share>> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(share) = &*held {
        return Ok(share.clone());
    }
    let share = Arc::new(reader.share(service)?);
    Ok(held.insert(share).clone())
}

struct Follower {
    reader: Arc<Reader>,
    live: Live,
    share: Arc<Share>,
    news: watch::Receiver<Option<Arc<Content>>>,
    /// What was handed over last.
    shown: Option<Mark>,
    quiet_at: Instant,
    reconcile_at: Instant,
}

impl Follower {
    fn new(reader: Arc<Reader>, live: Live, share: Arc<Share>) -> Self {
        let news = share.slot.subscribe();
        let (quiet_at, reconcile_at) = (Instant::now() + QUIET, Instant::now() + reader.reconcile_interval());
        Self { reader, live, share, news, shown: None, quiet_at, reconcile_at }
    }

    /// Reads everything.
    async fn begin(&mut self) -> Result<Listing> {
        let connection = self.live.connection()?;
        let content = self.share.begin(&connection).await.map_err(|failure| failure.error)?;
        self.news.mark_unchanged();
        self.reconcile_at = Instant::now() + self.reader.reconcile_interval();
        self.take(&content);
        Ok(self.show())
    }

    async fn next(&mut self) -> Result<WatchEvent> {
        let disconnected = self.reader.session().disconnected(&self.live);
        tokio::pin!(disconnected);
        loop {
            tokio::select! {
                biased;
                () = &mut disconnected => return self.hand_over().await.map(WatchEvent::Listing),
                () = self.share.slot.doubted() => self.reconcile_at = Instant::now(),
                // The slot is held, and has the sender.
                _ = self.news.changed() => {
                    let content = self.news.borrow_and_update().clone();
                    if content.is_some_and(|content| self.take(&content)) {
                        return Ok(WatchEvent::Listing(self.show()));
                    }
                }
                () = sleep_until(self.reconcile_at) => {
                    self.reconcile_at = Instant::now() + self.reader.reconcile_interval();
                    let connection = self.live.connection()?;
                    let content = self.share.reconcile(&connection).await.map_err(|failure| failure.error)?;
                    if self.take(&content) {
                        return Ok(WatchEvent::Listing(self.show()));
                    }
                }
                () = sleep_until(self.quiet_at) => {
                    let connection = self.live.connection()?;
                    // On the connection on which the server pushes.
                    let as_of = connection.proven().await.map_err(|failure| failure.error)?;
                    self.quiet_at = Instant::now() + QUIET;
                    return Ok(WatchEvent::Progress { authority: Authority::Single, as_of });
                }
            }
        }
    }

    /// Goes on with the next connection, where there is one already; the cause, where there is none.
    async fn hand_over(&mut self) -> Result<Listing> {
        match self.reader.session().state() {
            State::Live(live) => self.live = live,
            _ => return Err(self.reader.session().why()),
        }
        self.begin().await
    }

    /// Whether anything is to be handed over of `content`.
    fn take(&mut self, content: &Content) -> bool {
        let mut records = lock(&self.share.slot.records);
        records.replace(content.mark, &content.info, None);
        self.shown.is_none_or(|shown| {
            shown.number < records.changed_at() || shown.generation < records.mark().generation
        })
    }

    fn show(&mut self) -> Listing {
        self.quiet_at = Instant::now() + QUIET;
        let records = lock(&self.share.slot.records);
        self.shown = Some(records.mark());
        records.listing(self.reader.name())
    }
}
