//! The registries in which rounds take place.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callsign_consul::ConsulConfig;
use callsign_core::{Backend, Error, Result, async_trait};
use callsign_etcd::EtcdConfig;
use callsign_testkit::Guard;

use crate::consul::{Agent, Consul, Kind};
use crate::etcd::{Etcd, PREFIX};

/// What can be hurt, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// How many processes it has.
    pub(super) members: usize,
    /// How many of its addresses clients talk to.
    pub(super) doors: usize,
    /// Whether one member can be cut off from the others.
    pub(super) isolates: bool,
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
}

impl Promises {
    /// Where everything is told at once, and where it may be told later by `slack`.
    fn of(ttl: u64, slack: u64) -> Self {
        let seconds = |more: u64| Duration::from_secs(ttl + more + slack);
        Self { ttl: Duration::from_secs(ttl), settled: seconds(10), gone: seconds(2) }
    }
}

/// A registry that can be hurt. Members are counted from 0.
#[async_trait]
pub(super) trait Hurtable: Debug + Send + Sync {
    fn shape(&self) -> Shape;
    fn promises(&self) -> Promises;
    /// Where clients connect to.
    fn doors(&self) -> Result<Vec<SocketAddr>>;
    /// A client of its own, through these doors.
    fn client(&self, doors: &[SocketAddr]) -> Result<Arc<dyn Backend>>;
    async fn kill(&self, members: &[usize]) -> Result<Guard>;
    async fn freeze(&self, members: &[usize]) -> Result<Guard>;
    async fn isolate(&self, member: usize) -> Result<Guard>;
    async fn wipe(&self) -> Result<()>;
}

/// A registry in which rounds take place: an [`Etcd`] or a [`Consul`].
#[derive(Debug, Clone)]
pub struct Ground(pub(super) Arc<dyn Hurtable>);

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

#[async_trait]
impl Hurtable for Arc<Etcd> {
    fn shape(&self) -> Shape {
        let members = self.members().len();
        Shape { members, doors: members, isolates: members > 1 }
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

    async fn wipe(&self) -> Result<()> {
        Etcd::wipe(self).await
    }
}

#[async_trait]
impl Hurtable for Arc<Consul> {
    fn shape(&self) -> Shape {
        Shape { members: self.agents().len(), doors: 1, isolates: false }
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

    async fn wipe(&self) -> Result<()> {
        Consul::wipe(self).await
    }
}

fn address(url: &str) -> Result<SocketAddr> {
    let address = url.strip_prefix("http://").and_then(|address| address.parse().ok());
    address.ok_or_else(|| Error::unexpected(format!("`{url}` is no plain address")))
}

fn urls(doors: &[SocketAddr]) -> Vec<String> {
    doors.iter().map(|door| format!("http://{door}")).collect()
}
