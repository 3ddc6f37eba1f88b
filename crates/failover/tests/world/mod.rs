//! Two embedded registries behind one failover, and ways to hurt them.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "shared by tests, each of which uses a part"
)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use callsign_core::{
    Backend, BackendInfo, Discovery, Error, ErrorKind, Event, EventKind, EventStream, Group, Instance,
    Listing, MemberState, Namespace, Pair, Probe, Read, Receipt, Record, Registry, Result, ServiceKey,
    ServiceName, Ttl, WatchEvent, WatchStream, async_trait,
};
use callsign_failover::{Failover, Settings, Topology};
use callsign_memory::{Memory, Store};
use futures::{FutureExt, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

pub(crate) fn service() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

pub(crate) fn record_of(service: &ServiceKey, id: &str, pair: (u64, u64)) -> Record {
    let instance = Instance::builder(service).id(id).endpoint("http://127.0.0.1:1");
    let instance = instance.registered_at(std::time::UNIX_EPOCH);
    Record::new(instance.pair(Pair::new(pair.0, pair.1)).build().unwrap(), Ttl::from_secs(10).unwrap())
}

pub(crate) fn record(id: &str, pair: (u64, u64)) -> Record {
    record_of(&service(), id, pair)
}

/// A member that does as it is told.
#[derive(Debug)]
pub(crate) struct Odd {
    inner: Memory,
    /// Ids whose registration is forbidden.
    pub(crate) forbidden: Mutex<HashSet<String>>,
    /// Whether every call is refused for its credentials.
    pub(crate) stranger: AtomicBool,
    pub(crate) calls: AtomicUsize,
    pub(crate) registers: AtomicUsize,
    /// Whether every method panics, before it has made its future.
    pub(crate) panics: AtomicBool,
    /// Whether events are kept to itself.
    pub(crate) mute: bool,
    /// Whether this process does not reach it, while others do.
    pub(crate) away: AtomicBool,
    /// Whether watches show errors, while everything else is well.
    pub(crate) unwatched: Arc<AtomicBool>,
    /// Whether watches are refused, while everything else is well.
    pub(crate) unreadable: Arc<AtomicBool>,
    /// Whether watches say nothing, while everything else is well.
    pub(crate) hushed: Arc<AtomicBool>,
    /// Writes and listings wait while this is set.
    pub(crate) held: watch::Sender<bool>,
    /// How many listings have come to their end.
    pub(crate) listed: AtomicUsize,
}

impl Odd {
    pub(crate) fn new(store: &Store, name: &str) -> Arc<Self> {
        Self::with(store, name, false)
    }

    pub(crate) fn muted(store: &Store, name: &str) -> Arc<Self> {
        Self::with(store, name, true)
    }

    fn with(store: &Store, name: &str, mute: bool) -> Arc<Self> {
        Arc::new(Self {
            inner: Memory::new(store.clone(), name),
            forbidden: Mutex::default(),
            stranger: AtomicBool::new(false),
            calls: AtomicUsize::new(0),
            registers: AtomicUsize::new(0),
            panics: AtomicBool::new(false),
            mute,
            away: AtomicBool::new(false),
            unwatched: Arc::default(),
            unreadable: Arc::default(),
            hushed: Arc::default(),
            held: watch::Sender::new(false),
            listed: AtomicUsize::new(0),
        })
    }

    fn enter(&self) -> Result<()> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if self.stranger.load(Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::Unauthorized, "who are you"));
        }
        if self.away.load(Ordering::SeqCst) { Err(Error::unavailable("no way there")) } else { Ok(()) }
    }

    fn check(&self) {
        assert!(!self.panics.load(Ordering::SeqCst), "as it was told");
    }

    async fn write(&self, record: &Record) -> Result<()> {
        self.enter()?;
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        if self.forbidden.lock().unwrap().contains(record.key().id.as_str()) {
            return Err(Error::new(ErrorKind::PermissionDenied, "not this one"));
        }
        Ok(())
    }
}

#[async_trait]
impl Registry for Odd {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.check();
        self.registers.fetch_add(1, Ordering::SeqCst);
        self.write(record).await?;
        self.inner.register(record).await
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.write(record).await?;
        self.inner.renew(record).await
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.write(record).await?;
        self.inner.deregister(record).await
    }
}

#[async_trait]
impl Discovery for Odd {
    async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        self.enter()?;
        let _ = self.held.subscribe().wait_for(|held| !held).await;
        self.listed.fetch_add(1, Ordering::SeqCst);
        self.inner.list(service, read).await
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        self.check();
        if let Err(error) = self.enter() {
            return futures::stream::once(async { Err(error) }).chain(futures::stream::pending()).boxed();
        }
        let (unwatched, unreadable) = (self.unwatched.clone(), self.unreadable.clone());
        let spoilt = move |item| {
            if unreadable.load(Ordering::SeqCst) {
                return Err(Error::new(ErrorKind::PermissionDenied, "not for you"));
            }
            if unwatched.load(Ordering::SeqCst) { Err(Error::timeout("the watch was silent")) } else { item }
        };
        let hushed = self.hushed.clone();
        let said = self.inner.watch(service).filter(move |_| {
            let hushed = hushed.load(Ordering::SeqCst);
            async move { !hushed }
        });
        said.map(spoilt).boxed()
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        self.enter()?;
        self.inner.services(namespace, group).await
    }
}

#[async_trait]
impl Backend for Odd {
    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    fn events(&self) -> EventStream {
        self.check();
        if self.mute { futures::stream::pending().boxed() } else { self.inner.events() }
    }

    async fn probe(&self, level: Probe) -> Result<()> {
        self.check();
        self.enter()?;
        self.inner.probe(level).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

pub(crate) struct World {
    pub(crate) stores: [Store; 2],
    pub(crate) members: [Arc<Odd>; 2],
    pub(crate) failover: Failover,
    events: Mutex<EventStream>,
}

impl World {
    pub(crate) fn new(topology: Topology) -> Self {
        Self::with([Store::new(), Store::new()], Settings::default().with_topology(topology))
    }

    pub(crate) fn with(stores: [Store; 2], settings: Settings) -> Self {
        let members = [Odd::new(&stores[0], "main"), Odd::new(&stores[1], "backup")];
        Self::of(stores, members, settings, None)
    }

    pub(crate) fn of(
        stores: [Store; 2],
        members: [Arc<Odd>; 2],
        settings: Settings,
        journal: Option<std::path::PathBuf>,
    ) -> Self {
        let failover = Failover::builder("dr")
            .member("main", members[0].clone())
            .member("backup", members[1].clone())
            .settings(settings)
            .journal(journal)
            .build()
            .unwrap();
        let events = Mutex::new(failover.events());
        Self { stores, members, failover, events }
    }

    pub(crate) fn state(&self, member: usize) -> MemberState {
        self.failover.control().members()[member].state
    }

    pub(crate) fn active(&self) -> String {
        self.failover.control().state().active.to_string()
    }

    /// Waits until `member` is in `state`; how long it took.
    pub(crate) async fn reaches(&self, member: usize, state: MemberState, within: Duration) -> Duration {
        let start = Instant::now();
        let mut control = self.failover.control();
        let reached = async {
            while control.members()[member].state != state {
                control.changed().await;
            }
        };
        let in_time = timeout(within, reached).await.is_ok();
        assert!(in_time, "after {within:?} it is not {state}: {:?}", self.failover.control());
        start.elapsed()
    }

    /// Waits until `name` is read.
    pub(crate) async fn switches_to(&self, name: &str, within: Duration) -> Duration {
        let start = Instant::now();
        let mut control = self.failover.control();
        let reached = async {
            while *control.state().active != *name {
                control.changed().await;
            }
        };
        let in_time = timeout(within, reached).await.is_ok();
        assert!(in_time, "after {within:?} `{name}` is not read: {:?}", self.failover.control());
        start.elapsed()
    }

    /// The ids that one store has.
    pub(crate) async fn ids(&self, member: usize) -> Vec<String> {
        ids(&Memory::new(self.stores[member].clone(), "look").list(&service(), Read::Quorum).await.unwrap())
    }

    pub(crate) fn told(&self) -> Vec<Event> {
        let mut told = Vec::new();
        let mut events = self.events.lock().unwrap();
        while let Some(Some(event)) = events.next().now_or_never() {
            told.push(event);
        }
        told
    }
}

pub(crate) fn ids(listing: &Listing) -> Vec<String> {
    listing.instances.iter().map(|instance| instance.id().to_string()).collect()
}

/// The next listing that `accept` takes.
pub(crate) async fn listing(
    stream: &mut WatchStream,
    within: Duration,
    mut accept: impl FnMut(&Listing) -> bool,
) -> Listing {
    let deadline = Instant::now() + within;
    let mut last = None;
    loop {
        match tokio::time::timeout_at(deadline, stream.next()).await {
            Ok(Some(Ok(WatchEvent::Listing(listing)))) if accept(&listing) => return listing,
            Ok(Some(item)) => last = Some(item),
            Ok(None) => panic!("the watch ended"),
            Err(late) => panic!("{late}: no such listing within {within:?}; the last item was {last:?}"),
        }
    }
}

pub(crate) fn kinds(events: &[Event]) -> Vec<EventKind> {
    events.iter().map(|event| event.kind.clone()).collect()
}
