//! A process that looks others up over both registries, two hundred times a second.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callsign_client::Client;
use callsign_core::task::{Spawner, Task};
use callsign_core::{Backend, EventKind, EventStream, MemberState, Result, ServiceKey, SwitchReason};
use callsign_failover::{Control, Failover};
use futures::StreamExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::rounds::book::Book;
use crate::rounds::watcher::Watcher;

/// Between two look-ups.
const PACE: Duration = Duration::from_millis(5);

/// A view over a failover of its own, and what its look-ups have found.
pub struct Onlooker {
    /// Its name.
    pub name: String,
    /// The state of its members.
    pub control: Control,
    pub(crate) watcher: Watcher,
    tally: Arc<Tally>,
    _client: Client,
    _tasks: [Task; 2],
}

#[derive(Debug, Default)]
struct Tally {
    made: AtomicUsize,
    failed: AtomicUsize,
    changes: Mutex<Vec<Change>>,
}

/// Something that has happened to a member, or to which of them is read.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) at: Instant,
    pub(crate) kind: EventKind,
}

impl Onlooker {
    pub(crate) fn start(
        name: &str,
        failover: Failover,
        service: &ServiceKey,
        book: &Book,
        store: Option<&Path>,
    ) -> Result<Self> {
        let (control, events) = (failover.control(), failover.events());
        let mut builder = Client::builder(Arc::new(failover)).prober(book.clone());
        if let Some(store) = store {
            builder = builder.store_dir(store);
        }
        let client = builder.build()?;
        let watcher = Watcher::of(name.to_owned(), &client, service, book)?;
        let (spawner, tally) = (Spawner::current()?, Arc::<Tally>::default());
        let tasks = [
            spawner.spawn(look_up(watcher.view().clone(), tally.clone())),
            spawner.spawn(note(events, tally.clone())),
        ];
        Ok(Self { name: name.to_owned(), control, watcher, tally, _client: client, _tasks: tasks })
    }

    /// How many look-ups it has made since it first found somebody, and how many of them found nobody.
    #[must_use]
    pub fn looked_up(&self) -> (usize, usize) {
        (self.tally.made.load(Ordering::Relaxed), self.tally.failed.load(Ordering::Relaxed))
    }

    /// How long after `since` the member called `name` was first in a state that `matches`.
    #[must_use]
    pub fn first(
        &self,
        name: &str,
        since: Instant,
        matches: impl Fn(MemberState) -> bool,
    ) -> Option<Duration> {
        self.find(since, |kind| {
            matches!(kind, EventKind::MemberState { member, to, .. } if **member == *name && matches(*to))
        })
    }

    /// How long after `since` another member was first read, for this reason.
    #[must_use]
    pub fn switched(&self, since: Instant, because: SwitchReason) -> Option<Duration> {
        self.find(since, |kind| matches!(kind, EventKind::Switched { reason, .. } if *reason == because))
    }

    /// How long after `since` an event like this came first.
    pub(crate) fn find(&self, since: Instant, matches: impl Fn(&EventKind) -> bool) -> Option<Duration> {
        let changes = self.changes();
        let found = changes.iter().find(|change| change.at >= since && matches(&change.kind));
        found.map(|change| change.at - since)
    }

    /// How often another member was read, from `since` on.
    #[must_use]
    pub fn switches(&self, since: Instant) -> usize {
        let switched =
            |change: &&Change| change.at >= since && matches!(change.kind, EventKind::Switched { .. });
        self.changes().iter().filter(switched).count()
    }

    /// What it has told of its members, from `since` on.
    #[must_use]
    pub fn story(&self, since: Instant) -> String {
        let changes = self.changes();
        let told = changes.iter().filter(|change| change.at >= since);
        let told: Vec<_> = told.map(|one| format!("{:.1?} {}", one.at - since, one.kind)).collect();
        told.join("; ")
    }

    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.tally.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Onlooker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Onlooker")
            .field("name", &self.name)
            .field("tally", &self.tally)
            .finish_non_exhaustive()
    }
}

async fn look_up(view: callsign_client::ServiceView, tally: Arc<Tally>) {
    let (orders, mut known) = (view.round_robin(), false);
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        let picked = orders.pick().is_some();
        known |= picked;
        tally.made.fetch_add(usize::from(known), Ordering::Relaxed);
        tally.failed.fetch_add(usize::from(known && !picked), Ordering::Relaxed);
    }
}

async fn note(mut events: EventStream, tally: Arc<Tally>) {
    while let Some(event) = events.next().await {
        let mut changes = tally.changes.lock().unwrap_or_else(PoisonError::into_inner);
        changes.push(Change { at: event.at, kind: event.kind });
    }
}
