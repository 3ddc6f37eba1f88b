//! What befalls a ZooKeeper. Each fault lasts until its guard is healed or dropped.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::Result;
use callsign_testkit::Guard;
use futures::future::try_join_all;
use tokio::time::{sleep, timeout};

use super::ZooKeeper;

/// How long servers that were frozen have to find together again, which they do within a few seconds or never.
const TOGETHER_AGAIN: Duration = Duration::from_secs(20);
/// How long servers wait for each other, in ticks of 200 ms: what a freeze has broken shows within it.
const NOTICED: Duration = Duration::from_secs(2);

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

    /// Freezes some servers. Those that do not find together again afterwards are started anew, as an operator would.
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
        let guard = guard.with_settled(async move { waiting.serves_after_a_freeze().await });
        let frozen = members.iter().map(|number| async { self.member(*number)?.server().freeze().await });
        try_join_all(frozen).await?;
        Ok(guard)
    }

    /// Three servers of 3.8.0 that freeze at the same time may stay together without ever agreeing on anything again: the
    /// leader goes on leading, both followers have synchronized with it anew and still run what wrote their log before
    /// (ZOOKEEPER-4712), and no session begins anywhere. Seen in 3 of some 150 freezes, with thread dumps. It is no
    /// client's doing, and does not pass by itself.
    async fn serves_after_a_freeze(self: &Arc<Self>) -> Result<()> {
        let together = async {
            self.serves().await?;
            if self.members().len() > 1 {
                // They go on as before, and then elect a leader.
                sleep(NOTICED).await;
            }
            self.serves().await
        };
        match timeout(TOGETHER_AGAIN, together).await {
            Ok(served) => served,
            Err(_) => self.kill_all().await?.heal().await,
        }
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
