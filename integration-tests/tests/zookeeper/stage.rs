//! What a case works with: a ZooKeeper of its own, names that nobody else uses, and clients of all kinds.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{
    Backend, Instance, InstanceId, Listing, Namespace, Pair, Read, Record, ServiceKey, Ttl, WatchEvent,
    WatchStream,
};
use callsign_integration_tests::proxy::Proxy;
use callsign_integration_tests::zookeeper::{Options, Raw, ZooKeeper, config};
use callsign_integration_tests::{Lent, Pool};
use callsign_testkit::suite::{CaseResult, Stop};
use callsign_zookeeper::{ZooKeeperConfig, instance_path};
use futures::StreamExt;
use tokio::time::{Instant, sleep, timeout_at};

use crate::ensure;

/// How long a change may take to be seen, on a machine that has a lot to do.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// How long a client may take to be itself again after a fault.
pub(crate) const RECOVERY: Duration = Duration::from_secs(15);
/// A session that is over soon, and how long a server may be silent.
pub(crate) const SHORT: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(800));
const POLL: Duration = Duration::from_millis(20);
/// A port on a server's address that nothing else uses.
const PROXY: u16 = 12_181;

/// A way to set a ZooKeeper up, and where running ones come from.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pool: Pool<ZooKeeper>,
    options: Options,
}

impl Setup {
    pub(crate) fn new(pool: &Pool<ZooKeeper>, options: Options) -> Self {
        Self { pool: pool.clone(), options }
    }

    /// The same with something else.
    pub(crate) fn with(&self, change: impl FnOnce(Options) -> Options) -> Self {
        Self { pool: self.pool.clone(), options: change(self.options.clone()) }
    }

    pub(crate) fn pool(&self) -> &Pool<ZooKeeper> {
        &self.pool
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    /// A ZooKeeper of the case's own.
    pub(crate) async fn stage(&self) -> CaseResult<Stage> {
        self.options.version.jar().map_err(Stop::Missing)?;
        Ok(Stage::new(self.pool.take(&self.options).await?))
    }

    /// As [`stage`](Self::stage), while no other case runs: for what is measured.
    pub(crate) async fn stage_alone(&self) -> CaseResult<Stage> {
        self.options.version.jar().map_err(Stop::Missing)?;
        Ok(Stage::new(self.pool.take_alone(&self.options).await?))
    }
}

/// A running ZooKeeper in the hands of one case.
#[derive(Debug)]
pub(crate) struct Stage {
    zookeeper: Lent<ZooKeeper>,
    namespace: Namespace,
}

impl Stage {
    fn new(zookeeper: Lent<ZooKeeper>) -> Self {
        let namespace = Namespace::new(format!("test-{}", InstanceId::random())).unwrap_or_default();
        Self { zookeeper, namespace }
    }

    pub(crate) fn zookeeper(&self) -> &Arc<ZooKeeper> {
        &self.zookeeper
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn service(&self, name: &str) -> CaseResult<ServiceKey> {
        Ok(ServiceKey::new(name)?.with_namespace(self.namespace.clone()))
    }

    /// What a client of this ZooKeeper is configured with.
    pub(crate) fn config(&self) -> ZooKeeperConfig {
        config(&self.zookeeper)
    }

    pub(crate) fn backend(&self) -> CaseResult<Arc<dyn Backend>> {
        backend(&self.config())
    }

    /// A client whose session is over soon.
    pub(crate) fn short_lived(&self) -> CaseResult<Arc<dyn Backend>> {
        backend(&self.config().with_session_timeout(SHORT.0, SHORT.1))
    }

    pub(crate) async fn raw(&self) -> CaseResult<Raw> {
        Ok(self.zookeeper.raw().await?)
    }

    /// A proxy before the first server.
    pub(crate) fn proxy(&self) -> CaseResult<Proxy> {
        let plain = self.zookeeper.member(0)?.plain();
        let upstream: std::net::SocketAddr =
            plain.parse().map_err(|_| Stop::failed(format!("`{plain}` is no address")))?;
        Ok(Proxy::start(std::net::SocketAddr::new(upstream.ip(), PROXY), upstream)?)
    }

    /// Where `record` stands.
    pub(crate) fn path(&self, record: &Record) -> String {
        instance_path(&self.config().root, record.key())
    }

    pub(crate) fn record(&self, service: &str, id: &str, pair: (u64, u64), ttl: u64) -> CaseResult<Record> {
        let builder = Instance::builder(self.service(service)?).id(id).endpoint("http://127.0.0.1:1");
        Ok(Record::new(builder.pair(Pair::new(pair.0, pair.1)).build()?, Ttl::from_secs(ttl)?))
    }
}

pub(crate) fn backend(config: &ZooKeeperConfig) -> CaseResult<Arc<dyn Backend>> {
    Ok(Arc::new(callsign_zookeeper::ZooKeeper::new(config, "zookeeper")?))
}

/// Waits until a listing is as `accept` wants it.
pub(crate) async fn lists(
    backend: &Arc<dyn Backend>,
    service: &ServiceKey,
    within: Duration,
    what: &str,
    accept: impl Fn(&Listing) -> bool,
) -> CaseResult<Listing> {
    let until = Instant::now() + within;
    loop {
        let listed = backend.list(service, Read::Quorum).await;
        if let Ok(listing) = &listed
            && accept(listing)
        {
            return Ok(listing.clone());
        }
        ensure!(Instant::now() < until, "after {within:?} not {what}: {listed:?}");
        sleep(POLL).await;
    }
}

/// Waits until a watch hands a listing over that is as `accept` wants it.
pub(crate) async fn sees(
    watch: &mut WatchStream,
    within: Duration,
    what: &str,
    accept: impl Fn(&Listing) -> bool,
) -> CaseResult<Listing> {
    let until = Instant::now() + within;
    loop {
        match timeout_at(until, watch.next()).await {
            Ok(Some(Ok(WatchEvent::Listing(listing)))) if accept(&listing) => return Ok(listing),
            Ok(Some(_)) => {}
            Ok(None) => return Err(Stop::failed("the watch ended")),
            Err(_) => return Err(Stop::failed(format!("after {within:?} the watch has not shown {what}"))),
        }
    }
}

/// Waits until `done` succeeds.
pub(crate) async fn becomes<F>(within: Duration, what: &str, done: impl Fn() -> F) -> CaseResult
where
    F: Future<Output = CaseResult<bool>>,
{
    let until = Instant::now() + within;
    while !done().await? {
        ensure!(Instant::now() < until, "after {within:?} not {what}");
        sleep(POLL).await;
    }
    Ok(())
}

pub(crate) fn has(count: usize) -> impl Fn(&Listing) -> bool {
    move |listing| listing.instances.len() == count
}
