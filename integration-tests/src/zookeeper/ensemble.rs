//! A ZooKeeper as a whole: starting it, reaching it, and looking at it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::task::Spawner;
use callsign_core::{Error, Result, async_trait};
use futures::future::try_join_all;
use tempfile::TempDir;

use super::keys::Keys;
use super::raw::{command, listens, serves};
use super::{Member, Options, Raw, archive};
use crate::folder::temporary;
use crate::pki::Authority;
use crate::{Address, Pooled};

/// How long a start may take, on a machine that has a lot to do.
const START: Duration = Duration::from_secs(60);

/// A running ZooKeeper of one server or several. Dropping it ends all of it.
#[derive(Debug)]
pub struct ZooKeeper {
    options: Options,
    // Before the folder: what writes into it ends first.
    members: Vec<Member>,
    keys: Option<Keys>,
    _folder: TempDir,
}

impl ZooKeeper {
    /// Starts a ZooKeeper, and waits until all servers serve.
    ///
    /// # Errors
    /// `Unsupported` when it is not installed, with what to do; `Unavailable` when it does not serve, with the end of its
    /// log.
    pub async fn start(options: Options) -> Result<Arc<Self>> {
        archive::provide(options.version).await;
        Self::launch(options).await
    }

    pub(super) async fn launch(options: Options) -> Result<Arc<Self>> {
        let zookeeper = Spawner::current()?.blocking(|| Self::prepare(options)).await??;
        zookeeper.start_all()?;
        zookeeper.serves().await?;
        Ok(Arc::new(zookeeper))
    }

    fn prepare(options: Options) -> Result<Self> {
        let folder = temporary("zookeeper")?;
        let addresses: Vec<Address> =
            std::iter::repeat_with(Address::reserve).take(options.members).collect::<Result<_>>()?;
        let ips: Vec<_> = addresses.iter().map(Address::ip).collect();
        let keys = options.tls.then(|| Keys::create(folder.path(), &ips)).transpose()?;
        let members = Member::all(&options, folder.path(), keys.as_ref(), addresses)?;
        Ok(Self { options, members, keys, _folder: folder })
    }

    /// How it was set up.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Its servers.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The server with this number.
    ///
    /// # Errors
    /// `Unexpected` when there is none.
    pub fn member(&self, number: usize) -> Result<&Member> {
        let count = self.members.len();
        self.members.get(number).ok_or_else(|| Error::unexpected(format!("no server {number} of {count}")))
    }

    /// What clients connect to: each server.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.endpoint().to_owned()).collect()
    }

    /// What clients need for TLS.
    #[must_use]
    pub fn tls(&self) -> Option<callsign_core::config::Tls> {
        self.keys.as_ref().map(Keys::tls)
    }

    /// Who has signed the servers' certificate, where they have one.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        self.keys.as_ref().map(Keys::authority)
    }

    /// A plain client with every right.
    ///
    /// # Errors
    /// `Unexpected` when no server gives a session.
    pub async fn raw(&self) -> Result<Raw> {
        let servers: Vec<_> = self.members.iter().map(Member::plain).collect();
        Raw::connect(&servers.join(",")).await
    }

    /// What the server with this number answers to a command of four letters.
    ///
    /// # Errors
    /// `Unavailable` when it does not.
    pub async fn command(&self, number: usize, word: &str) -> Result<String> {
        let answer = command(self.member(number)?.plain(), word).await;
        answer.map_err(|cause| Error::unavailable(format!("`{word}`: {cause}")))
    }

    /// The number of the server that leads.
    ///
    /// # Errors
    /// `Unavailable` when none does.
    pub async fn leader(&self) -> Result<usize> {
        for number in 0..self.members.len() {
            if let Ok(answer) = self.command(number, "srvr").await
                && (answer.contains("Mode: leader") || answer.contains("Mode: standalone"))
            {
                return Ok(number);
            }
        }
        Err(Error::unavailable("no server leads"))
    }

    /// The sessions that own nodes.
    ///
    /// # Errors
    /// `Unavailable` when no server leads.
    pub async fn owners(&self) -> Result<BTreeSet<String>> {
        let dump = self.command(self.leader().await?, "dump").await?;
        let owners = dump.lines().skip_while(|line| !line.starts_with("Sessions with Ephemerals"));
        let owners = owners.filter(|line| line.starts_with("0x")).map(|line| line.trim_end_matches(':'));
        Ok(owners.map(str::to_owned).collect())
    }

    /// Waits until every server serves, each with a quorum behind it.
    ///
    /// # Errors
    /// `Unavailable` when one does not within a minute, with the end of its log.
    pub async fn serves(&self) -> Result<()> {
        let each = self.members.iter().map(|member| {
            member.server().serves(START, || async {
                serves(member.plain()).await?;
                Raw::connect(member.plain()).await.map_err(|error| error.to_string())?;
                listens(member.endpoint()).await
            })
        });
        try_join_all(each).await.map(|_| ())
    }

    pub(super) fn start_all(&self) -> Result<()> {
        self.members.iter().try_for_each(|member| member.server().start())
    }
}

#[async_trait]
impl Pooled for ZooKeeper {
    type Setup = Options;

    async fn start(setup: Options) -> Result<Arc<Self>> {
        Self::start(setup).await
    }

    fn setup(&self) -> &Options {
        &self.options
    }

    fn processes(setup: &Options) -> usize {
        setup.members
    }

    async fn serves(&self) -> Result<()> {
        self.serves().await
    }
}
