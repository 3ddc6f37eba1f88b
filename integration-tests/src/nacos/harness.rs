//! How the suites reach a Nacos, and hurt it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use callsign_core::{Authority, Backend, Capabilities, Error, InstanceKey, Read, Result, async_trait};
use callsign_nacos::{METADATA_FOR_USERS, Nacos, NacosConfig};
use callsign_testkit::{Guard, Harness};
use reqwest::Method;

use super::rnacos::program;
use super::{Fake, FakeOptions, PASSWORD, RNacos, RNacosOptions, USER};
use crate::{Lent, Pool};

/// What is no record of callsign's, under its id.
const GARBAGE: &[(&str, &str)] = &[("callsign.pair", "none")];
/// A change is pushed half a second later, on r-nacos up to a second; and a machine may have a lot to do.
const PROPAGATION: Duration = Duration::from_secs(4);

/// What was never pushed is shown after this, and a fifth.
const RECONCILED: Duration = Duration::from_secs(5);

/// What a Nacos can: nobody guards what another connection publishes, and nobody takes it away.
#[must_use]
pub fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::all(Authority::Single);
    (capabilities.compare_and_set, capabilities.removes_others) = (false, false);
    capabilities.max_metadata_bytes = Some(METADATA_FOR_USERS);
    capabilities
}

/// What a client of `fake` is configured with.
#[must_use]
pub fn config_of_fake(fake: &Fake) -> NacosConfig {
    let mut config = NacosConfig::default().with_addresses(fake.urls());
    if let Some(tls) = fake.tls() {
        config = config.with_tls(tls);
    }
    if fake.options().token_ttl.is_some() { config.with_password(USER, PASSWORD) } else { config }
}

/// What a client of `rnacos` is configured with.
#[must_use]
pub fn config_of_rnacos(rnacos: &RNacos) -> NacosConfig {
    let config = NacosConfig::default().with_addresses(rnacos.urls());
    if rnacos.options().token_ttl.is_some() { config.with_password(USER, PASSWORD) } else { config }
}

/// A fake from a pool, for one case.
#[derive(Debug)]
pub struct FakeHarness {
    pool: Pool<Fake>,
    options: FakeOptions,
    fake: OnceLock<Result<Lent<Fake>>>,
}

impl FakeHarness {
    /// Takes a fake that is set up like this from `pool` when a case begins, and gives it back when it has ended.
    #[must_use]
    pub fn new(pool: &Pool<Fake>, options: &FakeOptions) -> Self {
        Self { pool: pool.clone(), options: options.clone(), fake: OnceLock::new() }
    }

    fn fake(&self) -> Result<&Lent<Fake>> {
        taken(&self.fake)
    }
}

#[async_trait]
impl Harness for FakeHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Nacos::new(&config_of_fake(self.fake()?), "nacos")?))
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn propagation(&self) -> Duration {
        PROPAGATION
    }

    fn outage_removes(&self) -> bool {
        true
    }

    fn closing_removes(&self) -> bool {
        true
    }

    fn reconnecting_restores(&self) -> bool {
        true
    }

    async fn available(&self) -> Result<(), String> {
        if self.fake.get().is_none() {
            // Nobody asks twice at the same time; if somebody did, this one would go back.
            let _ = self.fake.set(self.pool.take(&self.options).await);
        }
        Ok(())
    }

    async fn outage(&self) -> Result<Guard> {
        self.fake()?.kill().await
    }

    async fn freeze(&self) -> Result<Guard> {
        Ok(self.fake()?.freeze())
    }

    async fn wipe(&self) -> Result<()> {
        self.fake()?.restart().await
    }

    async fn garbage(&self, key: &InstanceKey) -> Result<()> {
        self.fake()?.tamper(key.id.as_str(), Some(GARBAGE));
        Ok(())
    }

    async fn delete(&self, key: &InstanceKey) -> Result<()> {
        self.fake()?.tamper(key.id.as_str(), None);
        Ok(())
    }
}

/// An r-nacos from a pool, for one case.
#[derive(Debug)]
pub struct RNacosHarness {
    pool: Pool<RNacos>,
    options: RNacosOptions,
    rnacos: OnceLock<Result<Lent<RNacos>>>,
}

impl RNacosHarness {
    /// Takes an r-nacos that is set up like this from `pool` when a case begins, and gives it back when it has ended.
    #[must_use]
    pub fn new(pool: &Pool<RNacos>, options: &RNacosOptions) -> Self {
        Self { pool: pool.clone(), options: options.clone(), rnacos: OnceLock::new() }
    }

    fn rnacos(&self) -> Result<&Lent<RNacos>> {
        taken(&self.rnacos)
    }

    /// What r-nacos knows the instance by: where it listens.
    async fn located(&self, key: &InstanceKey) -> Result<[(&'static str, String); 6]> {
        let listing = self.client().await?.list(&key.service, Read::Any).await?;
        let found = listing.instances.iter().find(|instance| instance.key == *key);
        let endpoint = found
            .map(|instance| instance.endpoints.primary().clone())
            .ok_or_else(|| Error::not_found(format!("{key} is not listed")))?;
        let or = |name: &str, default: &str, instead: &str| {
            if name == default { instead.to_owned() } else { name.to_owned() }
        };
        Ok([
            ("serviceName", callsign_nacos::service_name(&key.service.name)?),
            ("groupName", or(key.service.group.as_str(), "default", "DEFAULT_GROUP")),
            ("namespaceId", or(key.service.namespace.as_str(), "default", "public")),
            ("ip", endpoint.host.to_string()),
            ("port", endpoint.port.to_string()),
            ("ephemeral", "true".to_owned()),
        ])
    }

    async fn call(&self, method: Method, key: &InstanceKey, more: &[(&str, &str)]) -> Result<()> {
        let located = self.located(key).await?;
        let query: Vec<_> =
            located.iter().map(|(key, value)| (*key, value.as_str())).chain(more.iter().copied()).collect();
        self.rnacos()?.call(method, "/ns/instance", &query).await.map(drop)
    }
}

#[async_trait]
impl Harness for RNacosHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        // Row 16: a push that r-nacos loses is not sent again.
        let config = config_of_rnacos(self.rnacos()?).with_reconcile_interval(RECONCILED);
        Ok(Arc::new(Nacos::new(&config, "nacos")?))
    }

    fn capabilities(&self) -> Capabilities {
        capabilities()
    }

    fn propagation(&self) -> Duration {
        PROPAGATION + RECONCILED
    }

    fn outage_removes(&self) -> bool {
        true
    }

    fn closing_removes(&self) -> bool {
        true
    }

    fn reconnecting_restores(&self) -> bool {
        true
    }

    async fn available(&self) -> Result<(), String> {
        program()?;
        if self.rnacos.get().is_none() {
            // Nobody asks twice at the same time; if somebody did, this one would go back.
            let _ = self.rnacos.set(self.pool.take(&self.options).await);
        }
        Ok(())
    }

    async fn outage(&self) -> Result<Guard> {
        self.rnacos()?.kill_all().await
    }

    async fn freeze(&self) -> Result<Guard> {
        self.rnacos()?.freeze_all().await
    }

    async fn wipe(&self) -> Result<()> {
        self.rnacos()?.wipe().await
    }

    async fn garbage(&self, key: &InstanceKey) -> Result<()> {
        let mut metadata = serde_json::Map::new();
        metadata.insert("callsign.id".to_owned(), key.id.as_str().into());
        metadata.extend(GARBAGE.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())));
        let metadata = serde_json::Value::Object(metadata).to_string();
        self.call(Method::POST, key, &[("metadata", &metadata), ("weight", "1"), ("healthy", "true")]).await
    }

    async fn delete(&self, key: &InstanceKey) -> Result<()> {
        self.call(Method::DELETE, key, &[]).await
    }
}

fn taken<S: crate::Pooled>(slot: &OnceLock<Result<Lent<S>>>) -> Result<&Lent<S>> {
    match slot.get() {
        Some(Ok(server)) => Ok(server),
        Some(Err(error)) => Err(error.clone()),
        None => Err(Error::unexpected("nobody has asked whether nacos is available")),
    }
}
