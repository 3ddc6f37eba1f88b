//! An r-nacos as a whole: starting it, reaching it, and looking at it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use callsign_core::task::Spawner;
use callsign_core::{Error, Result, async_trait};
use futures::future::try_join_all;
use tempfile::TempDir;

use super::options::{RNacosOptions, program};
use crate::folder::temporary;
use crate::nacos::{PASSWORD, USER};
use crate::{Address, Launch, Pooled, Server};

const HTTP: u16 = 8848;
const GRPC: u16 = 9848;
/// How long a start may take, on a machine that has a lot to do.
const START: Duration = Duration::from_secs(60);

/// A running r-nacos. Dropping it ends all of it.
#[derive(Debug)]
pub struct RNacos {
    options: RNacosOptions,
    // Before the folder: what writes into it ends first.
    members: Vec<Member>,
    client: reqwest::Client,
    _folder: TempDir,
}

/// One server.
#[derive(Debug)]
pub(super) struct Member {
    http: SocketAddr,
    grpc: SocketAddr,
    pub(super) server: Server,
    /// The process that was logged in at.
    known: AtomicU32,
    _address: Address,
}

impl RNacos {
    /// Starts one, and waits until it serves.
    ///
    /// # Errors
    /// `Unsupported` when the program is not installed, with what to do; `Unavailable` when it does not serve, with the
    /// end of its log.
    pub async fn start(options: RNacosOptions) -> Result<Arc<Self>> {
        let started = Spawner::current()?.blocking(|| Self::prepare(options)).await??;
        started.begin().await?;
        Ok(Arc::new(started))
    }

    fn prepare(options: RNacosOptions) -> Result<Self> {
        let program =
            program().map_err(|reason| Error::unsupported(format!("cannot start rnacos: {reason}")))?;
        let folder = temporary("rnacos")?;
        let count = if options.cluster { 3 } else { 1 };
        let addresses: Vec<Address> =
            std::iter::repeat_with(Address::reserve).take(count).collect::<Result<_>>()?;
        let first = addresses.first().map(|address| address.at(GRPC).to_string()).unwrap_or_default();
        let members = addresses.into_iter().enumerate().map(|(number, address)| {
            let home = folder.path().join(format!("r{number}"));
            std::fs::create_dir_all(&home)
                .map_err(|error| Error::unexpected("no folder for an r-nacos").with_source(error))?;
            let launch = Launch {
                program: program.clone(),
                arguments: Vec::new(),
                environment: environment(&options, &address, &home, number, &first),
                log: folder.path().join(format!("r{number}.log")),
            };
            Ok(Member {
                http: address.at(HTTP),
                grpc: address.at(GRPC),
                server: Server::new(format!("rnacos r{number}"), launch, home.join("db")),
                known: AtomicU32::new(0),
                _address: address,
            })
        });
        let members = members.collect::<Result<_>>()?;
        Ok(Self { options, members, client: reqwest::Client::new(), _folder: folder })
    }

    /// How it was set up.
    #[must_use]
    pub fn options(&self) -> &RNacosOptions {
        &self.options
    }

    /// What clients are configured with, one for each server.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("http://{}", member.http)).collect()
    }

    /// Where each server serves gRPC.
    #[must_use]
    pub fn grpc(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.grpc).collect()
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn start_all(&self) -> Result<()> {
        self.members.iter().try_for_each(|member| member.server.start())
    }

    /// Starts all servers without data, and waits until they serve. Of two that join a cluster at the same time r-nacos
    /// forgets one for good, so they come one by one.
    pub(super) async fn begin(&self) -> Result<()> {
        for (before, member) in self.members.iter().enumerate() {
            member.server.start()?;
            member.server.serves(START, || self.answers(member, before + 1)).await?;
        }
        self.serves().await
    }

    /// Waits until all servers serve, and know each other.
    ///
    /// # Errors
    /// `Unavailable` when one does not within a minute, with the end of its log.
    pub async fn serves(&self) -> Result<()> {
        let all = self.members.len();
        let serving =
            self.members.iter().map(|member| member.server.serves(START, move || self.answers(member, all)));
        try_join_all(serving).await.map(drop)
    }

    /// Whether it serves, as one of so many.
    async fn answers(&self, member: &Member, members: usize) -> std::result::Result<(), String> {
        let url = format!("http://{}/health", member.http);
        let response = self.client.get(url).send().await.map_err(|error| error.to_string())?;
        let said = response.text().await.map_err(|error| error.to_string())?;
        if !said.contains("success") {
            return Err(said);
        }
        if self.options.cluster {
            self.knows(member, members).await?;
        }
        if let Some(wrong) = self.missing_login(member).await {
            return Err(wrong);
        }
        tokio::net::TcpStream::connect(member.grpc).await.map(drop).map_err(|error| error.to_string())
    }

    /// Whether a server of a cluster has a leader, and knows of so many members.
    async fn knows(&self, member: &Member, members: usize) -> std::result::Result<(), String> {
        let url = format!("http://{}/nacos/v1/raft/metrics", member.http);
        let response = self.client.get(url).send().await.map_err(|error| error.to_string())?;
        let said = response.text().await.map_err(|error| error.to_string())?;
        let metrics: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
        let known = metrics["membership_config"]["members"].as_array().map_or(0, Vec::len);
        if metrics["current_leader"].is_u64() && known >= members { Ok(()) } else { Err(said) }
    }

    /// The user is made a moment after a server has begun to serve, and nothing else is done meanwhile: on a machine that
    /// has a lot to do, for seconds.
    async fn missing_login(&self, member: &Member) -> Option<String> {
        let process = member.server.running().ok()?.id();
        if member.known.load(Ordering::Relaxed) == process {
            return None;
        }
        let url = format!("http://{}/nacos/v1/auth/users/login?username={USER}", member.http);
        let form = format!("username={USER}&password={PASSWORD}");
        let request = self.client.post(url).header("Content-Type", "application/x-www-form-urlencoded");
        match request.body(form).send().await {
            Ok(response) if response.status().is_success() => {
                member.known.store(process, Ordering::Relaxed);
                None
            }
            Ok(response) => Some(format!("the login says {}", response.status())),
            Err(error) => Some(error.to_string()),
        }
    }

    /// Calls the HTTP API of the first server: `method` on a path below `/nacos/v1`, with a query.
    ///
    /// # Errors
    /// `Unexpected` when it is refused.
    pub async fn call(&self, method: reqwest::Method, path: &str, query: &[(&str, &str)]) -> Result<String> {
        let failed = |what: String| Error::unexpected(format!("r-nacos: {path}: {what}"));
        let member = self.members.first().ok_or_else(|| failed("no server".to_owned()))?;
        let encoded = |text: &str| {
            percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
        };
        let query: Vec<_> = query.iter().map(|(key, value)| format!("{key}={}", encoded(value))).collect();
        let url = format!("http://{}/nacos/v1{path}?{}", member.http, query.join("&"));
        let response =
            self.client.request(method, url).send().await.map_err(|error| failed(error.to_string()))?;
        let (status, said) = (response.status(), response.text().await.unwrap_or_default());
        if status.is_success() { Ok(said) } else { Err(failed(format!("{status}: {said}"))) }
    }
}

fn environment(
    options: &RNacosOptions,
    address: &Address,
    home: &Path,
    number: usize,
    first: &str,
) -> Vec<(std::ffi::OsString, std::ffi::OsString)> {
    let ip = address.ip().to_string();
    let mut variables = vec![
        ("RNACOS_SDK_HOST", ip.clone()),
        ("RNACOS_CONSOLE_HOST", ip),
        ("RNACOS_HTTP_PORT", HTTP.to_string()),
        ("RNACOS_GRPC_PORT", GRPC.to_string()),
        ("RNACOS_HTTP_CONSOLE_PORT", "0".to_owned()),
        ("RNACOS_DATA_DIR", home.join("db").display().to_string()),
        // Row 5: it would keep the first metadata of an address for ever.
        ("RNACOS_NAMING_INSTANCE_METADATA_PERSISTENCE_ENABLE", "false".to_owned()),
        ("RUST_LOG", "error".to_owned()),
        ("RNACOS_INIT_ADMIN_USERNAME", USER.to_owned()),
        ("RNACOS_INIT_ADMIN_PASSWORD", PASSWORD.to_owned()),
    ];
    if let Some(seconds) = options.token_ttl {
        variables.extend([
            ("RNACOS_ENABLE_OPEN_API_AUTH", "true".to_owned()),
            ("RNACOS_API_LOGIN_TIMEOUT", seconds.to_string()),
        ]);
    }
    if options.cluster {
        variables.push(("RNACOS_RAFT_NODE_ID", (number + 1).to_string()));
        variables.push(("RNACOS_RAFT_NODE_ADDR", address.at(GRPC).to_string()));
        if number == 0 {
            variables.push(("RNACOS_RAFT_AUTO_INIT", "true".to_owned()));
        } else {
            variables.push(("RNACOS_RAFT_JOIN_ADDR", first.to_owned()));
        }
    }
    variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

#[async_trait]
impl Pooled for RNacos {
    type Setup = RNacosOptions;

    async fn start(setup: RNacosOptions) -> Result<Arc<Self>> {
        Self::start(setup).await
    }

    fn setup(&self) -> &RNacosOptions {
        &self.options
    }

    async fn serves(&self) -> Result<()> {
        self.serves().await
    }
}
