//! How an etcd is set up.

use std::time::Duration;

use super::Version;

/// Whether clients talk TLS, and show certificates themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tls {
    /// The server has a certificate.
    Server,
    /// The client must have one, too.
    Mutual,
}

/// What clients that have logged in are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tokens {
    /// A token that the server remembers, for so long after each use; a restart forgets all.
    Simple {
        /// Whole seconds.
        ttl: Duration,
    },
    /// A signed token that ends after so long, and with the next change of users and roles.
    Jwt {
        /// Whole seconds.
        ttl: Duration,
    },
}

/// How an etcd is set up: a single member on plain TCP, unless told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Options {
    /// The version.
    pub version: Version,
    /// How many members it has.
    pub members: usize,
    /// Whether clients come through a proxy.
    pub client_proxies: bool,
    /// Whether clients talk TLS.
    pub tls: Option<Tls>,
    /// Whether clients have to log in.
    pub auth: Option<Tokens>,
    /// Further arguments for each member.
    pub flags: Vec<String>,
}

impl Options {
    /// A single member of `version`.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self { version, members: 1, client_proxies: false, tls: None, auth: None, flags: Vec::new() }
    }

    /// Three members, whose ways to each other can be cut.
    #[must_use]
    pub fn with_cluster(mut self) -> Self {
        self.members = 3;
        self
    }

    /// Has clients come through a proxy for each member.
    #[must_use]
    pub fn with_client_proxies(mut self) -> Self {
        self.client_proxies = true;
        self
    }

    /// Has clients talk TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Has clients log in.
    #[must_use]
    pub fn with_auth(mut self, tokens: Tokens) -> Self {
        self.auth = Some(tokens);
        self
    }

    /// Limits what it stores, history included: `--quota-backend-bytes`.
    #[must_use]
    pub fn with_quota(self, bytes: u64) -> Self {
        self.with_flag(format!("--quota-backend-bytes={bytes}"))
    }

    /// Adds an argument for each member.
    #[must_use]
    pub fn with_flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    pub(super) fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }
}
