//! A Consul as a whole: starting it, reaching it, and looking at it.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::task::Spawner;
use callsign_core::{Error, Result, async_trait};
use futures::future::try_join_all;
use tempfile::TempDir;

use super::keys::Keys;
use super::{Agent, Kind, Options, Raw};
use crate::folder::temporary;
use crate::{Address, Pooled};

/// How long a start may take, on a machine that has a lot to do.
const START: Duration = Duration::from_secs(60);

/// A running Consul. Dropping it ends all of it.
#[derive(Debug)]
pub struct Consul {
    options: Options,
    // Before the folder: what writes into it ends first.
    agents: Vec<Agent>,
    keys: Option<Keys>,
    _folder: TempDir,
}

impl Consul {
    /// Starts a Consul, and waits until all agents serve.
    ///
    /// # Errors
    /// `Unsupported` when the program is not installed, with what to do; `Unavailable` when it does not serve, with
    /// the end of its log.
    pub async fn start(options: Options) -> Result<Arc<Self>> {
        let consul = Spawner::current()?.blocking(|| Self::prepare(options)).await??;
        consul.start_all()?;
        consul.serves().await?;
        Ok(Arc::new(consul))
    }

    fn prepare(options: Options) -> Result<Self> {
        let folder = temporary("consul")?;
        let count = if options.kind == Kind::Cluster { 4 } else { 1 };
        let addresses: Vec<Address> =
            std::iter::repeat_with(Address::reserve).take(count).collect::<Result<_>>()?;
        let ips: Vec<_> = addresses.iter().map(Address::ip).collect();
        let keys = options.tls.then(|| Keys::create(folder.path(), &ips)).transpose()?;
        let agents = Agent::all(&options, folder.path(), keys.as_ref(), addresses)?;
        Ok(Self { options, agents, keys, _folder: folder })
    }

    /// How it was set up.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What clients need for TLS.
    #[must_use]
    pub fn tls(&self) -> Option<callsign_core::config::Tls> {
        self.keys.as_ref().map(Keys::tls)
    }

    /// Its agents; the last one is for clients.
    #[must_use]
    pub fn agents(&self) -> &[Agent] {
        &self.agents
    }

    /// The agent that clients talk to.
    ///
    /// # Errors
    /// `Unexpected`: there always is one.
    pub fn home(&self) -> Result<&Agent> {
        self.agents.last().ok_or_else(|| Error::unexpected("a consul without an agent"))
    }

    /// The plain client of the agent that clients talk to.
    ///
    /// # Errors
    /// As [`home`](Self::home).
    pub fn raw(&self) -> Result<&Raw> {
        self.home().map(Agent::raw)
    }

    /// Waits until there is a leader, every agent is known to be alive, and what is written arrives.
    ///
    /// # Errors
    /// `Unavailable` when one does not within a minute, with the end of its log.
    pub async fn serves(&self) -> Result<()> {
        try_join_all(
            self.agents.iter().map(|agent| async {
                agent.server().serves(START, || agent.raw().serves(agent.name())).await
            }),
        )
        .await?;
        let home = self.home()?;
        home.server().serves(START, || home.raw().writes()).await
    }

    /// Waits until the servers hear of what the home agent notices.
    async fn tells(&self) -> Result<()> {
        let home = self.home()?;
        home.server().serves(START, || home.raw().tells()).await
    }

    pub(super) fn start_all(&self) -> Result<()> {
        self.agents.iter().try_for_each(|agent| agent.server().start())
    }

    /// The number of the server that leads.
    ///
    /// # Errors
    /// `Unavailable` when none does.
    pub async fn leader(&self) -> Result<usize> {
        let leader = self.raw()?.get("/v1/status/leader").await?;
        let ip = leader.as_str().and_then(|address| address.rsplit_once(':')).map(|(ip, _)| ip);
        let ip = ip.ok_or_else(|| Error::unavailable("no server leads"))?;
        let found = self.agents.iter().position(|agent| agent.url().contains(&format!("//{ip}:")));
        found.ok_or_else(|| Error::unavailable(format!("the leader at {ip} is none of ours")))
    }
}

#[async_trait]
impl Pooled for Consul {
    type Setup = Options;

    async fn start(setup: Options) -> Result<Arc<Self>> {
        let consul = Self::start(setup).await?;
        consul.tells().await?;
        Ok(consul)
    }

    fn setup(&self) -> &Options {
        &self.options
    }

    async fn serves(&self) -> Result<()> {
        self.serves().await?;
        self.tells().await
    }
}
