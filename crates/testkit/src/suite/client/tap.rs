//! Listens in between a client and its backend.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsign_core::{
    Backend, BackendInfo, Discovery, Error, EventStream, Group, InstanceKey, Listing, LostSignal,
    LostTrigger, Namespace, Pair, Probe, Read, Receipt, Record, Registry, Result, ServiceKey, ServiceName,
    WatchStream, async_trait,
};
use futures::StreamExt;
use tokio::time::Instant;

/// Remembers what a client writes, counts its watches, and tells it of losses. Cloning is cheap, and gives the same.
#[derive(Clone)]
pub struct Tap(Arc<Inner>);

struct Inner {
    backend: Arc<dyn Backend>,
    writes: Mutex<Vec<Write>>,
    /// How many watches were opened.
    opened: AtomicUsize,
    /// How many of them are still there.
    open: AtomicUsize,
    /// Whether the backend's events are kept from the client.
    muted: AtomicBool,
    /// The client hears of losses from here alone.
    lost: Mutex<(LostTrigger, LostSignal)>,
}

/// A write that has begun.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Write {
    /// When.
    pub at: Instant,
    /// `register`, `renew` or `deregister`.
    pub verb: &'static str,
    /// Whose record.
    pub key: InstanceKey,
    /// With which pair.
    pub pair: Pair,
}

impl Tap {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self(Arc::new(Inner {
            backend,
            writes: Mutex::default(),
            opened: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            muted: AtomicBool::new(false),
            lost: Mutex::new(LostSignal::channel()),
        }))
    }

    /// Every write from the beginning, in the order in which they began.
    #[must_use]
    pub fn writes(&self) -> Vec<Write> {
        self.0.writes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The writes that began at `since` or later.
    #[must_use]
    pub fn writes_since(&self, since: Instant) -> Vec<Write> {
        self.writes().into_iter().filter(|write| write.at >= since).collect()
    }

    /// How many watches were opened so far, and how many of them are still open.
    #[must_use]
    pub fn watches(&self) -> (usize, usize) {
        (self.0.opened.load(Ordering::SeqCst), self.0.open.load(Ordering::SeqCst))
    }

    /// Tells the client that its records are lost, as a backend does whose session has ended.
    pub fn lose(&self, cause: Error) {
        let (trigger, _) = std::mem::replace(&mut *self.lost(), LostSignal::channel());
        trigger.fire(cause);
    }

    /// Keeps the backend's events from what is begun from now on, as if the backend noticed nothing by itself.
    pub fn mute_events(&self) {
        self.0.muted.store(true, Ordering::SeqCst);
    }

    fn lost(&self) -> MutexGuard<'_, (LostTrigger, LostSignal)> {
        self.0.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, verb: &'static str, record: &Record) {
        let write = Write { at: Instant::now(), verb, key: record.key().clone(), pair: record.pair() };
        self.0.writes.lock().unwrap_or_else(PoisonError::into_inner).push(write);
    }

    fn receipt(&self, receipt: Receipt) -> Receipt {
        let signal = self.lost().1.clone();
        receipt.with_lost(signal)
    }
}

/// One watch that is open.
struct Open(Arc<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for Tap {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.note("register", record);
        self.0.backend.register(record).await.map(|receipt| self.receipt(receipt))
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.note("renew", record);
        self.0.backend.renew(record).await.map(|receipt| self.receipt(receipt))
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.note("deregister", record);
        self.0.backend.deregister(record).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Discovery for Tap {
    async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        self.0.backend.list(service, read).await
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        self.0.open.fetch_add(1, Ordering::SeqCst);
        let open = Open(self.0.clone());
        let items = self.0.backend.watch(service).map(move |item| {
            let _open = &open;
            item
        });
        items.boxed()
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        self.0.backend.services(namespace, group).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Tap {
    fn info(&self) -> &BackendInfo {
        self.0.backend.info()
    }

    fn events(&self) -> EventStream {
        if self.0.muted.load(Ordering::SeqCst) {
            return futures::stream::pending().boxed();
        }
        self.0.backend.events()
    }

    async fn probe(&self, level: Probe) -> Result<()> {
        self.0.backend.probe(level).await
    }

    async fn close(&self) -> Result<()> {
        self.0.backend.close().await
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tap").field("backend", &self.0.backend).finish_non_exhaustive()
    }
}
