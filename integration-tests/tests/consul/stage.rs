//! What a case works with: a Consul of its own, names that nobody else uses, and clients of all kinds.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use callsign_client::{Client, RegisterOptions, Registration, ServiceView};
use callsign_consul::{Consul as Backend, ConsulConfig};
use callsign_core::{
    Discovery, Instance, InstanceBuilder, InstanceId, Listing, Namespace, Pair, Read, Record, ServiceKey, Ttl,
};
use callsign_integration_tests::consul::{Consul, Options, config, program};
use callsign_integration_tests::{Lent, Pool};
use callsign_testkit::suite::client::observe::shows;
use callsign_testkit::suite::{CaseResult, Stop};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::ensure;

/// The token of everybody's rights.
pub(crate) const ROOT: &str = "root";
/// How long a change may take to be seen, on a machine that has a lot to do.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// How long a client may take to be itself again after a fault: its longest pause three times over.
pub(crate) const RECOVERY: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);

/// A running Consul in the hands of one case.
#[derive(Debug)]
pub(crate) struct Stage {
    consul: Lent<Consul>,
    namespace: Namespace,
}

/// A process that answers, and its registration.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) registration: Registration,
    _process: TcpListener,
}

impl Stage {
    pub(crate) async fn take(pool: &Pool<Consul>, options: Options) -> CaseResult<Self> {
        program().map_err(Stop::Missing)?;
        let namespace = Namespace::new(format!("test-{}", InstanceId::random()))?;
        Ok(Self { consul: pool.take(&options).await?, namespace })
    }

    /// As [`take`](Self::take), while no other case runs: for what keeps the whole machine busy.
    pub(crate) async fn take_alone(pool: &Pool<Consul>, options: Options) -> CaseResult<Self> {
        program().map_err(Stop::Missing)?;
        let namespace = Namespace::new(format!("test-{}", InstanceId::random()))?;
        Ok(Self { consul: pool.take_alone(&options).await?, namespace })
    }

    pub(crate) fn consul(&self) -> &Arc<Consul> {
        &self.consul
    }

    /// A service that nobody else uses.
    pub(crate) fn service(&self, name: &str) -> CaseResult<ServiceKey> {
        Ok(ServiceKey::new(name)?.with_namespace(self.namespace.clone()))
    }

    pub(crate) fn config(&self) -> CaseResult<ConsulConfig> {
        Ok(config(&self.consul)?)
    }

    pub(crate) fn backend(&self) -> CaseResult<Backend> {
        backend(&self.config()?)
    }

    /// A backend that talks to this agent alone.
    pub(crate) fn backend_at(&self, agent: usize) -> CaseResult<Backend> {
        backend(&ConsulConfig::default().with_address(self.consul.agents()[agent].url()))
    }

    pub(crate) fn client(&self) -> CaseResult<Client> {
        client(self.backend()?)
    }

    /// A process that answers, registered by `client`.
    pub(crate) async fn owner(
        &self,
        client: &Client,
        service: &ServiceKey,
        id: &str,
        ttl: Duration,
    ) -> CaseResult<Owner> {
        let (process, address) = listener()?;
        let instance = Instance::builder(service).id(id).endpoint(format!("http://{address}")).build()?;
        let options = RegisterOptions::new().with_ttl(Ttl::new(ttl)?).required();
        let registration = client.register(instance, options).await?;
        Ok(Owner { registration, _process: process })
    }

    /// A view that has had its first answer.
    pub(crate) async fn view(&self, client: &Client, service: &ServiceKey) -> CaseResult<ServiceView> {
        let view = client.service(service.clone());
        shows(&view, SOON, "a first answer", |snapshot| snapshot.freshness.is_live()).await?;
        Ok(view)
    }

    /// Writes past callsign.
    pub(crate) async fn put(&self, path: &str, body: &Value) -> CaseResult<Value> {
        Ok(self.consul.raw()?.put(path, body).await?)
    }

    /// The secret of a new token with these rules, and its public name.
    pub(crate) async fn token(&self, rules: &str) -> CaseResult<(String, String)> {
        let name = InstanceId::random().to_string();
        self.put("/v1/acl/policy", &json!({"Name": name, "Rules": rules})).await?;
        let made = self.put("/v1/acl/token", &json!({"Policies": [{"Name": name}]})).await?;
        let text = |key: &str| made[key].as_str().map(str::to_owned);
        let made = text("SecretID").zip(text("AccessorID"));
        made.ok_or_else(|| Stop::failed("no token was made"))
    }
}

pub(crate) fn backend(config: &ConsulConfig) -> CaseResult<Backend> {
    Ok(Backend::new(config, "consul")?)
}

pub(crate) fn client(backend: Backend) -> CaseResult<Client> {
    Ok(Client::new(Arc::new(backend))?)
}

/// Somebody who answers, and where.
pub(crate) fn listener() -> CaseResult<(TcpListener, std::net::SocketAddr)> {
    let failed = |error: std::io::Error| Stop::failed(format!("no port for a process: {error}"));
    let process = TcpListener::bind("127.0.0.1:0").map_err(failed)?;
    let address = process.local_addr().map_err(failed)?;
    Ok((process, address))
}

/// An instance that nobody answers for.
pub(crate) fn instance(service: &ServiceKey) -> InstanceBuilder {
    Instance::builder(service).id("one").endpoint("http://127.0.0.1:1")
}

/// Its record, with the pair `1.1`; `ttl` in seconds.
pub(crate) fn record(service: &ServiceKey, ttl: u64) -> CaseResult<Record> {
    Ok(Record::new(instance(service).pair(pair(1)).build()?, Ttl::from_secs(ttl)?))
}

pub(crate) fn pair(seq: u64) -> Pair {
    Pair::new(1, seq)
}

/// The same record, changed.
pub(crate) fn changed(
    record: &Record,
    seq: u64,
    change: impl FnOnce(InstanceBuilder) -> InstanceBuilder,
) -> CaseResult<Record> {
    Ok(Record::new(change(record.instance.to_builder()).pair(pair(seq)).build()?, record.ttl))
}

/// Waits until the service is listed as `accept` wants it.
pub(crate) async fn lists(
    backend: &Backend,
    service: &ServiceKey,
    within: Duration,
    what: &str,
    accept: impl Fn(&Listing) -> bool + Send + Sync,
) -> CaseResult<Listing> {
    let until = Instant::now() + within;
    loop {
        let listing = backend.list(service, Read::Quorum).await?;
        if accept(&listing) {
            return Ok(listing);
        }
        ensure!(Instant::now() < until, "after {within:?} not {what}: {listing:?}");
        sleep(POLL).await;
    }
}

/// Waits until the first instance of the service is as `accept` wants it; `None` where there is none.
pub(crate) async fn becomes(
    backend: &Backend,
    service: &ServiceKey,
    within: Duration,
    what: &str,
    accept: impl Fn(Option<&Instance>) -> bool + Send + Sync,
) -> CaseResult {
    let first = |listing: &Listing| accept(listing.instances.first().map(|instance| &**instance));
    lists(backend, service, within, what, first).await.map(drop)
}

/// Waits until so many instances pass for other software.
pub(crate) async fn others_see(stage: &Stage, service: &ServiceKey, count: usize, when: &str) -> CaseResult {
    let path = format!("/v1/health/service/{}?passing", callsign_consul::service_name(service));
    let until = Instant::now() + SOON;
    loop {
        let seen = stage.consul().raw()?.get(&path).await?;
        if seen.as_array().map(Vec::len) == Some(count) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{when}: others see {seen}");
        sleep(POLL).await;
    }
}

pub(crate) fn is_passing(found: Option<&Instance>) -> bool {
    found.is_some_and(|found| found.health == callsign_core::Health::Passing && found.routable())
}

pub(crate) fn is_critical(found: Option<&Instance>) -> bool {
    found.is_some_and(|found| found.health == callsign_core::Health::Critical && !found.routable())
}
