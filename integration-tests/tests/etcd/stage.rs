//! What a case works with: an etcd of its own, names that nobody else uses, and clients of all kinds.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use callsign_client::{Client, RegisterOptions, Registration, ServiceView};
use callsign_core::{
    Backend, Instance, InstanceBuilder, InstanceId, Namespace, Pair, Record, ServiceKey, Ttl,
};
use callsign_etcd::EtcdConfig;
use callsign_integration_tests::Lent;
use callsign_integration_tests::etcd::{Etcd, Member, NAMESPACES, config};
use callsign_testkit::suite::client::observe::{shows, states, told};
use callsign_testkit::suite::{CaseResult, Stop};
use futures::stream::BoxStream;
use tokio::time::{Instant, sleep};

use crate::ensure;
use crate::raw::Raw;

/// How long a change may take to be seen, on a machine that has a lot to do.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// How long a client may take to be itself again after a fault: its longest pause three times over.
pub(crate) const RECOVERY: Duration = Duration::from_secs(15);
/// How long a call may take in any trouble: to get a connection, and to be answered, of 3 s each; then another member may
/// be asked.
pub(crate) const CALL: Duration = Duration::from_secs(8);
/// When a registry that says nothing has to be noticed.
pub(crate) const NOTICED: Duration = Duration::from_secs(9);
/// What is added to a bound that was promised for a machine with nothing else to do.
pub(crate) const SLACK: Duration = Duration::from_secs(2);

/// A running etcd in the hands of one case.
#[derive(Debug)]
pub(crate) struct Stage {
    etcd: Lent<Etcd>,
    namespace: Namespace,
}

/// A process that answers, and its registration.
#[derive(Debug)]
pub(crate) struct Owner {
    pub(crate) registration: Registration,
    _process: TcpListener,
}

impl Stage {
    pub(crate) fn new(etcd: Lent<Etcd>) -> Self {
        let namespace = Namespace::new(format!("{NAMESPACES}{}", InstanceId::random())).unwrap_or_default();
        Self { etcd, namespace }
    }

    pub(crate) fn etcd(&self) -> &Arc<Etcd> {
        &self.etcd
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(crate) fn service(&self, name: &str) -> CaseResult<ServiceKey> {
        Ok(ServiceKey::new(name)?.with_namespace(self.namespace.clone()))
    }

    /// What a client of this etcd is configured with.
    pub(crate) fn config(&self) -> EtcdConfig {
        config(&self.etcd)
    }

    /// The same past the proxies.
    pub(crate) fn direct_config(&self) -> EtcdConfig {
        self.config().with_endpoints(self.etcd.members().iter().map(Member::direct))
    }

    pub(crate) fn backend(&self) -> CaseResult<Arc<dyn Backend>> {
        backend(&self.config())
    }

    pub(crate) fn client(&self) -> CaseResult<Client> {
        client(&self.config())
    }

    /// A client past the proxies.
    pub(crate) fn direct_client(&self) -> CaseResult<Client> {
        client(&self.direct_config())
    }

    /// A client of all members but one, past the proxies.
    pub(crate) fn client_past(&self, member: usize) -> CaseResult<Client> {
        let members = self.etcd.members().iter().enumerate().filter(|(number, _)| *number != member);
        client(&self.config().with_endpoints(members.map(|(_, member)| member.direct())))
    }

    /// The member that the one client of this etcd talks to: the only one whose proxy has a connection.
    pub(crate) async fn pinned(&self) -> CaseResult<usize> {
        let until = Instant::now() + SOON;
        loop {
            let live: Vec<usize> = self
                .etcd
                .members()
                .iter()
                .map(|member| member.clients().map_or(0, |proxy| proxy.counts().live))
                .collect();
            let used: Vec<usize> = (0..live.len()).filter(|number| live[*number] > 0).collect();
            if let [pinned] = used[..] {
                return Ok(pinned);
            }
            ensure!(Instant::now() < until, "the client talks to several members: {live:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// The plain client, past backend and proxies.
    pub(crate) async fn raw(&self) -> CaseResult<Raw> {
        Ok(Raw::new(Box::pin(self.etcd.raw()).await?))
    }

    /// A process that answers, registered by `client`.
    pub(crate) async fn owner(
        &self,
        client: &Client,
        service: &ServiceKey,
        id: &str,
        ttl: Duration,
    ) -> CaseResult<Owner> {
        let no_port = |error| Stop::failed(format!("no port for a process: {error}"));
        let process = TcpListener::bind("127.0.0.1:0").map_err(no_port)?;
        let address = process.local_addr().map_err(no_port)?;
        let instance = Instance::builder(service).id(id).endpoint(format!("http://{address}")).build()?;
        let registration = client.register(instance, options(ttl)?.required()).await?;
        Ok(Owner { registration, _process: process })
    }

    /// A view that has had its first answer.
    pub(crate) async fn view(&self, client: &Client, service: &ServiceKey) -> CaseResult<ServiceView> {
        let view = client.service(service.clone());
        shows(&view, SOON, "a first answer", |snapshot| snapshot.freshness.is_live()).await?;
        Ok(view)
    }
}

pub(crate) fn options(ttl: Duration) -> CaseResult<RegisterOptions> {
    Ok(RegisterOptions::new().with_ttl(Ttl::new(ttl)?))
}

pub(crate) fn backend(config: &EtcdConfig) -> CaseResult<Arc<dyn Backend>> {
    Ok(Arc::new(callsign_etcd::Etcd::new(config, "etcd")?))
}

pub(crate) fn client(config: &EtcdConfig) -> CaseResult<Client> {
    Ok(Client::new(backend(config)?)?)
}

/// What a client tells of.
pub(crate) type ClientEvents = BoxStream<'static, Arc<callsign_client::ClientEvent>>;

/// Fails when a registration was lost or refused.
pub(crate) fn nothing_was_lost(events: &mut ClientEvents) -> CaseResult {
    let states = states(&told(events));
    let lost = states.iter().any(|state| matches!(*state, "lost" | "rejected"));
    ensure!(!lost, "a registration was lost: {states:?}");
    Ok(())
}

/// An instance that nobody answers for.
pub(crate) fn instance(service: &ServiceKey, id: &str) -> InstanceBuilder {
    Instance::builder(service).id(id).endpoint("http://127.0.0.1:1")
}

/// Its record, with the pair `1.seq`.
pub(crate) fn record(service: &ServiceKey, id: &str, seq: u64, ttl: Duration) -> CaseResult<Record> {
    Ok(Record::new(instance(service, id).pair(Pair::new(1, seq)).build()?, Ttl::new(ttl)?))
}
