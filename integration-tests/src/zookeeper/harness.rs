//! How the suites reach a ZooKeeper, and hurt it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use callsign_core::{Authority, Backend, Capabilities, Error, InstanceKey, Result, async_trait};
use callsign_testkit::{Guard, Harness};
use callsign_zookeeper::{Acl, Login, ZooKeeperConfig, instance_path};

use super::options::{PASSWORD, USER};
use super::{Options, ZooKeeper};
use crate::{Lent, Pool};

/// The session of a client in tests, and how long a server may be silent.
pub const SESSION: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(4));

/// What is no record, whatever the version of the format.
const GARBAGE: &[u8] = b"{\"v\": not a record";

/// A ZooKeeper from a pool, for one case.
#[derive(Debug)]
pub struct ZooKeeperHarness {
    pool: Pool<ZooKeeper>,
    options: Options,
    acl: Acl,
    /// What became of the start: a ZooKeeper that is installed and does not start is a failure, not a reason to ignore a
    /// case.
    zookeeper: OnceLock<Result<Lent<ZooKeeper>>>,
}

impl ZooKeeperHarness {
    /// Takes a ZooKeeper that is set up like this from `pool` when a case begins, and gives it back when it has ended.
    #[must_use]
    pub fn new(pool: &Pool<ZooKeeper>, options: &Options, acl: Acl) -> Self {
        Self { pool: pool.clone(), options: options.clone(), acl, zookeeper: OnceLock::new() }
    }

    fn zookeeper(&self) -> Result<&Lent<ZooKeeper>> {
        match self.zookeeper.get() {
            Some(Ok(zookeeper)) => Ok(zookeeper),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::unexpected("nobody has asked whether zookeeper is available")),
        }
    }

    /// Makes the record of `key` undecodable, past every backend.
    ///
    /// # Errors
    /// What ZooKeeper says against it.
    pub async fn spoil_at(zookeeper: &ZooKeeper, key: &InstanceKey) -> Result<()> {
        zookeeper.raw().await?.write(&path(zookeeper, key), GARBAGE).await
    }

    /// Deletes the record of `key`, past every backend.
    ///
    /// # Errors
    /// What ZooKeeper says against it.
    pub async fn delete_at(zookeeper: &ZooKeeper, key: &InstanceKey) -> Result<()> {
        zookeeper.raw().await?.delete(&path(zookeeper, key)).await
    }
}

/// Where the record of `key` stands.
fn path(zookeeper: &ZooKeeper, key: &InstanceKey) -> String {
    instance_path(&config(zookeeper).root, key)
}

/// What a client of `zookeeper` is configured with.
#[must_use]
pub fn config(zookeeper: &ZooKeeper) -> ZooKeeperConfig {
    let mut config = ZooKeeperConfig::default()
        .with_servers(zookeeper.endpoints())
        .with_session_timeout(SESSION.0, SESSION.1);
    if let Some(tls) = zookeeper.tls() {
        config = config.with_tls(tls);
    }
    if zookeeper.options().sasl {
        config = config.with_password(USER, PASSWORD).with_login(Login::Sasl);
    }
    config
}

#[async_trait]
impl Harness for ZooKeeperHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        let mut config = config(self.zookeeper()?).with_acl(self.acl);
        if self.acl != Acl::Open && config.username.is_none() {
            config = config.with_password(USER, PASSWORD);
        }
        Ok(Arc::new(callsign_zookeeper::ZooKeeper::new(&config, "zookeeper")?))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Authority::Quorum)
    }

    fn closing_removes(&self) -> bool {
        true
    }

    async fn available(&self) -> Result<(), String> {
        self.options.version.jar()?;
        if self.zookeeper.get().is_none() {
            // Nobody asks twice at the same time; if somebody did, this one would go back.
            let _ = self.zookeeper.set(self.pool.take(&self.options).await);
        }
        Ok(())
    }

    async fn outage(&self) -> Result<Guard> {
        self.zookeeper()?.kill_all().await
    }

    async fn freeze(&self) -> Result<Guard> {
        self.zookeeper()?.freeze_all().await
    }

    async fn wipe(&self) -> Result<()> {
        self.zookeeper()?.wipe().await
    }

    async fn garbage(&self, key: &InstanceKey) -> Result<()> {
        Self::spoil_at(self.zookeeper()?, key).await
    }

    async fn delete(&self, key: &InstanceKey) -> Result<()> {
        Self::delete_at(self.zookeeper()?, key).await
    }
}
