//! Making a client of the library: servers, time-outs, credentials, TLS.

use callsign_core::{Error, Result};
use zookeeper_client as zk;

use super::Role;
use crate::config::Settings;
use crate::{Acl, Login};

/// Why there is no client.
#[derive(Debug)]
pub(super) enum Refused {
    /// The session that was asked for is over.
    Expired,
    /// The servers have refused, or could not be reached.
    Servers(zk::Error),
    /// Nothing was tried.
    Unusable(Error),
}

/// What a client is made with. Reads files.
pub(super) struct Plan {
    connector: zk::Connector,
    cluster: String,
    secure: bool,
}

impl Plan {
    pub(super) fn new(settings: &Settings, role: Role) -> Result<Self> {
        let mut connector = zk::Client::connector()
            .with_session_timeout(settings.session_timeout)
            .with_connection_timeout(settings.connection_timeout)
            // One round over the servers: why it failed is worth more than another one.
            .with_fail_eagerly();
        connector = match role {
            Role::Registrations => connector.with_detached(),
            Role::Discovery => connector.with_readonly(settings.read_only),
        };
        let material = settings.tls()?;
        if let Some(material) = &material {
            connector = connector.with_tls(options(material)?);
        }
        if let Some((user, password)) = settings.user()? {
            connector = match settings.login() {
                Login::Digest => {
                    connector.with_auth("digest", format!("{user}:{}", password.expose()).as_bytes())
                }
                Login::Sasl => connector
                    .with_sasl(zk::SaslOptions::digest_md5(user.to_owned(), password.expose().to_owned())),
            };
        }
        let servers: Vec<_> = settings.servers.iter().map(ToString::to_string).collect();
        let cluster = format!("{}{}", servers.join(","), settings.chroot);
        Ok(Self { connector, cluster, secure: material.is_some() })
    }

    /// Connects, to the session `former` where there is one.
    pub(super) async fn connect(self, former: Option<zk::SessionInfo>) -> Result<zk::Client, Refused> {
        let again = former.is_some();
        let connector = match former {
            Some(former) => self.connector.with_session(former),
            None => self.connector,
        };
        let connected = if self.secure {
            connector.secure_connect(&self.cluster).await
        } else {
            connector.connect(&self.cluster).await
        };
        connected.map_err(|error| match error {
            zk::Error::SessionExpired if again => Refused::Expired,
            error => Refused::Servers(error),
        })
    }
}

fn options(material: &callsign_core::config::TlsMaterial) -> Result<zk::TlsOptions> {
    let unusable = |error: zk::Error| {
        Error::config("`tls`: the certificates or the key cannot be used").with_source(error)
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut options = zk::TlsOptions::new();
    if let Some(ca) = &material.ca {
        options = options.with_pem_ca(&text(ca)).map_err(unusable)?;
    }
    if let Some(identity) = &material.identity {
        options =
            options.with_pem_identity(&text(&identity.cert), identity.key.expose()).map_err(unusable)?;
    }
    Ok(options)
}

/// The access list of nodes that one tenant makes.
pub(crate) fn acls(acl: Acl) -> zk::Acls<'static> {
    match acl {
        Acl::Open => zk::Acls::anyone_all(),
        Acl::Creator => zk::Acls::creator_all(),
        Acl::CreatorAndRead => zk::Acls::new(CREATOR_AND_READ.as_slice()),
    }
}

static CREATOR_AND_READ: std::sync::LazyLock<Vec<zk::Acl>> =
    std::sync::LazyLock::new(|| [&zk::Acls::creator_all()[..], &zk::Acls::anyone_read()[..]].concat());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ZooKeeperConfig;

    #[test]
    fn certificates_that_cannot_be_used_are_told_by_their_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nnot base 64\n-----END CERTIFICATE-----\n")
            .unwrap();
        let mut tls = callsign_core::config::Tls::default();
        tls.ca_file = Some(file);
        let settings = ZooKeeperConfig::default().with_tls(tls).settings().unwrap();
        let Err(error) = Plan::new(&settings, Role::Discovery) else { panic!("taken") };
        assert_eq!(error.to_string(), "`tls`: the certificates or the key cannot be used");
    }
}
