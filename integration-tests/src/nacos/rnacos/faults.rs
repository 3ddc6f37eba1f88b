//! What befalls an r-nacos. Each fault lasts until its guard is healed or dropped.

use std::sync::Arc;

use callsign_core::{Error, Result};
use callsign_testkit::Guard;
use futures::future::try_join_all;

use super::RNacos;
use super::server::Member;

impl RNacos {
    /// Kills all servers. Healing starts them: what lives by a connection is gone.
    ///
    /// # Errors
    /// `Timeout` when the kernel does not get one killed.
    pub async fn kill_all(self: &Arc<Self>) -> Result<Guard> {
        self.kill(0..self.members().len()).await
    }

    /// Kills some servers. Healing starts them. In a cluster, one that has led before was seen not to find a leader within
    /// a minute of its return, under load; the others serve on.
    ///
    /// # Errors
    /// As [`kill_all`](Self::kill_all); `Unexpected` when there is no such server.
    pub async fn kill(self: &Arc<Self>, members: impl IntoIterator<Item = usize>) -> Result<Guard> {
        let members = self.some(members)?;
        let (starting, waiting) = (self.clone(), self.clone());
        let guard = Guard::new(move || {
            // What cannot be started does not serve, and that is waited for.
            let _ = starting.start_all();
        });
        let guard = guard.with_settled(async move { waiting.serves().await });
        try_join_all(members.iter().map(|member| member.server.kill())).await?;
        Ok(guard)
    }

    /// Freezes all servers: connections stay, and nothing answers.
    ///
    /// # Errors
    /// `Unavailable` when one is not running.
    pub async fn freeze_all(self: &Arc<Self>) -> Result<Guard> {
        self.freeze(0..self.members().len()).await
    }

    /// Freezes some servers.
    ///
    /// # Errors
    /// As [`freeze_all`](Self::freeze_all); `Unexpected` when there is no such server.
    pub async fn freeze(self: &Arc<Self>, members: impl IntoIterator<Item = usize>) -> Result<Guard> {
        let members = self.some(members)?;
        let (thawing, waiting) = (self.clone(), self.clone());
        let guard = Guard::new(move || {
            for member in thawing.members() {
                // One that has died meanwhile is somebody else's fault.
                let _ = member.server.thaw();
            }
        });
        let guard = guard.with_settled(async move { waiting.serves().await });
        try_join_all(members.iter().map(|member| member.server.freeze())).await?;
        Ok(guard)
    }

    /// Takes everything that is stored, as a restart with an empty disk does. Returns when it serves again.
    ///
    /// # Errors
    /// `Unavailable` when it does not serve again.
    pub async fn wipe(&self) -> Result<()> {
        try_join_all(self.members().iter().map(|member| member.server.wipe())).await?;
        self.begin().await
    }

    fn some(&self, members: impl IntoIterator<Item = usize>) -> Result<Vec<&Member>> {
        let member = |number: usize| {
            let member = self.members().get(number);
            member.ok_or_else(|| Error::unexpected(format!("there is no server {number}")))
        };
        members.into_iter().map(member).collect()
    }
}
