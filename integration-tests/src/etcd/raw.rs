//! The plain client: for what a test does past the backend.

use std::time::Duration;

use callsign_core::config::Tls;
use callsign_core::{Error, Result};
use etcd_client::{Certificate, Client, ConnectOptions, GetOptions, Identity, TlsOptions};

/// No call of a test is worth waiting longer for.
const ANSWER: Duration = Duration::from_secs(5);

/// A user and its password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Connects to one endpoint.
pub(super) async fn connect(endpoint: &str, tls: Option<&Tls>, login: Option<&Login>) -> Result<Client> {
    let mut options = ConnectOptions::new()
        .with_keep_alive_while_idle(false)
        .with_connect_timeout(ANSWER)
        .with_timeout(ANSWER);
    if let Some(tls) = tls {
        let material = tls.load()?;
        let mut tls = TlsOptions::new();
        if let Some(ca) = material.ca {
            tls = tls.ca_certificate(Certificate::from_pem(ca));
        }
        if let Some(identity) = material.identity {
            tls = tls.identity(Identity::from_pem(identity.cert, identity.key.expose()));
        }
        options = options.with_tls(tls);
    }
    if let Some(login) = login {
        options = options.with_user(&login.user, &login.password);
    }
    Client::connect([endpoint], Some(options)).await.map_err(|error| failed("connect", &error))
}

/// Succeeds when a quorum answers through this client.
pub(super) async fn serves(client: &mut Client) -> std::result::Result<(), String> {
    let options = GetOptions::new().with_limit(1).with_keys_only().with_prefix();
    match client.get("/", Some(options)).await {
        Ok(_) => Ok(()),
        // Who has not logged in is turned away after the quorum has answered.
        Err(error) if error.to_string().contains("user name is empty") => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// The error of a call of the plain client.
pub(super) fn failed(what: &str, error: &etcd_client::Error) -> Error {
    Error::unexpected(format!("the plain client: {what}: {error}"))
}
