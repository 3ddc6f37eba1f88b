//! The registries in which rounds take place.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callsign_consul::ConsulConfig;
use callsign_core::{Backend, Error, Result, async_trait};
use callsign_etcd::EtcdConfig;
use callsign_nacos::NacosConfig;
use callsign_testkit::Guard;

use crate::consul::{Agent, Consul, Kind};
use crate::etcd::{Etcd, PREFIX};
use crate::nacos::{Fake, RNacos, config_of_fake, config_of_rnacos};
use crate::zookeeper::{self, ZooKeeper};

/// What can be hurt, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How many processes it has.
    pub(crate) members: usize,
    /// How many of them, from the first on, are the preferred registry; all, where there is one.
    pub(crate) preferred: usize,
    /// How many of its addresses clients talk to.
    pub(crate) doors: usize,
    /// Whether one member can be cut off from the others.
    pub(crate) isolates: bool,
    /// Whether owners may lose their way while views keep theirs, and the other way round.
    pub(crate) one_sided: bool,
}

impl Shape {
    pub(crate) const fn of(members: usize, doors: usize) -> Self {
        Self { members, preferred: members, doors, isolates: false, one_sided: true }
    }

    /// Every member.
    pub(crate) fn all(self) -> Vec<usize> {
        (0..self.members).collect()
    }
}

/// What is owed, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Promises {
    /// The ttl of every registration.
    pub ttl: Duration,
    /// How long after a fault has healed all views must be right.
    pub settled: Duration,
    /// How long after its process has died an instance may get traffic.
    pub gone: Duration,
    /// How long whom a view has dropped may be seen again after it has left.
    pub returns: Duration,
}

impl Promises {
    /// Where everything is told at once, and where it may be told later by `slack`.
    fn of(ttl: u64, slack: u64) -> Self {
        let seconds = |more: u64| Duration::from_secs(ttl + more + slack);
        Self {
            ttl: Duration::from_secs(ttl),
            settled: seconds(10),
            gone: seconds(2),
            returns: Duration::ZERO,
        }
    }
}

/// A registry that can be hurt. Members are counted from 0.
#[async_trait]
pub(crate) trait Hurtable: Debug + Send + Sync {
    fn shape(&self) -> Shape;
    fn promises(&self) -> Promises;
    /// Where clients connect to.
    fn doors(&self) -> Result<Vec<SocketAddr>>;
    /// A client of its own, through these doors.
    fn client(&self, doors: &[SocketAddr]) -> Result<Arc<dyn Backend>>;
    async fn kill(&self, members: &[usize]) -> Result<Guard>;
    async fn freeze(&self, members: &[usize]) -> Result<Guard>;
    async fn isolate(&self, member: usize) -> Result<Guard>;
    /// Whether clients are served by nobody while another leader is looked for, and learn no more than that.
    fn is_silent_between_leaders(&self) -> bool {
        false
    }
    /// Restarts one member in peace, and waits until it serves.
    async fn restart(&self, member: usize) -> Result<()> {
        self.kill(&[member]).await?.heal().await
    }
    /// Starts these members, or all that share their data, without it.
    async fn wipe(&self, members: &[usize]) -> Result<()>;
    /// The leases that records stand on, where the registry tells of them and clients begin none without need.
    async fn leases(&self) -> Result<Option<BTreeSet<String>>> {
        Ok(None)
    }
}

/// A registry in which rounds take place: an [`Etcd`], a [`Consul`], a [`ZooKeeper`], an [`RNacos`] or a [`Fake`] of
/// Nacos.
#[derive(Debug, Clone)]
pub struct Ground(pub(crate) Arc<dyn Hurtable>);

impl Ground {
    /// What is owed here.
    #[must_use]
    pub fn promises(&self) -> Promises {
        self.0.promises()
    }
}

impl From<Arc<Etcd>> for Ground {
    fn from(etcd: Arc<Etcd>) -> Self {
        Self(Arc::new(etcd))
    }
}

impl From<Arc<Consul>> for Ground {
    fn from(consul: Arc<Consul>) -> Self {
        Self(Arc::new(consul))
    }
}

impl From<Arc<ZooKeeper>> for Ground {
    fn from(zookeeper: Arc<ZooKeeper>) -> Self {
        Self(Arc::new(zookeeper))
    }
}

impl From<Arc<RNacos>> for Ground {
    fn from(rnacos: Arc<RNacos>) -> Self {
        Self(Arc::new(rnacos))
    }
}

impl From<Arc<Fake>> for Ground {
    fn from(fake: Arc<Fake>) -> Self {
        Self(Arc::new(fake))
    }
}

#[async_trait]
impl Hurtable for Arc<Etcd> {
    fn shape(&self) -> Shape {
        let members = self.members().len();
        Shape { isolates: members > 1, ..Shape::of(members, members) }
    }

    fn promises(&self) -> Promises {
        Promises::of(3, 0)
    }

    fn doors(&self) -> Result<Vec<SocketAddr>> {
        self.members().iter().map(|member| address(member.direct())).collect()
    }

    fn client(&self, doors: &[SocketAddr]) -> Result<Arc<dyn Backend>> {
        let config = EtcdConfig::default().with_endpoints(urls(doors)).with_prefix(PREFIX);
        Ok(Arc::new(callsign_etcd::Etcd::new(&config, "etcd")?))
    }

    async fn kill(&self, members: &[usize]) -> Result<Guard> {
        Etcd::kill(self, members.iter().copied()).await
    }

    async fn freeze(&self, members: &[usize]) -> Result<Guard> {
        Etcd::freeze(self, members.iter().copied()).await
    }

    async fn isolate(&self, member: usize) -> Result<Guard> {
        Etcd::isolate(self, member).await
    }

    async fn restart(&self, member: usize) -> Result<()> {
        self.member(member)?.server().terminate().await?;
        self.kill([]).await?.heal().await
    }

    async fn wipe(&self, _: &[usize]) -> Result<()> {
        Etcd::wipe(self).await
    }
}

#[async_trait]
impl Hurtable for Arc<Consul> {
    fn shape(&self) -> Shape {
        Shape::of(self.agents().len(), 1)
    }

    // A client agent takes one write after the other; and one that could not tell its servers of something tries again
    // after 15 s and a little.
    fn promises(&self) -> Promises {
        if self.options().kind == Kind::Cluster { Promises::of(4, 20) } else { Promises::of(3, 0) }
    }

    fn doors(&self) -> Result<Vec<SocketAddr>> {
        self.home().map(Agent::url).and_then(address).map(|door| vec![door])
    }

    fn client(&self, doors: &[SocketAddr]) -> Result<Arc<dyn Backend>> {
        let config = ConsulConfig::default().with_addresses(urls(doors));
        Ok(Arc::new(callsign_consul::Consul::new(&config, "consul")?))
    }

    async fn kill(&self, members: &[usize]) -> Result<Guard> {
        Consul::kill(self, members.iter().copied()).await
    }

    async fn freeze(&self, members: &[usize]) -> Result<Guard> {
        Consul::freeze(self, members.iter().copied()).await
    }

    async fn isolate(&self, _: usize) -> Result<Guard> {
        Err(Error::unsupported("nobody stands between the agents of a consul"))
    }

    async fn wipe(&self, _: &[usize]) -> Result<()> {
        Consul::wipe(self).await
    }
}

/// The session of owners and views, and how long a server may be silent: who dies is gone when his session has expired.
/// A server that starts again counts a session from then on, and on a busy machine serves only seconds later.
const SESSION: (Duration, Duration) = (Duration::from_secs(5), Duration::from_millis(1_200));

#[async_trait]
impl Hurtable for Arc<ZooKeeper> {
    fn shape(&self) -> Shape {
        let members = self.members().len();
        Shape::of(members, members)
    }

    fn promises(&self) -> Promises {
        let after = |more| SESSION.0 + Duration::from_secs(more);
        Promises { ttl: SESSION.0, settled: after(5), gone: after(2), returns: Duration::ZERO }
    }

    fn doors(&self) -> Result<Vec<SocketAddr>> {
        self.members().iter().map(|member| plain(member.plain())).collect()
    }

    fn client(&self, doors: &[SocketAddr]) -> Result<Arc<dyn Backend>> {
        let servers = doors.iter().map(ToString::to_string);
        let config = zookeeper::config(self).with_servers(servers).with_session_timeout(SESSION.0, SESSION.1);
        Ok(Arc::new(callsign_zookeeper::ZooKeeper::new(&config, "zookeeper")?))
    }

    async fn kill(&self, members: &[usize]) -> Result<Guard> {
        ZooKeeper::kill(self, members.iter().copied()).await
    }

    async fn freeze(&self, members: &[usize]) -> Result<Guard> {
        ZooKeeper::freeze(self, members.iter().copied()).await
    }

    /// The servers that are left hang up on everybody, for half a second or more.
    fn is_silent_between_leaders(&self) -> bool {
        self.members().len() > 1
    }

    async fn restart(&self, member: usize) -> Result<()> {
        self.member(member)?.server().terminate().await?;
        self.kill([]).await?.heal().await
    }

    async fn isolate(&self, _: usize) -> Result<Guard> {
        Err(Error::unsupported("nobody stands between the servers of a zookeeper"))
    }

    async fn wipe(&self, _: &[usize]) -> Result<()> {
        ZooKeeper::wipe(self).await
    }

    async fn leases(&self) -> Result<Option<BTreeSet<String>>> {
        self.owners().await.map(Some)
    }
}

/// What lives by its connection is gone as soon as that is; who is frozen or cut off is missed after some 20 s.
fn by_connection() -> Promises {
    let [ttl, settled, gone] = [3, 15, 5].map(Duration::from_secs);
    Promises { ttl, settled, gone, returns: Duration::ZERO }
}

/// Clients talk to both ports of a server, and the ways to it are to one.
fn grpc_alone(doors: &[SocketAddr], config: NacosConfig) -> Result<Arc<dyn Backend>> {
    let config = config.with_addresses(urls(doors));
    let port = doors.first().map_or(0, SocketAddr::port);
    Ok(Arc::new(callsign_nacos::Nacos::new(&config.with_grpc_port(port), "nacos")?))
}

#[async_trait]
impl Hurtable for Arc<RNacos> {
    fn shape(&self) -> Shape {
        let members = self.grpc().len();
        Shape::of(members, members)
    }

    fn promises(&self) -> Promises {
        by_connection()
    }

    fn doors(&self) -> Result<Vec<SocketAddr>> {
        Ok(self.grpc())
    }

    fn client(&self, doors: &[SocketAddr]) -> Result<Arc<dyn Backend>> {
        grpc_alone(doors, config_of_rnacos(self))
    }

    async fn kill(&self, members: &[usize]) -> Result<Guard> {
        RNacos::kill(self, members.iter().copied()).await
    }

    async fn freeze(&self, members: &[usize]) -> Result<Guard> {
        RNacos::freeze(self, members.iter().copied()).await
    }

    async fn isolate(&self, _: usize) -> Result<Guard> {
        Err(Error::unsupported("nobody stands between the servers of an r-nacos"))
    }

    async fn wipe(&self, _: &[usize]) -> Result<()> {
        RNacos::wipe(self).await
    }
}

#[async_trait]
impl Hurtable for Arc<Fake> {
    fn shape(&self) -> Shape {
        Shape::of(1, 1)
    }

    fn promises(&self) -> Promises {
        by_connection()
    }

    fn doors(&self) -> Result<Vec<SocketAddr>> {
        self.grpc(0).map(|door| vec![door]).ok_or_else(|| Error::unexpected("a fake without a server"))
    }

    fn client(&self, doors: &[SocketAddr]) -> Result<Arc<dyn Backend>> {
        grpc_alone(doors, config_of_fake(self))
    }

    async fn kill(&self, _: &[usize]) -> Result<Guard> {
        Fake::kill(self).await
    }

    async fn freeze(&self, _: &[usize]) -> Result<Guard> {
        Ok(Fake::freeze(self))
    }

    async fn isolate(&self, _: usize) -> Result<Guard> {
        Err(Error::unsupported("a fake is alone"))
    }

    async fn wipe(&self, _: &[usize]) -> Result<()> {
        Fake::restart(self).await
    }
}

fn address(url: &str) -> Result<SocketAddr> {
    plain(url.strip_prefix("http://").unwrap_or(url))
}

fn plain(address: &str) -> Result<SocketAddr> {
    address.parse().map_err(|_| Error::unexpected(format!("`{address}` is no plain address")))
}

fn urls(doors: &[SocketAddr]) -> Vec<String> {
    doors.iter().map(|door| format!("http://{door}")).collect()
}
