//! What befalls a ZooKeeper. Each fault lasts until its guard is healed or dropped.

use std::sync::Arc;

use callsign_core::Result;
use callsign_testkit::Guard;
use futures::future::try_join_all;

use super::ZooKeeper;

impl ZooKeeper {
    /// Kills all servers. Healing starts them with the data that they have.
    ///
    /// # Errors
    /// `Timeout` when the kernel does not get one killed.
    pub async fn kill_all(self: &Arc<Self>) -> Result<Guard> {
        self.kill(0..self.members().len()).await
    }

    /// Kills some servers. Healing starts them with the data that they have.
    ///
    /// # Errors
    /// As [`kill_all`](Self::kill_all); `Unexpected` when there is no such server.
    pub async fn kill(self: &Arc<Self>, members: impl IntoIterator<Item = usize>) -> Result<Guard> {
        let members: Vec<usize> = members.into_iter().collect();
        let (starting, waiting) = (self.clone(), self.clone());
        let guard = Guard::new(move || {
            // What cannot be started does not serve, and that is waited for.
            let _ = starting.start_all();
        });
        let guard = guard.with_settled(async move { waiting.serves().await });
        let killed = members.iter().map(|number| async { self.member(*number)?.server().kill().await });
        try_join_all(killed).await?;
        Ok(guard)
    }

    /// Kills so many servers that the others are no quorum, the leader among them.
    ///
    /// # Errors
    /// As [`kill`](Self::kill).
    pub async fn lose_quorum(self: &Arc<Self>) -> Result<Guard> {
        let (count, leader) = (self.members().len(), self.leader().await?);
        let followers = (0..count).filter(|number| *number != leader);
        self.kill(std::iter::once(leader).chain(followers).take(count.div_ceil(2))).await
    }

    /// Freezes all servers: connections stay, and nothing answers.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub async fn freeze_all(self: &Arc<Self>) -> Result<Guard> {
        self.freeze(0..self.members().len()).await
    }

    /// Freezes some servers.
    ///
    /// # Errors
    /// `Unavailable` when one is not running, `Unexpected` when there is no such server.
    pub async fn freeze(self: &Arc<Self>, members: impl IntoIterator<Item = usize>) -> Result<Guard> {
        let members: Vec<usize> = members.into_iter().collect();
        let (thawing, waiting) = (self.clone(), self.clone());
        let guard = Guard::new(move || {
            for member in thawing.members() {
                // One that has died meanwhile is somebody else's fault.
                let _ = member.server().thaw();
            }
        });
        let guard = guard.with_settled(async move { waiting.serves().await });
        let frozen = members.iter().map(|number| async { self.member(*number)?.server().freeze().await });
        try_join_all(frozen).await?;
        Ok(guard)
    }

    /// Takes everything that is stored, as a restart of all servers with empty disks does. Returns when all serve again.
    ///
    /// # Errors
    /// `Unavailable` when it does not serve again.
    pub async fn wipe(&self) -> Result<()> {
        try_join_all(self.members().iter().map(|member| member.server().wipe())).await?;
        self.start_all()?;
        self.serves().await
    }
}
