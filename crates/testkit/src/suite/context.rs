//! What a case works with: clients, names that nobody else uses, and patience.

use std::fmt;
use std::panic::Location;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::{
    Backend, Capabilities, Error, Health, Instance, InstanceBuilder, InstanceId, InstanceKey, Listing,
    Namespace, Pair, Read, Record, ServiceKey, Ttl,
};
use tokio::time::{Instant, sleep, timeout};

use super::compare::{brief, broken_rule, explain, is_exactly};
use super::outcome::chain;
use super::{CaseResult, Stop, Watcher};
use crate::{Guard, Harness};

/// How long records live that are not meant to expire during a case.
const LONG: Duration = Duration::from_secs(120);
/// Between two looks at something that cannot be awaited. Short, so that a gap is seen; not so short that a real
/// registry has nothing else to do.
const POLL: Duration = Duration::from_millis(20);

/// What a case is handed. Cloning is cheap, and gives the same context.
#[derive(Clone)]
pub struct Ctx(Arc<Inner>);

struct Inner {
    harness: Arc<dyn Harness>,
    capabilities: Capabilities,
    namespace: Namespace,
    /// Before every service name, where the registry has no namespaces to keep cases apart.
    prefix: String,
    clients: Mutex<Vec<Arc<dyn Backend>>>,
}

impl Ctx {
    /// A context of its own on the registry of `harness`.
    #[must_use]
    pub fn new(harness: Arc<dyn Harness>) -> Self {
        let capabilities = harness.capabilities();
        let (namespace, prefix) = if capabilities.namespaces {
            (harness.namespace(), String::new())
        } else {
            let random = InstanceId::random().to_string();
            (Namespace::default(), format!("t{}-", &random[..8]))
        };
        Self(Arc::new(Inner { harness, capabilities, namespace, prefix, clients: Mutex::default() }))
    }

    /// The harness.
    #[must_use]
    pub fn harness(&self) -> &dyn Harness {
        &*self.0.harness
    }

    /// What the registry can do.
    #[must_use]
    pub fn capabilities(&self) -> &Capabilities {
        &self.0.capabilities
    }

    /// Whether the case runs on paused time.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.0.harness.paused()
    }

    /// How long a case may take.
    #[must_use]
    pub fn limit(&self) -> Duration {
        Duration::from_secs(120) + self.0.harness.shortest_ttl().get() * 20
    }

    /// A fresh client; closed when the case has ended.
    #[track_caller]
    pub fn client(&self) -> impl Future<Output = CaseResult<Arc<dyn Backend>>> + Send + '_ {
        self.client_at(Location::caller())
    }

    /// Two fresh clients: one writes, the other reads.
    #[track_caller]
    pub fn clients(
        &self,
    ) -> impl Future<Output = CaseResult<(Arc<dyn Backend>, Arc<dyn Backend>)>> + Send + '_ {
        let at = Location::caller();
        async move { Ok((self.client_at(at).await?, self.client_at(at).await?)) }
    }

    async fn client_at(&self, at: &'static Location<'static>) -> CaseResult<Arc<dyn Backend>> {
        let client = self.0.harness.client().await;
        let client = client.map_err(|error| Stop::failed_at(at, format!("no client: {}", chain(&error))))?;
        self.clients_mut().push(client.clone());
        Ok(client)
    }

    fn clients_mut(&self) -> MutexGuard<'_, Vec<Arc<dyn Backend>>> {
        self.0.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes every client that the case had.
    pub(crate) async fn close(&self) {
        let clients = std::mem::take(&mut *self.clients_mut());
        let closing = clients.iter().map(|client| timeout(Duration::from_secs(5), client.close()));
        // Whether closing works is proved by cases of its own.
        futures::future::join_all(closing).await;
    }

    /// A service that only this case uses.
    pub fn service(&self, name: &str) -> CaseResult<ServiceKey> {
        let key = ServiceKey::new(format!("{}{name}", self.0.prefix))?;
        Ok(key.with_namespace(self.0.namespace.clone()))
    }

    /// How many bytes of a service name are already taken.
    #[must_use]
    pub fn prefix_len(&self) -> usize {
        self.0.prefix.len()
    }

    /// Another namespace that nobody else uses.
    #[must_use]
    pub fn namespace(&self) -> Namespace {
        self.0.harness.namespace()
    }

    /// An instance of `service` with one endpoint and the pair `1.1`.
    #[must_use]
    pub fn instance(&self, service: &ServiceKey, id: &str) -> InstanceBuilder {
        Instance::builder(service).id(id).endpoint(endpoint_of(id)).pair(Pair::new(1, 1))
    }

    /// A record that does not expire during a case.
    pub fn record(&self, service: &ServiceKey, id: &str) -> CaseResult<Record> {
        self.record_of(self.instance(service, id))
    }

    /// As [`record`](Self::record), with the pair `(incarnation, seq)`.
    pub fn record_at(&self, service: &ServiceKey, id: &str, pair: (u64, u64)) -> CaseResult<Record> {
        self.record_of(self.instance(service, id).pair(Pair::new(pair.0, pair.1)))
    }

    /// A record of what `builder` builds that does not expire during a case.
    pub fn record_of(&self, builder: InstanceBuilder) -> CaseResult<Record> {
        let ttl = Ttl::new(LONG)?.max(self.0.harness.shortest_ttl());
        Ok(Record::new(builder.build()?, ttl))
    }

    /// A record with the shortest ttl.
    pub fn short_record(&self, service: &ServiceKey, id: &str) -> CaseResult<Record> {
        let instance = self.instance(service, id).build()?;
        Ok(Record::new(instance, self.0.harness.shortest_ttl()))
    }

    /// The instances in `listing` that are not there only because registries of this kind list the expired.
    pub fn living<'a>(&self, listing: &'a Listing) -> impl Iterator<Item = &'a Arc<Instance>> + use<'a> {
        let all = !self.0.harness.lists_expired();
        listing.instances.iter().filter(move |found| all || found.health != Health::Critical)
    }

    /// Whether the instance `key` is one of the [living](Self::living).
    #[must_use]
    pub fn lives(&self, listing: &Listing, key: &InstanceKey) -> bool {
        self.living(listing).any(|found| found.key == *key)
    }

    /// How long a write may take to be seen.
    #[must_use]
    pub fn propagation(&self) -> Duration {
        self.0.harness.propagation()
    }

    /// How long a client may take to be itself again.
    #[must_use]
    pub fn recovery(&self) -> Duration {
        self.0.harness.recovery()
    }

    /// Patience for `bound`.
    #[must_use]
    pub fn patience(&self, bound: Duration) -> Patience {
        Patience { bound, until: Instant::now() + bound }
    }

    /// One listing, which must be a legal one.
    #[track_caller]
    pub fn list<'a>(
        &self,
        client: &'a Arc<dyn Backend>,
        service: &'a ServiceKey,
    ) -> impl Future<Output = CaseResult<Listing>> + Send + 'a {
        let at = Location::caller();
        async move {
            let listing = client
                .list(service, Read::Quorum)
                .await
                .map_err(|error| Stop::failed_at(at, format!("`list` failed: {}", chain(&error))))?;
            match broken_rule(&listing, service, client.info()) {
                Some(rule) => Err(Stop::failed_at(at, rule)),
                None => Ok(listing),
            }
        }
    }

    /// Lists until `accept` is content, for as long as a write may take to be seen.
    #[track_caller]
    pub fn lists<'a>(
        &self,
        client: &'a Arc<dyn Backend>,
        service: &'a ServiceKey,
        what: &'a str,
        mut accept: impl FnMut(&Listing) -> bool + Send + 'a,
    ) -> impl Future<Output = CaseResult<Listing>> + Send + 'a {
        let at = Location::caller();
        let (ctx, bound) = (self.clone(), self.propagation());
        async move {
            let patience = ctx.patience(bound);
            loop {
                let listing = ctx.list(client, service).await?;
                if accept(&listing) {
                    return Ok(listing);
                }
                patience.pause_at(at, || format!("{what}: found {}", brief(&listing))).await?;
            }
        }
    }

    /// Lists until exactly `records` are there, as they were written.
    #[track_caller]
    pub fn lists_exactly<'a>(
        &self,
        client: &'a Arc<dyn Backend>,
        service: &'a ServiceKey,
        records: &'a [&'a Record],
    ) -> impl Future<Output = CaseResult<Listing>> + Send + 'a {
        let at = Location::caller();
        let (ctx, bound) = (self.clone(), self.propagation());
        async move {
            let patience = ctx.patience(bound);
            loop {
                let listing = ctx.list(client, service).await?;
                if is_exactly(&listing, records) {
                    return Ok(listing);
                }
                patience
                    .pause_at(at, || format!("the listing is wrong: {}", explain(&listing, records)))
                    .await?;
            }
        }
    }

    /// Follows `service`.
    #[must_use]
    pub fn watch(&self, client: &Arc<dyn Backend>, service: &ServiceKey) -> Watcher {
        Watcher::new(client, service, self.propagation())
    }

    /// Stops the registry.
    pub async fn outage(&self) -> CaseResult<Guard> {
        self.0.harness.outage().await.map_err(|error| Stop::of_harness(&error))
    }

    /// Freezes the registry.
    pub async fn freeze(&self) -> CaseResult<Guard> {
        self.0.harness.freeze().await.map_err(|error| Stop::of_harness(&error))
    }

    /// Takes everything that the registry stores.
    pub async fn wipe(&self) -> CaseResult {
        self.0.harness.wipe().await.map_err(|error| Stop::of_harness(&error))
    }

    /// Makes the record of `key` undecodable.
    pub async fn garbage(&self, key: &InstanceKey) -> CaseResult {
        self.0.harness.garbage(key).await.map_err(|error| Stop::of_harness(&error))
    }

    /// Deletes the record of `key` past the backend.
    pub async fn delete(&self, key: &InstanceKey) -> CaseResult {
        self.0.harness.delete(key).await.map_err(|error| Stop::of_harness(&error))
    }

    /// Ends a fault.
    pub async fn heal(&self, guard: Guard) -> CaseResult {
        guard.heal().await.map_err(|error| Stop::of_harness(&error))
    }

    /// Tries until `client` answers again after a fault.
    #[track_caller]
    pub fn answers_again<'a>(
        &self,
        client: &'a Arc<dyn Backend>,
        service: &'a ServiceKey,
    ) -> impl Future<Output = CaseResult> + Send + 'a {
        let at = Location::caller();
        let patience = self.patience(self.recovery());
        async move {
            loop {
                let error = match timeout(Duration::from_secs(5), client.list(service, Read::Quorum)).await {
                    Ok(Ok(_)) => return Ok(()),
                    Ok(Err(error)) => chain(&error),
                    Err(_) => "no answer within 5s".to_owned(),
                };
                patience.pause_at(at, || format!("the client does not recover: {error}")).await?;
            }
        }
    }
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx")
            .field("namespace", &self.0.namespace)
            .field("prefix", &self.0.prefix)
            .finish_non_exhaustive()
    }
}

/// Waits for what cannot be awaited, and gives up in time.
#[derive(Debug)]
pub struct Patience {
    bound: Duration,
    until: Instant,
}

impl Patience {
    /// Waits a little; fails with what `complaint` says when all patience is used up.
    #[track_caller]
    pub fn pause<'a>(
        &'a self,
        complaint: impl FnOnce() -> String + Send + 'a,
    ) -> impl Future<Output = CaseResult> + Send + 'a {
        self.pause_at(Location::caller(), complaint)
    }

    async fn pause_at(
        &self,
        at: &'static Location<'static>,
        complaint: impl FnOnce() -> String + Send,
    ) -> CaseResult {
        if Instant::now() >= self.until {
            let complaint = complaint();
            return Err(Stop::failed_at(at, format!("after {:?}: {complaint}", self.bound)));
        }
        sleep(POLL).await;
        Ok(())
    }
}

/// The answer to a call, which must come within `bound`.
#[track_caller]
pub(super) fn answer<'a, T: Send>(
    call: &'a str,
    bound: Duration,
    future: impl Future<Output = Result<T, Error>> + Send + 'a,
) -> impl Future<Output = CaseResult<Result<T, Error>>> + Send + 'a {
    let at = Location::caller();
    async move {
        let answer = timeout(bound, future).await;
        answer.map_err(|_| Stop::failed_at(at, format!("`{call}` did not answer within {bound:?}")))
    }
}

/// Each id has its own: a process listens where no other one does, and there are registries that know it by that.
fn endpoint_of(id: &str) -> String {
    // FNV-1a, well mixed, spread over 127.0.0.0/8 and its ports.
    let hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let [second, third, last, high, low, ..] = hash.to_be_bytes();
    let port = 1024 + u16::from(high) * 250 + u16::from(low) % 250;
    format!("http://127.{second}.{third}.{}:{port}", last.max(1))
}
