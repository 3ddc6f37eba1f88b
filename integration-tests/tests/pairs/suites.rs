//! What every registry promises, and every client over it, holds over both together.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use callsign_core::{
    Authority, Backend, Capabilities, Error, InstanceId, InstanceKey, Namespace, Result, async_trait,
};
use callsign_failover::{Failover, Settings};
use callsign_integration_tests::Lent;
use callsign_integration_tests::etcd::{self, Etcd, NAMESPACES};
use callsign_integration_tests::zookeeper::{self, ZooKeeper};
use callsign_testkit::suite::{BACKEND, CLIENT};
use callsign_testkit::{Guard, Harness, Subject};
use futures::try_join;

use crate::cells::{Pools, etcd_alone, installed, zookeeper_alone};

/// What does not hold for several registries, because of how they are kept alike.
const BY_DESIGN: [(&str, &str); 1] = [(
    "recovery_needs_no_restart",
    "what a member has missed in an outage is made up for with the renewals after it, and the case makes one",
)];

/// An etcd and a ZooKeeper, which get into the same trouble at the same time.
struct Both {
    pools: Pools,
    servers: OnceLock<Result<Servers>>,
}

struct Servers {
    etcd: Lent<Etcd>,
    zookeeper: Lent<ZooKeeper>,
}

pub(crate) fn subject(pools: &Pools) -> Subject {
    let pools = pools.clone();
    let both = move || Both { pools: pools.clone(), servers: OnceLock::new() };
    Subject::fresh("failover-suites", both).without(BY_DESIGN).passes(&BACKEND).passes(&CLIENT)
}

impl Both {
    fn servers(&self) -> Result<&Servers> {
        match self.servers.get() {
            Some(Ok(servers)) => Ok(servers),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::unexpected("nobody has asked whether the servers are available")),
        }
    }

    async fn take(&self) -> Result<Servers> {
        let options = (etcd_alone(), zookeeper_alone());
        let (etcd, zookeeper) =
            try_join!(self.pools.etcd.take(&options.0), self.pools.zookeeper.take(&options.1))?;
        Ok(Servers { etcd, zookeeper })
    }
}

#[async_trait]
impl Harness for Both {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        let servers = self.servers()?;
        let main = callsign_etcd::Etcd::new(&etcd::config(&servers.etcd), "main")?;
        let backup = callsign_zookeeper::ZooKeeper::new(&zookeeper::config(&servers.zookeeper), "backup")?;
        let builder =
            Failover::builder("both").member("main", Arc::new(main)).member("backup", Arc::new(backup));
        // A session that is only beginning takes its time, and a case may ask who has not taken a write.
        let settings = Settings::default().with_fanout_grace(Duration::from_secs(2));
        Ok(Arc::new(builder.settings(settings).build()?))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Authority::Quorum)
    }

    fn expires_apart(&self) -> Duration {
        self.expiry_slack()
    }

    fn renewing_restores(&self) -> bool {
        true
    }

    async fn available(&self) -> Result<(), String> {
        if installed().is_err() {
            return Err("etcd or ZooKeeper is not installed: run `cargo xtask servers fetch`".to_owned());
        }
        if self.servers.get().is_none() {
            // Nobody asks twice at the same time; if somebody did, these would go back.
            let _ = self.servers.set(self.take().await);
        }
        Ok(())
    }

    fn namespace(&self) -> Namespace {
        Namespace::new(format!("{NAMESPACES}{}", InstanceId::random())).unwrap_or_default()
    }

    async fn outage(&self) -> Result<Guard> {
        let servers = self.servers()?;
        let (one, other) = try_join!(servers.etcd.kill_all(), servers.zookeeper.kill_all())?;
        Ok(one.and(other))
    }

    async fn freeze(&self) -> Result<Guard> {
        let servers = self.servers()?;
        let (one, other) = try_join!(servers.etcd.freeze_all(), servers.zookeeper.freeze_all())?;
        Ok(one.and(other))
    }

    async fn wipe(&self) -> Result<()> {
        let servers = self.servers()?;
        try_join!(servers.etcd.wipe(), servers.zookeeper.wipe()).map(drop)
    }

    async fn delete(&self, key: &InstanceKey) -> Result<()> {
        let servers = self.servers()?;
        let main = etcd::EtcdHarness::delete_at(&servers.etcd, key);
        let backup = zookeeper::ZooKeeperHarness::delete_at(&servers.zookeeper, key);
        try_join!(main, backup).map(drop)
    }

    async fn garbage(&self, key: &InstanceKey) -> Result<()> {
        let servers = self.servers()?;
        let main = etcd::EtcdHarness::spoil_at(&servers.etcd, key);
        let backup = zookeeper::ZooKeeperHarness::spoil_at(&servers.zookeeper, key);
        try_join!(main, backup).map(drop)
    }
}
