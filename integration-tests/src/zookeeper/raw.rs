//! The plain client: for what a test does past the backend.

use std::time::Duration;

use callsign_core::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zookeeper_client as zk;

/// Who may do everything, whatever the access lists say.
const SUPER: &[u8] = b"super:callsign-tests";
/// What servers are told of it.
pub(super) const SUPER_DIGEST: &str = "super:K0+4AnsqmMRf1w4bo4krA3gLwCE=";
/// A session that outlives no test.
const SESSION: Duration = Duration::from_secs(10);

/// A plain client with every right.
#[derive(Debug, Clone)]
pub struct Raw {
    client: zk::Client,
}

impl Raw {
    /// Connects to one of the servers `cluster`, without TLS.
    ///
    /// # Errors
    /// `Unexpected` when none gives a session.
    pub async fn connect(cluster: &str) -> Result<Self> {
        let connector = zk::Client::connector().with_session_timeout(SESSION).with_auth("digest", SUPER);
        let client = connector.connect(cluster).await.map_err(|error| failed("connect", &error))?;
        Ok(Self { client })
    }

    /// The client of the library.
    #[must_use]
    pub fn client(&self) -> &zk::Client {
        &self.client
    }

    /// The data of a node and what is known about it; `None` where there is no node.
    ///
    /// # Errors
    /// `Unexpected` when the server does not answer.
    pub async fn read(&self, path: &str) -> Result<Option<(Vec<u8>, zk::Stat)>> {
        match self.client.get_data(path).await {
            Ok(found) => Ok(Some(found)),
            Err(zk::Error::NoNode) => Ok(None),
            Err(error) => Err(failed(path, &error)),
        }
    }

    /// Overwrites the data of a node.
    ///
    /// # Errors
    /// `Unexpected`, also where there is no node.
    pub async fn write(&self, path: &str, data: &[u8]) -> Result<()> {
        self.client.set_data(path, data, None).await.map(drop).map_err(|error| failed(path, &error))
    }

    /// Deletes a node.
    ///
    /// # Errors
    /// `Unexpected`, also where there is no node.
    pub async fn delete(&self, path: &str) -> Result<()> {
        self.client.delete(path, None).await.map_err(|error| failed(path, &error))
    }
}

/// What a server answers to one of the commands of four letters.
///
/// # Errors
/// What keeps it from answering.
pub(super) async fn command(server: &str, word: &str) -> std::result::Result<String, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(server).await.map_err(text)?;
    stream.write_all(word.as_bytes()).await.map_err(text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(text)?;
    Ok(answer)
}

/// Succeeds when the server has a quorum and takes sessions.
pub(super) async fn serves(server: &str) -> std::result::Result<(), String> {
    let answer = command(server, "srvr").await?;
    match answer.lines().find_map(|line| line.strip_prefix("Mode: ")) {
        Some("read-only") | None => Err(format!("it says {:?}", answer.lines().next().unwrap_or_default())),
        Some(_) => Ok(()),
    }
}

/// Succeeds when somebody listens there: the port for TLS is opened last.
pub(super) async fn listens(endpoint: &str) -> std::result::Result<(), String> {
    TcpStream::connect(endpoint).await.map(drop).map_err(|error| error.to_string())
}

/// The error of a call of the plain client.
pub(super) fn failed(what: &str, error: &zk::Error) -> Error {
    Error::unexpected(format!("the plain client: {what}: {error}"))
}
