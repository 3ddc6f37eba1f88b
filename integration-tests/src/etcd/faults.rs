//! What befalls an etcd. Each fault lasts until its guard is healed or dropped.

use std::sync::Arc;

use callsign_core::{Error, Result};
use callsign_testkit::Guard;
use futures::future::try_join_all;

use super::Etcd;
use crate::proxy::Mode;

impl Etcd {
    /// Kills all members. Healing starts them with the data that they have.
    ///
    /// # Errors
    /// `Timeout` when the kernel does not get one killed.
    pub async fn kill_all(self: &Arc<Self>) -> Result<Guard> {
        self.kill(0..self.members().len()).await
    }

    /// Kills some members. Healing starts them with the data that they have.
    ///
    /// # Errors
    /// As [`kill_all`](Self::kill_all); `Unexpected` when there is no such member.
    pub async fn kill(self: &Arc<Self>, members: impl IntoIterator<Item = usize>) -> Result<Guard> {
        let members: Vec<usize> = members.into_iter().collect();
        let guard = self.starts_again();
        let killed = members.iter().map(|number| async { self.member(*number)?.server().kill().await });
        try_join_all(killed).await?;
        Ok(guard)
    }

    /// Kills so many members, the leader not among them, that the others are no quorum.
    ///
    /// # Errors
    /// As [`kill`](Self::kill).
    pub async fn lose_quorum(self: &Arc<Self>) -> Result<Guard> {
        let (count, leader) = (self.members().len(), self.leader().await?);
        let followers = (0..count).filter(|number| count == 1 || *number != leader);
        self.kill(followers.take(count.div_ceil(2))).await
    }

    /// Freezes all members: connections stay, and nothing answers.
    ///
    /// # Errors
    /// As [`freeze`](Self::freeze).
    pub async fn freeze_all(self: &Arc<Self>) -> Result<Guard> {
        self.freeze(0..self.members().len()).await
    }

    /// Freezes some members.
    ///
    /// # Errors
    /// `Unavailable` when one is not running, `Unexpected` when there is no such member.
    pub async fn freeze(self: &Arc<Self>, members: impl IntoIterator<Item = usize>) -> Result<Guard> {
        let members: Vec<usize> = members.into_iter().collect();
        let frozen = members.iter().map(|number| async { self.member(*number)?.server().freeze().await });
        let (thawing, waiting) = (self.clone(), self.clone());
        let guard = Guard::new(move || {
            for member in thawing.members() {
                // One that has died meanwhile is somebody else's fault.
                let _ = member.server().thaw();
            }
        });
        let guard = guard.with_settled(async move { waiting.serves().await });
        try_join_all(frozen).await?;
        Ok(guard)
    }

    /// Cuts one member off from the others, both ways. Its clients reach it all the same.
    ///
    /// # Errors
    /// `Unsupported` where there are no others.
    pub async fn isolate(self: &Arc<Self>, member: usize) -> Result<Guard> {
        let others = (0..self.members().len()).filter(|other| *other != member);
        let links = others.flat_map(|other| [(member, other), (other, member)]);
        self.disturb(links, Mode::Refuse).await
    }

    /// Sets the mode of what the first member of each pair sends to the second on connections that it has opened,
    /// and of the answers. Members open connections both ways, each for what it has to say itself.
    ///
    /// # Errors
    /// `Unsupported` where there is one member alone, `Unexpected` when there is no such member.
    pub async fn disturb(
        self: &Arc<Self>,
        links: impl IntoIterator<Item = (usize, usize)>,
        mode: Mode,
    ) -> Result<Guard> {
        let (mending, waiting) = (self.clone(), self.clone());
        let mend = move || {
            mending
                .members()
                .iter()
                .filter_map(|member| member.peers())
                .for_each(|proxy| proxy.order(Mode::Pass));
        };
        let guard = Guard::new(mend).with_settled(async move { waiting.serves().await });
        for (from, to) in links {
            let proxy = self.member(to)?.peers();
            let proxy = proxy.ok_or_else(|| Error::unsupported("a single member has no ways to others"))?;
            proxy.order_lane(from, mode);
        }
        for proxy in self.members().iter().filter_map(|member| member.peers()) {
            proxy.settled().await;
        }
        Ok(guard)
    }

    /// Takes everything that is stored, as a restart of all members with empty disks does. Returns when all serve
    /// again, with the users that there were.
    ///
    /// # Errors
    /// `Unavailable` when it does not serve again.
    pub async fn wipe(&self) -> Result<()> {
        try_join_all(self.members().iter().map(|member| member.server().wipe())).await?;
        self.start_all()?;
        self.serves().await?;
        self.enable_auth().await
    }

    /// Restarts one member after the other in peace, each when the one before serves again.
    ///
    /// # Errors
    /// `Timeout` when one does not end in peace, `Unavailable` when one does not come back.
    pub async fn rolling_restart(&self) -> Result<()> {
        for (number, member) in self.members().iter().enumerate() {
            member.server().terminate().await?;
            member.server().start()?;
            self.member_serves(number).await?;
        }
        Ok(())
    }

    /// A guard that starts whatever is not running, and waits until all serves.
    fn starts_again(self: &Arc<Self>) -> Guard {
        let (starting, waiting) = (self.clone(), self.clone());
        let guard = Guard::new(move || {
            // What cannot be started does not serve, and that is waited for.
            let _ = starting.start_all();
        });
        guard.with_settled(async move { waiting.serves().await })
    }
}
