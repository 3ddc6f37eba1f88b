//! The files that servers and their clients need for TLS.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use callsign_core::config::Tls;
use callsign_core::{Error, Result};

use crate::pki::{Authority, Pair};

/// What was made for one ZooKeeper; its folder is the ZooKeeper's own.
#[derive(Debug)]
pub(super) struct Keys {
    authority: Authority,
    /// Certificate and key in one file, as ZooKeeper wants them.
    server: PathBuf,
    client: Pair,
}

impl Keys {
    pub(super) fn create(folder: &Path, addresses: &[Ipv4Addr]) -> Result<Self> {
        let authority = Authority::create(folder)?;
        let pair = authority.server("server", addresses.iter().copied())?;
        let client = authority.client("client")?;
        let server = folder.join("server-both.pem");
        let both = std::fs::read_to_string(&pair.cert)
            .and_then(|cert| Ok(format!("{cert}\n{}", std::fs::read_to_string(&pair.key)?)))
            .and_then(|both| std::fs::write(&server, both));
        both.map_err(|error| Error::unexpected("no file for a server's key").with_source(error))?;
        Ok(Self { authority, server, client })
    }

    /// What a server is told: that nobody gets in without a certificate.
    pub(super) fn lines(&self) -> [String; 5] {
        [
            format!("ssl.keyStore.location={}", self.server.display()),
            "ssl.keyStore.type=PEM".to_owned(),
            format!("ssl.trustStore.location={}", self.authority.ca_file().display()),
            "ssl.trustStore.type=PEM".to_owned(),
            "ssl.clientAuth=need".to_owned(),
        ]
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The table of a client.
    pub(super) fn tls(&self) -> Tls {
        let mut tls = Tls::default();
        tls.ca_file = Some(self.authority.ca_file());
        tls.cert_file = Some(self.client.cert.clone());
        tls.key_file = Some(self.client.key.clone());
        tls
    }
}
