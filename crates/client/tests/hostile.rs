//! Backends that keep none of their promises: the tasks of a client outlive them, and do not run hot.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use callsign_client::{Client, Freshness, RegisterOptions, RegistrationState};
use callsign_core::{
    Backend, BackendInfo, Discovery, Error, EventStream, Group, Instance, Listing, Namespace, Probe, Read,
    Receipt, Record, Registry, Result, ServiceKey, ServiceName, Ttl, WatchStream, async_trait,
};
use callsign_memory::{Memory, Store};
use futures::StreamExt;
use tokio::time::{Instant, sleep};

const SOON: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    /// Every method panics, as do the streams.
    Panics,
    /// Every method of the traits panics before it has made its future or stream.
    PanicsAtOnce,
    /// No call is ever answered, no stream ever says anything.
    Silent,
    /// Calls fail at once; streams end at once.
    Ends,
    /// Calls fail at once; the watch yields one error after the other.
    Errs,
}

/// In one mood until it comes to its senses; then it is the embedded registry.
#[derive(Debug)]
struct Hostile {
    mood: Mood,
    sane: AtomicBool,
    memory: Memory,
    writes: AtomicUsize,
    watches: Arc<AtomicUsize>,
}

impl Hostile {
    fn new(mood: Mood, store: &Store) -> Arc<Self> {
        Arc::new(Self {
            mood,
            sane: AtomicBool::new(false),
            memory: Memory::new(store.clone(), "main"),
            writes: AtomicUsize::new(0),
            watches: Arc::default(),
        })
    }

    fn is_sane(&self) -> bool {
        self.sane.load(Ordering::SeqCst)
    }

    async fn suffer<T>(&self) -> Result<T> {
        match self.mood {
            Mood::Panics | Mood::PanicsAtOnce => panic!("a panic on purpose"),
            Mood::Silent => std::future::pending().await,
            Mood::Ends | Mood::Errs => Err(Error::unavailable("no")),
        }
    }
}

/// Not by `async_trait`, so that a method can panic before there is a future.
type Answer<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

impl Hostile {
    fn call<'a, T: Send + 'a>(&'a self, sane: Answer<'a, T>) -> Answer<'a, T> {
        assert!(self.is_sane() || self.mood != Mood::PanicsAtOnce, "a panic on purpose");
        Box::pin(async move { if self.is_sane() { sane.await } else { self.suffer().await } })
    }

    fn write<'a>(&'a self, sane: Answer<'a, Receipt>) -> Answer<'a, Receipt> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.call(sane)
    }
}

impl Registry for Hostile {
    fn register<'a, 'b, 'c>(&'a self, record: &'b Record) -> Answer<'c, Receipt>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.write(self.memory.register(record))
    }

    fn renew<'a, 'b, 'c>(&'a self, record: &'b Record) -> Answer<'c, Receipt>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.write(self.memory.renew(record))
    }

    fn deregister<'a, 'b, 'c>(&'a self, record: &'b Record) -> Answer<'c, Receipt>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        self.write(self.memory.deregister(record))
    }
}

#[async_trait]
impl Discovery for Hostile {
    async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        self.call(self.memory.list(service, read)).await
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        let items = self.watches.clone();
        items.fetch_add(1, Ordering::SeqCst);
        if self.is_sane() {
            return self.memory.watch(service);
        }
        match self.mood {
            Mood::PanicsAtOnce => panic!("a panic on purpose"),
            Mood::Panics => futures::stream::poll_fn(|_| panic!("a panic on purpose")).boxed(),
            Mood::Silent => futures::stream::pending().boxed(),
            Mood::Ends => futures::stream::empty().boxed(),
            // The registry comes back behind it in the same stream, as it does for every honest backend.
            Mood::Errs => {
                let memory = self.memory.clone();
                let service = service.clone();
                let errors = futures::stream::repeat_with(move || {
                    items.fetch_add(1, Ordering::SeqCst);
                    Err(Error::unavailable("no"))
                });
                errors.take(200).chain(memory.watch(&service)).boxed()
            }
        }
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        self.call(self.memory.services(namespace, group)).await
    }
}

#[async_trait]
impl Backend for Hostile {
    fn info(&self) -> &BackendInfo {
        assert!(self.is_sane() || !matches!(self.mood, Mood::Panics | Mood::PanicsAtOnce), "on purpose");
        self.memory.info()
    }

    fn events(&self) -> EventStream {
        match self.mood {
            Mood::PanicsAtOnce => panic!("a panic on purpose"),
            Mood::Panics => futures::stream::poll_fn(|_| panic!("a panic on purpose")).boxed(),
            Mood::Silent => futures::stream::pending().boxed(),
            Mood::Ends | Mood::Errs => futures::stream::unfold((), |()| async { None }).boxed(),
        }
    }

    async fn probe(&self, _: Probe) -> Result<()> {
        self.call(self.memory.probe(Probe::Reachable)).await
    }

    async fn close(&self) -> Result<()> {
        self.call(self.memory.close()).await
    }
}

fn service() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

fn instance(id: &str) -> Instance {
    Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").build().unwrap()
}

fn options() -> RegisterOptions {
    RegisterOptions::new().with_ttl(Ttl::from_secs(15).unwrap()).with_wait(Duration::from_secs(2))
}

/// A minute of a hostile backend, and what becomes of client and views after it.
async fn survives(mood: Mood) {
    let store = Store::new();
    let backend = Hostile::new(mood, &store);
    let client = Client::new(backend.clone()).unwrap();
    let start = Instant::now();
    let registration = client.register(instance("a"), options()).await.unwrap();
    assert!(start.elapsed() <= Duration::from_secs(2), "{mood:?}: {:?}", start.elapsed());
    assert!(!registration.state().is_registered(), "{mood:?}: {}", registration.state());
    let view = client.service(service());
    let error = view.ready(Duration::from_secs(2)).await.err();
    assert!(error.is_some() || mood == Mood::Errs, "{mood:?}: ready");

    sleep(Duration::from_secs(60)).await;
    let (writes, watches) = (backend.writes.load(Ordering::SeqCst), backend.watches.load(Ordering::SeqCst));
    // At least one every cap (5 s) and its time-out, at most one every base (250 ms).
    assert!((6..=250).contains(&writes), "{mood:?}: {writes} writes in a minute");
    assert!((1..=650).contains(&watches), "{mood:?}: {watches} items of watches in a minute");

    backend.sane.store(true, Ordering::SeqCst);
    registration.wait_for(RegistrationState::is_registered).await.unwrap();
    // A watch that is silent for ever is opened anew after 30 s.
    let live =
        |snapshot: &callsign_client::Snapshot| snapshot.freshness.is_live() && snapshot.routable().len() == 1;
    view.wait_for(SOON + Duration::from_secs(30), live).await.unwrap();
    assert!(registration.deregister(SOON).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_panics_is_outlived() {
    survives(Mood::Panics).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_panics_before_it_answers_is_outlived() {
    survives(Mood::PanicsAtOnce).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_never_answers_is_outlived() {
    survives(Mood::Silent).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_whose_streams_end_is_outlived() {
    survives(Mood::Ends).await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_errs_without_a_pause_is_outlived() {
    survives(Mood::Errs).await;
}

#[tokio::test(start_paused = true)]
async fn leaving_and_closing_a_hostile_backend_end_in_time() {
    for mood in [Mood::Panics, Mood::PanicsAtOnce, Mood::Silent, Mood::Ends, Mood::Errs] {
        let client = Client::new(Hostile::new(mood, &Store::new())).unwrap();
        let one = client.register(instance("a"), options().with_wait(Duration::ZERO)).await.unwrap();
        let two = client.register(instance("b"), options().with_wait(Duration::ZERO)).await.unwrap();
        let view = client.service(service());
        let start = Instant::now();
        let departure = one.deregister(Duration::from_secs(3)).await;
        assert!(departure.removed.is_err() && start.elapsed() <= Duration::from_secs(3), "{mood:?}");
        let start = Instant::now();
        let _ = client.close(Duration::from_secs(3)).await;
        assert!(start.elapsed() <= Duration::from_secs(8), "{mood:?}: {:?}", start.elapsed());
        assert!(matches!(two.state(), RegistrationState::Gone), "{mood:?}: {}", two.state());
        assert!(!matches!(view.snapshot().freshness, Freshness::Live), "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_view_says_that_its_watch_has_ended() {
    let store = Store::new();
    let backend = Hostile::new(Mood::Ends, &store);
    let client = Client::new(backend).unwrap();
    let view = client.service(service());
    let troubled = |snapshot: &callsign_client::Snapshot| snapshot.freshness.cause().is_some();
    let snapshot = view.wait_for(SOON, troubled).await.unwrap();
    assert!(matches!(snapshot.freshness, Freshness::Unknown { cause: Some(_) }));
}
