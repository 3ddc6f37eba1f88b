//! How an r-nacos is set up.

use std::path::PathBuf;

use crate::binaries;

/// How an r-nacos is set up: one server that lets everybody in, unless told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RNacosOptions {
    /// Whether there are three servers.
    pub cluster: bool,
    /// Whether only a user may do anything, and how long a token is good for, in seconds.
    pub token_ttl: Option<u64>,
}

impl RNacosOptions {
    /// Three servers.
    #[must_use]
    pub fn with_cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// Lets only the user in, with tokens that are good for so many seconds.
    #[must_use]
    pub fn with_logins(mut self, seconds: u64) -> Self {
        self.token_ttl = Some(seconds);
        self
    }
}

/// The program.
///
/// # Errors
/// Why there is none: see [`binaries::find`].
pub fn program() -> Result<PathBuf, String> {
    binaries::find("rnacos", "bin/rnacos")
}
