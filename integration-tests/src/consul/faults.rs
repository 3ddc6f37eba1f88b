//! What befalls a Consul. Each fault lasts until its guard is healed or dropped.

use std::sync::Arc;

use callsign_core::{Error, Result};
use callsign_testkit::Guard;
use futures::future::try_join_all;

use super::{Agent, Consul, Kind};

impl Consul {
    /// Kills all agents. Healing starts them with the data that they have.
    ///
    /// # Errors
    /// `Unsupported` where a restart forgets everything; `Timeout` when the kernel does not get one killed.
    pub async fn kill_all(self: &Arc<Self>) -> Result<Guard> {
        if self.options().kind == Kind::Dev {
            return Err(Error::unsupported("an agent without a data folder forgets everything when it ends"));
        }
        self.kill(0..self.agents().len()).await
    }

    /// Kills some agents. Healing starts them with the data that they have.
    ///
    /// # Errors
    /// `Timeout` when the kernel does not get one killed; `Unexpected` when there is no such agent.
    pub async fn kill(self: &Arc<Self>, agents: impl IntoIterator<Item = usize>) -> Result<Guard> {
        let agents = self.some(agents)?;
        let (starting, waiting) = (self.clone(), self.clone());
        let guard = Guard::new(move || {
            // What cannot be started does not serve, and that is waited for.
            let _ = starting.start_all();
        });
        let guard = guard.with_settled(async move { waiting.serves().await });
        try_join_all(agents.iter().map(|agent| agent.server().kill())).await?;
        Ok(guard)
    }

    /// Kills so many servers, the leader among them, that the others are no quorum. Agents for clients stay.
    ///
    /// # Errors
    /// As [`kill`](Self::kill), and `Unavailable` when no server leads.
    pub async fn lose_quorum(self: &Arc<Self>) -> Result<Guard> {
        let (count, leader) = (self.servers(), self.leader().await?);
        self.kill((0..count.div_ceil(2)).map(|number| (leader + number) % count)).await
    }

    /// Freezes all agents: connections stay, and nothing answers.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub async fn freeze_all(self: &Arc<Self>) -> Result<Guard> {
        self.freeze(0..self.agents().len()).await
    }

    /// Freezes some agents.
    ///
    /// # Errors
    /// `Unavailable` when one is not running; `Unexpected` when there is no such agent.
    pub async fn freeze(self: &Arc<Self>, agents: impl IntoIterator<Item = usize>) -> Result<Guard> {
        let agents = self.some(agents)?;
        let (thawing, waiting) = (self.clone(), self.clone());
        let guard = Guard::new(move || {
            for agent in thawing.agents() {
                // One that has died meanwhile is somebody else's fault.
                let _ = agent.server().thaw();
            }
        });
        let guard = guard.with_settled(async move { waiting.serves().await });
        try_join_all(agents.iter().map(|agent| agent.server().freeze())).await?;
        Ok(guard)
    }

    /// Takes everything that is stored, as a restart of all agents with empty disks does. Returns when all serve again.
    ///
    /// # Errors
    /// `Unavailable` when it does not serve again.
    pub async fn wipe(&self) -> Result<()> {
        self.wipe_some(self.agents().iter()).await
    }

    /// As [`wipe`](Self::wipe), of the servers alone: the agents for clients have not ended, and go on with servers that
    /// know nothing.
    ///
    /// # Errors
    /// As [`wipe`](Self::wipe).
    pub async fn wipe_servers(&self) -> Result<()> {
        self.wipe_some(self.agents().iter().take(self.servers())).await
    }

    async fn wipe_some(&self, agents: impl Iterator<Item = &Agent> + Send) -> Result<()> {
        try_join_all(agents.map(|agent| agent.server().wipe())).await?;
        self.start_all()?;
        self.serves().await
    }

    /// How many servers there are; they are the first of the agents.
    #[must_use]
    pub fn servers(&self) -> usize {
        if self.options().kind == Kind::Cluster { self.agents().len() - 1 } else { self.agents().len() }
    }

    fn some(&self, agents: impl IntoIterator<Item = usize>) -> Result<Vec<&Agent>> {
        let agent = |number: usize| {
            let agent = self.agents().get(number);
            agent.ok_or_else(|| Error::unexpected(format!("there is no agent {number}")))
        };
        agents.into_iter().map(agent).collect()
    }
}
