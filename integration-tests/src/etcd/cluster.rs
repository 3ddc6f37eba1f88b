//! An etcd as a whole: starting it, reaching it, and looking at it.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::task::Spawner;
use callsign_core::{Error, Result, async_trait};
use etcd_client::Client;
use futures::future::try_join_all;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::access::Logins;
use super::keys::Keys;
use super::raw::{self, Login};
use super::{Member, Options};
use crate::folder::temporary;
use crate::pki::{Authority, Pair};
use crate::{Address, Pooled};

/// How long a start may take, on a machine that has a lot to do.
const START: Duration = Duration::from_secs(40);
/// How long there may be no leader, on such a machine.
const ELECTIONS: Duration = Duration::from_secs(20);
/// Between two questions who leads.
const POLL: Duration = Duration::from_millis(50);

/// A running etcd of one member or several. Dropping it ends all of it.
#[derive(Debug)]
pub struct Etcd {
    options: Options,
    // Before the folder: what writes into it ends first.
    members: Vec<Member>,
    keys: Keys,
    logins: Option<Logins>,
    _folder: TempDir,
}

impl Etcd {
    /// Starts an etcd, and waits until all members serve.
    ///
    /// # Errors
    /// `Unsupported` when the program is not installed, with what to do; `Unavailable` when it does not serve, with
    /// the end of its log.
    pub async fn start(options: Options) -> Result<Arc<Self>> {
        let etcd = Spawner::current()?.blocking(|| Self::prepare(options)).await??;
        etcd.start_all()?;
        etcd.serves().await?;
        etcd.enable_auth().await?;
        Ok(Arc::new(etcd))
    }

    fn prepare(options: Options) -> Result<Self> {
        let folder = temporary("etcd")?;
        let addresses: Vec<Address> =
            std::iter::repeat_with(Address::reserve).take(options.members).collect::<Result<_>>()?;
        let ips: Vec<_> = addresses.iter().map(Address::ip).collect();
        let keys = Keys::create(&options, folder.path(), &ips)?;
        let members = Member::all(&options, folder.path(), &keys, addresses)?;
        let logins = options.auth.is_some().then(Logins::random);
        Ok(Self { options, members, keys, logins, _folder: folder })
    }

    /// How it was set up.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Its members.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// What clients connect to: the endpoint of each member.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        self.members.iter().map(|member| member.endpoint().to_owned()).collect()
    }

    /// What clients need for TLS.
    #[must_use]
    pub fn tls(&self) -> Option<callsign_core::config::Tls> {
        self.keys.tls()
    }

    /// Who has signed the members' certificate, where they have one.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        self.keys.authority()
    }

    /// Has the members show another certificate to whoever connects from now on. For good: no other test should get
    /// this etcd.
    ///
    /// # Errors
    /// `Unsupported` without TLS; `Unexpected` when files cannot be copied.
    pub fn show_certificate(&self, pair: &Pair) -> Result<()> {
        // etcd reads its files with each handshake.
        self.keys.replace_server(pair)
    }

    /// Who may write below [`PREFIX`](super::PREFIX) in the namespaces that begin with
    /// [`NAMESPACES`](super::NAMESPACES), and nowhere else; where clients log in at all.
    #[must_use]
    pub fn tenant(&self) -> Option<&Login> {
        self.logins.as_ref().map(|logins| &logins.tenant)
    }

    /// Who may do everything, where clients log in at all.
    #[must_use]
    pub fn root(&self) -> Option<&Login> {
        self.logins.as_ref().map(|logins| &logins.root)
    }

    /// A plain client of one member, as root, past the proxies.
    ///
    /// # Errors
    /// `Unexpected` when there is no such member, or when it is down and wants a login.
    pub async fn raw_at(&self, member: usize) -> Result<Client> {
        raw::connect(self.member(member)?.direct(), self.tls().as_ref(), self.root()).await
    }

    /// A plain client of the first member that serves, as root, past the proxies.
    ///
    /// # Errors
    /// `Unavailable` when none serves.
    pub async fn raw(&self) -> Result<Client> {
        let mut last = Error::unavailable("there is no member");
        for number in 0..self.members.len() {
            match self.raw_at(number).await {
                Ok(mut client) => match raw::serves(&mut client).await {
                    Ok(()) => return Ok(client),
                    Err(complaint) => last = Error::unavailable(format!("no member serves: {complaint}")),
                },
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// The number of the member that leads. Waits for the end of an election.
    ///
    /// # Errors
    /// `Unavailable` when none does within 20 s.
    pub async fn leader(&self) -> Result<usize> {
        let until = Instant::now() + ELECTIONS;
        loop {
            for number in 0..self.members.len() {
                if self.leads(number).await {
                    return Ok(number);
                }
            }
            if Instant::now() >= until {
                return Err(Error::unavailable(format!("no member leads within {ELECTIONS:?}")));
            }
            sleep(POLL).await;
        }
    }

    async fn leads(&self, number: usize) -> bool {
        let Ok(mut client) = self.raw_at(number).await else { return false };
        let Ok(status) = client.status().await else { return false };
        status.leader() != 0 && status.header().is_some_and(|own| own.member_id() == status.leader())
    }

    /// Waits until every member serves, each with a quorum behind it.
    ///
    /// # Errors
    /// `Unavailable` when one does not within 40 s, with the end of its log.
    pub async fn serves(&self) -> Result<()> {
        try_join_all((0..self.members.len()).map(|number| self.member_serves(number))).await.map(|_| ())
    }

    pub(super) async fn member_serves(&self, number: usize) -> Result<()> {
        let member = self.member(number)?;
        // Without a login: that would need a quorum already to get an error that says so.
        let client = raw::connect(member.direct(), self.tls().as_ref(), None).await?;
        let probe = || {
            let mut client = client.clone();
            async move { raw::serves(&mut client).await }
        };
        member.server().serves(START, probe).await
    }

    /// The member with this number.
    ///
    /// # Errors
    /// `Unexpected` when there is none.
    pub fn member(&self, number: usize) -> Result<&Member> {
        let count = self.members.len();
        self.members.get(number).ok_or_else(|| Error::unexpected(format!("no member {number} of {count}")))
    }

    pub(super) fn start_all(&self) -> Result<()> {
        self.members.iter().try_for_each(|member| member.server().start())
    }

    pub(super) async fn enable_auth(&self) -> Result<()> {
        let Some(logins) = &self.logins else { return Ok(()) };
        let mut client = raw::connect(self.member(0)?.direct(), self.tls().as_ref(), None).await?;
        logins.enable(&mut client).await
    }
}

#[async_trait]
impl Pooled for Etcd {
    type Setup = Options;

    async fn start(setup: Options) -> Result<Arc<Self>> {
        Self::start(setup).await
    }

    fn setup(&self) -> &Options {
        &self.options
    }

    async fn serves(&self) -> Result<()> {
        self.serves().await
    }
}
