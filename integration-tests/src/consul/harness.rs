//! How the suites reach a Consul, and hurt it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use callsign_consul::ConsulConfig;
use callsign_core::{Authority, Backend, Capabilities, Error, InstanceKey, Result, Ttl, async_trait};
use callsign_testkit::{Guard, Harness};
use serde_json::{Value, json};

use super::options::program;
use super::{Consul, Kind, Options};
use crate::{Lent, Pool};

/// A Consul from a pool, for one case.
#[derive(Debug)]
pub struct ConsulHarness {
    pool: Pool<Consul>,
    options: Options,
    /// What became of the start: a Consul that is installed and does not start is a failure, not a reason to ignore a
    /// case.
    consul: OnceLock<Result<Lent<Consul>>>,
}

impl ConsulHarness {
    /// Takes a Consul that is set up like this from `pool` when a case begins, and gives it back when it has ended.
    #[must_use]
    pub fn new(pool: &Pool<Consul>, options: &Options) -> Self {
        Self { pool: pool.clone(), options: options.clone(), consul: OnceLock::new() }
    }

    fn consul(&self) -> Result<&Lent<Consul>> {
        match self.consul.get() {
            Some(Ok(consul)) => Ok(consul),
            Some(Err(error)) => Err(error.clone()),
            None => Err(Error::unexpected("nobody has asked whether consul is available")),
        }
    }
}

/// What a client of `consul` is configured with.
///
/// # Errors
/// `Unexpected`: there always is an agent.
pub fn config(consul: &Consul) -> Result<ConsulConfig> {
    let mut config = ConsulConfig::default().with_address(consul.home()?.url());
    if let Some(tls) = consul.tls() {
        config = config.with_tls(tls);
    }
    Ok(match &consul.options().management {
        Some(token) => config.with_token(token.as_str()),
        None => config,
    })
}

#[async_trait]
impl Harness for ConsulHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(callsign_consul::Consul::new(&config(self.consul()?)?, "consul")?))
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::all(Authority::Quorum);
        capabilities.compare_and_set = false;
        capabilities.max_metadata_bytes = Some(8192);
        capabilities
    }

    // A client agent takes one write after the other, each as long as three servers need.
    fn shortest_ttl(&self) -> Ttl {
        let seconds = if self.options.kind == Kind::Cluster { 4 } else { 2 };
        Ttl::from_secs(seconds).unwrap_or_default()
    }

    // An agent that could not tell its servers something tries again after 15 s to 30 s; until then nobody hears that a ttl
    // has ended.
    fn expiry_slack(&self) -> Duration {
        Duration::from_secs(if self.options.kind == Kind::Cluster { 35 } else { 2 })
    }

    // Critical, and removed after five minutes.
    fn lists_expired(&self) -> bool {
        true
    }

    // A leader removes nodes that it has not met yet after a restart of them all.
    fn outage_removes(&self) -> bool {
        self.options.kind == Kind::Cluster
    }

    async fn available(&self) -> Result<(), String> {
        program()?;
        if self.consul.get().is_none() {
            // Nobody asks twice at the same time; if somebody did, this one would go back.
            let _ = self.consul.set(self.pool.take(&self.options).await);
        }
        Ok(())
    }

    async fn outage(&self) -> Result<Guard> {
        self.consul()?.kill_all().await
    }

    async fn freeze(&self) -> Result<Guard> {
        self.consul()?.freeze_all().await
    }

    async fn wipe(&self) -> Result<()> {
        self.consul()?.wipe().await
    }

    async fn garbage(&self, key: &InstanceKey) -> Result<()> {
        let broken = json!({
            "ID": callsign_consul::instance_id(key),
            "Name": callsign_consul::service_name(&key.service),
            "Port": 1,
            "Meta": {"callsign-pair": "none"},
        });
        self.consul()?.raw()?.put("/v1/agent/service/register", &broken).await.map(drop)
    }

    async fn delete(&self, key: &InstanceKey) -> Result<()> {
        let id = callsign_consul::instance_id(key).replace('%', "%25");
        let path = format!("/v1/agent/service/deregister/{id}");
        self.consul()?.raw()?.put(&path, &Value::Null).await.map(drop)
    }
}
