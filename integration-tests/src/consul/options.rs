//! How a Consul is set up.

use std::path::PathBuf;

use crate::binaries;

/// Which agents there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One server that keeps everything in memory: a restart forgets all.
    Dev,
    /// One server with its data on disk.
    Single,
    /// Three servers, and a client agent that callsign talks to.
    Cluster,
}

/// How a Consul is set up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Options {
    /// Which agents there are.
    pub kind: Kind,
    /// The token of a management policy, where nothing is allowed without a token.
    pub management: Option<String>,
    /// Whether clients talk TLS, and show certificates themselves.
    pub tls: bool,
    /// Whether an agent takes no more than the 200 connections of one host that it takes by default.
    pub default_limits: bool,
}

impl Options {
    /// Agents of this kind, where everything is allowed.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self { kind, management: None, tls: false, default_limits: false }
    }

    /// Has nothing be allowed without a token; with this one everything is.
    #[must_use]
    pub fn with_acls(mut self, management: impl Into<String>) -> Self {
        self.management = Some(management.into());
        self
    }

    /// Has clients talk TLS, with certificates of their own.
    #[must_use]
    pub fn with_tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Has agents take as many connections of one host as they take by default.
    #[must_use]
    pub fn with_default_limits(mut self) -> Self {
        self.default_limits = true;
        self
    }
}

/// The program.
///
/// # Errors
/// Why there is none: see [`binaries::find`].
pub fn program() -> Result<PathBuf, String> {
    binaries::find("consul", "usr/bin/consul")
}
