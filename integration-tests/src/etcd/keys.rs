//! The files that an etcd and its clients need for TLS and tokens.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use callsign_core::{Error, Result};

use super::options::{Options, Tls, Tokens};
use crate::pki::{self, Authority, Pair};

/// What was made for one etcd; its folder is the etcd's own.
#[derive(Debug)]
pub(super) struct Keys {
    tls: Option<(Authority, Pair)>,
    client: Option<Pair>,
    tokens: Option<Pair>,
}

impl Keys {
    pub(super) fn create(options: &Options, folder: &Path, addresses: &[Ipv4Addr]) -> Result<Self> {
        let tls = match options.tls {
            None => None,
            Some(_) => {
                let authority = Authority::create(folder)?;
                let server = authority.server("server", addresses.iter().copied())?;
                Some((authority, server))
            }
        };
        let client = match (&tls, options.tls) {
            (Some((authority, _)), Some(Tls::Mutual)) => Some(authority.client("client")?),
            _ => None,
        };
        let tokens = match options.auth {
            Some(Tokens::Jwt { .. }) => Some(pki::rsa(folder, "tokens")?),
            _ => None,
        };
        Ok(Self { tls, client, tokens })
    }

    /// Who has signed the server's certificate.
    pub(super) fn authority(&self) -> Option<&Authority> {
        self.tls.as_ref().map(|(authority, _)| authority)
    }

    /// Puts another certificate where the server's is.
    pub(super) fn replace_server(&self, with: &Pair) -> Result<()> {
        let Some((_, server)) = &self.tls else { return Err(Error::unsupported("this etcd talks no TLS")) };
        for (from, to) in [(&with.key, &server.key), (&with.cert, &server.cert)] {
            fs::copy(from, to).map_err(|error| {
                Error::unexpected(format!("cannot write {}", to.display())).with_source(error)
            })?;
        }
        Ok(())
    }

    /// The server's arguments.
    pub(super) fn arguments(&self, options: &Options) -> Vec<String> {
        let mut arguments = Vec::new();
        if let Some((authority, server)) = &self.tls {
            arguments.push(format!("--cert-file={}", server.cert.display()));
            arguments.push(format!("--key-file={}", server.key.display()));
            if self.client.is_some() {
                arguments.push("--client-cert-auth".to_owned());
                arguments.push(format!("--trusted-ca-file={}", authority.ca_file().display()));
            }
        }
        match (options.auth, &self.tokens) {
            (Some(Tokens::Simple { ttl }), _) => {
                arguments.push(format!("--auth-token-ttl={}", ttl.as_secs()));
            }
            (Some(Tokens::Jwt { ttl }), Some(keys)) => arguments.push(format!(
                "--auth-token=jwt,pub-key={},priv-key={},sign-method=RS256,ttl={}s",
                keys.cert.display(),
                keys.key.display(),
                ttl.as_secs()
            )),
            _ => {}
        }
        if options.auth.is_some() {
            // The cheapest that is allowed: what a hash costs is not under test, and all cores are.
            arguments.push("--bcrypt-cost=4".to_owned());
        }
        arguments
    }

    /// The table of a client.
    pub(super) fn tls(&self) -> Option<callsign_core::config::Tls> {
        let (authority, _) = self.tls.as_ref()?;
        let mut tls = callsign_core::config::Tls::default();
        tls.ca_file = Some(authority.ca_file());
        if let Some(client) = &self.client {
            tls.cert_file = Some(client.cert.clone());
            tls.key_file = Some(client.key.clone());
        }
        Some(tls)
    }
}
