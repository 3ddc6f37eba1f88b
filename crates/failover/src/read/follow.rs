//! Following a service at all members, each in a task of its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::task::Task;
use callsign_core::watch::WatchOptions;
use callsign_core::{Authority, Backoff, Error, Result, ServiceKey, WatchEvent, WatchStream};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::service::Shown;
use super::services::Place;
use crate::group::Evidence;
use crate::shared::{Shared, evidence_of};

/// A watch that says nothing for so long is broken: it owes a sign of progress every 10 s.
const SILENCE: Duration = Duration::from_secs(30);
/// The shortest pause after an error, and the longest before a watch that has ended or panicked is opened anew.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A service that somebody follows. Its tasks end with it.
#[derive(Debug)]
pub(crate) struct Followed {
    place: Arc<Place>,
    _tasks: Vec<Task>,
}

impl Followed {
    fn start(shared: &Arc<Shared>, key: &ServiceKey, place: Arc<Place>) -> Self {
        // What was heard before is not followed up: it is not of now.
        place.begin();
        let follow =
            |member| shared.spawner.spawn(follow(shared.clone(), member, key.clone(), place.clone()));
        let tasks = (0..shared.members.len()).map(follow).collect();
        Self { place, _tasks: tasks }
    }
}

/// Hands over what one member says, until this is closed.
async fn follow(shared: Arc<Shared>, member: usize, key: ServiceKey, place: Arc<Place>) {
    tokio::select! {
        () = shared.closed() => {}
        () = follow_on(shared.clone(), member, key, place) => {}
    }
}

async fn follow_on(shared: Arc<Shared>, member: usize, key: ServiceKey, place: Arc<Place>) {
    let backend = shared.members[member].backend.clone();
    let mut backoff = Backoff::new(PAUSE, LONGEST_PAUSE);
    let mut stream: Option<WatchStream> = None;
    loop {
        let next = async { stream.get_or_insert_with(|| backend.watch(&key)).next().await };
        let next = timeout(SILENCE, AssertUnwindSafe(next).catch_unwind()).await;
        let (item, over) = match next {
            Ok(Ok(Some(item))) => (item, false),
            Ok(Ok(None)) => (Err(Error::unavailable("the watch ended, which it never should")), true),
            Ok(Err(_)) => (Err(Error::unexpected("the backend panicked")), true),
            Err(_) => (Err(Error::timeout(format!("the watch was silent for {SILENCE:?}"))), true),
        };
        let failed = item.is_err();
        let evidence = match &item {
            Ok(WatchEvent::Listing(listing)) => proven(listing.authority),
            Ok(WatchEvent::Progress { authority, .. }) => proven(*authority),
            Ok(_) => Evidence::Answer,
            Err(error) => evidence_of(error),
        };
        place.take(member, item.map_err(|error| shared.told_by(member, "watch", &error)), &shared.picture());
        shared.learn(member, evidence);
        if failed && shared.refuses(member) {
            // Whoever refuses is asked by its prober alone, and seldom.
            stream = None;
            shared.accepts(member).await;
        } else if over {
            // A stream that has ended must not be polled again.
            stream = None;
            sleep(backoff.next_delay()).await;
        } else if failed {
            sleep(PAUSE).await;
        } else {
            backoff.reset();
        }
    }
}

fn proven(authority: Authority) -> Evidence {
    if authority == Authority::Stale { Evidence::Answer } else { Evidence::Proof }
}

/// The never-ending watch of `key`.
pub(crate) fn watch(shared: Arc<Shared>, key: ServiceKey) -> WatchStream {
    let follower = Follower { shared, key, following: None, seen: Seen::default(), ended: false };
    futures::stream::unfold(follower, |mut follower| async move {
        let item = follower.next().await?;
        Some((item, follower))
    })
    .boxed()
}

/// The watch of a service that no member can have: the reason again and again, until this is closed.
pub(crate) fn refused(shared: &Arc<Shared>, error: Error) -> WatchStream {
    let closed = {
        let shared = shared.clone();
        async move { shared.closed().await }
    };
    let open = move || {
        let error = error.clone();
        async move { Err(error) }
    };
    callsign_core::watch::drive(shared.info.name.clone(), WatchOptions::default(), closed, open)
}

struct Follower {
    shared: Arc<Shared>,
    key: ServiceKey,
    following: Option<(Arc<Followed>, watch::Receiver<Arc<Shown>>)>,
    seen: Seen,
    ended: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Result<WatchEvent>> {
        if self.ended {
            return None;
        }
        let shared = self.shared.clone();
        if shared.is_closed() {
            return Some(self.end());
        }
        let (_, shown) = self.following.get_or_insert_with(|| {
            let start = |place| Followed::start(&shared, &self.key, place);
            let followed = shared.services.followed(&self.key, &shared.picture(), start);
            let shown = followed.place.shown();
            (followed, shown)
        });
        loop {
            // What is there is looked at first, however often somebody was woken: no signal can be missed.
            let now = shown.borrow_and_update().clone();
            if let Some(item) = self.seen.next(&now) {
                return Some(item);
            }
            tokio::select! {
                biased;
                () = shared.closed() => break,
                // The sender lives as long as `following`.
                _ = shown.changed() => {}
            }
        }
        Some(self.end())
    }

    fn end(&mut self) -> Result<WatchEvent> {
        self.following = None;
        self.ended = true;
        Err(self.shared.named("watch", Error::closed("the backend was closed")))
    }
}

/// How far a follower has come.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    listing: u64,
    trouble: u64,
    progress: u64,
}

impl Seen {
    /// What is to be handed over next of what is shown.
    pub(crate) fn next(&mut self, shown: &Shown) -> Option<Result<WatchEvent>> {
        if let Some(listing) = shown.listing.as_ref().filter(|_| self.listing != shown.listing_no) {
            self.listing = shown.listing_no;
            let mut listing = listing.clone();
            if shown.trouble.is_some() {
                // What was said before the trouble is not so now.
                listing.authority = Authority::Stale;
            } else {
                self.progress = shown.progress_no;
                listing.as_of = shown.as_of.unwrap_or(listing.as_of);
            }
            return Some(Ok(WatchEvent::Listing(listing)));
        }
        if let Some(trouble) = &shown.trouble {
            let news = std::mem::replace(&mut self.trouble, shown.trouble_no) != shown.trouble_no;
            return news.then(|| Err(trouble.clone()));
        }
        self.trouble = shown.trouble_no;
        let (listing, as_of) = (shown.listing.as_ref()?, shown.as_of?);
        let news = std::mem::replace(&mut self.progress, shown.progress_no) != shown.progress_no;
        (news && listing.authority != Authority::Stale)
            .then(|| Ok(WatchEvent::Progress { authority: listing.authority, as_of }))
    }
}
