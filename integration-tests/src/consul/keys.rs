//! The files that agents and their clients need for TLS.

use std::net::Ipv4Addr;
use std::path::Path;

use callsign_core::Result;
use callsign_core::config::Tls;

use crate::pki::{Authority, Pair};

/// What was made for one Consul; its folder is the Consul's own.
#[derive(Debug)]
pub(super) struct Keys {
    authority: Authority,
    server: Pair,
    client: Pair,
}

impl Keys {
    pub(super) fn create(folder: &Path, addresses: &[Ipv4Addr]) -> Result<Self> {
        let authority = Authority::create(folder)?;
        let server = authority.server("server", addresses.iter().copied())?;
        let client = authority.client("client")?;
        Ok(Self { authority, server, client })
    }

    /// What an agent is told: that nobody gets in without a certificate.
    pub(super) fn setting(&self) -> String {
        format!(
            "-hcl=verify_incoming_https = true  ca_file = \"{}\"  cert_file = \"{}\"  key_file = \"{}\"",
            self.authority.ca_file().display(),
            self.server.cert.display(),
            self.server.key.display()
        )
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
