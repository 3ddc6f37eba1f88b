//! What a suite needs to know of a registry: how to reach it, what it can do, and how to hurt it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{
    Backend, Capabilities, Error, InstanceId, InstanceKey, Namespace, Result, Ttl, async_trait,
};
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};

/// One registry under test. Two methods are enough to begin with; each further one opens more cases.
///
/// A fault that a harness cannot make answers `Unsupported` with the reason, and the cases that need it are
/// *ignored* with that reason. Any other error fails the case.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// A fresh client of the registry, with a connection of its own. Every call reaches the same registry.
    ///
    /// # Errors
    /// Fails the case. Building a backend does no network I/O, so it has no reason to fail during an outage.
    async fn client(&self) -> Result<Arc<dyn Backend>>;

    /// What the backend has to say of itself, written down a second time: a capability that gets lost by accident
    /// would otherwise only make cases disappear.
    fn capabilities(&self) -> Capabilities;

    /// Whether the registry can be used here and now; asked before every case, and the place to start a server and
    /// to wait for it.
    ///
    /// # Errors
    /// The reason why not. The case is ignored with it, or fails where `CALLSIGN_REQUIRE` names the subject.
    async fn available(&self) -> Result<(), String> {
        Ok(())
    }

    /// A namespace that nobody else uses; a case asks once or twice. Where the registry has no namespaces, cases
    /// use service names that nobody else uses instead.
    fn namespace(&self) -> Namespace {
        let mut text = InstanceId::random().to_string();
        text.insert_str(0, "test-");
        Namespace::new(text).unwrap_or_default()
    }

    /// The shortest ttl that the registry can honour. 2 s, unless told.
    fn shortest_ttl(&self) -> Ttl {
        Ttl::new(Ttl::MIN).unwrap_or_default()
    }

    /// How much later than its ttl an unrenewed record may be gone. 2 s, unless told.
    fn expiry_slack(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// How long an expired record may be renewed yet although it is not listed any more: where several registries hold it,
    /// each lets it go at its own time. Not at all, unless told.
    fn expires_apart(&self) -> Duration {
        Duration::ZERO
    }

    /// Whether a record that nobody has renewed stays listed for a while, as `Critical`, before it is removed. `false`,
    /// unless told: it is not listed any more.
    fn lists_expired(&self) -> bool {
        false
    }

    /// Whether even a short outage may take records out of the listings for a while, as where nodes that have to find
    /// each other again remove what stood on the others. `false`, unless told.
    fn outage_removes(&self) -> bool {
        false
    }

    /// Whether a record goes with the connection that it was registered over, so that closing a client takes its records
    /// along. `false`, unless told: they live for the rest of their ttl.
    fn closing_removes(&self) -> bool {
        false
    }

    /// Whether a record that goes with its connection is there again with the next one, if it was renewed within its ttl.
    /// `false`, unless told: its owner hears that it is lost, and registers it again.
    fn reconnecting_restores(&self) -> bool {
        false
    }

    /// Whether a renewal may bring a record back that the registry has lost, as where several registries are one and another
    /// of them, out of reach at the moment, is believed to have it. `false`, unless told: the answer is `NotFound`.
    fn renewing_restores(&self) -> bool {
        false
    }

    /// How long a write may take to be seen by another client. 2 s, unless told.
    fn propagation(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// How long a client may take to be itself again after a fault has healed. 15 s, unless told: the watch
    /// driver's longest pause three times over.
    fn recovery(&self) -> Duration {
        Duration::from_secs(15)
    }

    /// Whether cases may run on paused time: only where no real I/O is done, as time jumps whenever all tasks
    /// wait. `false`, unless told.
    fn paused(&self) -> bool {
        false
    }

    /// Stops the registry, so that connections end and new ones are refused. What it stores survives.
    ///
    /// # Errors
    /// `Unsupported`: the cases that need an outage are ignored.
    async fn outage(&self) -> Result<Guard> {
        Err(Error::unsupported("this harness makes no outages"))
    }

    /// Freezes the registry, so that connections stay and nothing answers. What it stores survives.
    ///
    /// # Errors
    /// `Unsupported`: the cases that need it are ignored.
    async fn freeze(&self) -> Result<Guard> {
        Err(Error::unsupported("this harness freezes nothing"))
    }

    /// Takes everything that the registry stores, as a restart with an empty disk does. Returns when the registry
    /// answers again.
    ///
    /// # Errors
    /// `Unsupported`: the cases that need it are ignored.
    async fn wipe(&self) -> Result<()> {
        Err(Error::unsupported("this harness wipes nothing"))
    }

    /// Overwrites the record of `key`, past the backend, with something that cannot be decoded.
    ///
    /// # Errors
    /// `Unsupported`: the cases that need it are ignored.
    async fn garbage(&self, key: &InstanceKey) -> Result<()> {
        let _ = key;
        Err(Error::unsupported("this harness writes nothing past the backend"))
    }

    /// Deletes the record of `key` as an operator would, past the backend.
    ///
    /// # Errors
    /// `Unsupported`: the cases that need it are ignored.
    async fn delete(&self, key: &InstanceKey) -> Result<()> {
        let _ = key;
        Err(Error::unsupported("this harness deletes nothing past the backend"))
    }
}

/// A fault that lasts until it is healed or dropped.
///
/// ```
/// use callsign_testkit::Guard;
///
/// let server = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
/// let guard = Guard::new({
///     let server = server.clone();
///     move || server.store(true, std::sync::atomic::Ordering::SeqCst)
/// });
/// drop(guard);
/// assert!(server.load(std::sync::atomic::Ordering::SeqCst));
/// ```
#[must_use = "the fault heals when the guard is dropped"]
pub struct Guard {
    heal: Option<Box<dyn FnOnce() + Send>>,
    settled: Option<BoxFuture<'static, Result<()>>>,
}

impl Guard {
    /// A fault that `heal` ends. It is called once, also when a case fails, and may not wait for long.
    pub fn new(heal: impl FnOnce() + Send + 'static) -> Self {
        Self { heal: Some(Box::new(heal)), settled: None }
    }

    /// A fault that ends when `held` is dropped.
    pub fn holding(held: impl Send + 'static) -> Self {
        Self::new(move || drop(held))
    }

    /// Adds what to wait for after healing, such as a server that takes connections again.
    pub fn with_settled(mut self, settled: impl Future<Output = Result<()>> + Send + 'static) -> Self {
        self.settled = Some(settled.boxed());
        self
    }

    /// This fault and another one, which end together.
    pub fn and(mut self, mut other: Self) -> Self {
        let settled = [self.settled.take(), other.settled.take()];
        let both = Self::holding([self, other]);
        both.with_settled(async move { try_join_all(settled.into_iter().flatten()).await.map(drop) })
    }

    /// Ends the fault, and waits until the registry can be used.
    ///
    /// # Errors
    /// What the harness waited for did not happen.
    ///
    /// # Cancel safety
    /// The fault is ended in any case.
    pub async fn heal(mut self) -> Result<()> {
        let settled = self.settled.take();
        drop(self);
        match settled {
            Some(settled) => settled.await,
            None => Ok(()),
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(heal) = self.heal.take() {
            heal();
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}
