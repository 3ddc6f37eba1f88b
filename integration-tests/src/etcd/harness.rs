//! How the suites reach an etcd, and hurt it.

use std::sync::{Arc, OnceLock};

use callsign_core::{
    Authority, Backend, Capabilities, Error, InstanceId, InstanceKey, Namespace, Result, async_trait,
};
use callsign_etcd::EtcdConfig;
use callsign_testkit::{Guard, Harness};

use super::raw::failed;
use super::{Etcd, NAMESPACES, Options, PREFIX};
use crate::{Lent, Pool};

/// What is no record, whatever the version of the format.
const GARBAGE: &str = "{\"v\": not a record";

/// An etcd from a pool, for one case.
#[derive(Debug)]
pub struct EtcdHarness {
    pool: Pool<Etcd>,
    options: Options,
    /// What became of the start: an etcd that is installed and does not start is a failure, not a reason to ignore
    /// a case.
    etcd: OnceLock<Result<Lent<Etcd>>>,
}

impl EtcdHarness {
    /// Takes an etcd that is set up like this from `pool` when a case begins, and gives it back when it has ended.
    #[must_use]
    pub fn new(pool: &Pool<Etcd>, options: &Options) -> Self {
        Self { pool: pool.clone(), options: options.clone(), etcd: OnceLock::new() }
    }

    /// Makes the record of `key` undecodable, past every backend.
    ///
    /// # Errors
    /// What etcd says against it.
    pub async fn spoil_at(etcd: &Etcd, key: &InstanceKey) -> Result<()> {
        let mut client = etcd.raw().await?;
        let put = client.put(callsign_etcd::instance_key(PREFIX, key), GARBAGE, None).await;
        put.map(drop).map_err(|error| failed("put", &error))
    }

    /// Deletes the record of `key`, past every backend.
    ///
    /// # Errors
    /// What etcd says against it.
    pub async fn delete_at(etcd: &Etcd, key: &InstanceKey) -> Result<()> {
        let mut client = etcd.raw().await?;
        let delete = client.delete(callsign_etcd::instance_key(PREFIX, key), None).await;
        delete.map(drop).map_err(|error| failed("delete", &error))
    }

    fn etcd(&self) -> Result<&Lent<Etcd>> {
        match self.etcd.get() {
            Some(Ok(etcd)) => Ok(etcd),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::unexpected("nobody has asked whether etcd is available")),
        }
    }
}

/// What a client of `etcd` is configured with: the tenant's login, where there is one.
#[must_use]
pub fn config(etcd: &Etcd) -> EtcdConfig {
    let mut config = EtcdConfig::default().with_endpoints(etcd.endpoints()).with_prefix(PREFIX);
    if let Some(login) = etcd.tenant() {
        config = config.with_password(login.user.as_str(), login.password.as_str());
    }
    match etcd.tls() {
        Some(tls) => config.with_tls(tls),
        None => config,
    }
}

#[async_trait]
impl Harness for EtcdHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(callsign_etcd::Etcd::new(&config(self.etcd()?), "etcd")?))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Authority::Quorum)
    }

    async fn available(&self) -> Result<(), String> {
        self.options.version.program()?;
        if self.etcd.get().is_none() {
            // Nobody asks twice at the same time; if somebody did, this one would go back.
            let _ = self.etcd.set(self.pool.take(&self.options).await);
        }
        Ok(())
    }

    fn namespace(&self) -> Namespace {
        Namespace::new(format!("{NAMESPACES}{}", InstanceId::random())).unwrap_or_default()
    }

    async fn outage(&self) -> Result<Guard> {
        self.etcd()?.kill_all().await
    }

    async fn freeze(&self) -> Result<Guard> {
        self.etcd()?.freeze_all().await
    }

    async fn wipe(&self) -> Result<()> {
        self.etcd()?.wipe().await
    }

    async fn garbage(&self, key: &InstanceKey) -> Result<()> {
        Self::spoil_at(self.etcd()?, key).await
    }

    async fn delete(&self, key: &InstanceKey) -> Result<()> {
        Self::delete_at(self.etcd()?, key).await
    }
}
