//! How a ZooKeeper is set up.

use std::path::PathBuf;

use super::Version;

/// Whom SASL lets in.
pub const USER: &str = "callsign";
/// The password of [`USER`].
pub const PASSWORD: &str = "00012345";

/// How a ZooKeeper is set up: a single server on plain TCP, unless told.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Options {
    /// The version.
    pub version: Version,
    /// How many servers it has.
    pub members: usize,
    /// Whether clients talk TLS, and show certificates themselves.
    pub tls: bool,
    /// Whether clients log in by SASL.
    pub sasl: bool,
    /// Further lines of the configuration of each server.
    pub lines: Vec<String>,
    /// Where servers write down the classes that they have loaded, as they end.
    pub(super) archive: Option<PathBuf>,
}

impl Options {
    /// A single server of `version`.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self { version, members: 1, tls: false, sasl: false, lines: Vec::new(), archive: None }
    }

    /// Three servers.
    #[must_use]
    pub fn with_ensemble(mut self) -> Self {
        self.members = 3;
        self
    }

    /// Has clients talk TLS, with certificates of their own.
    #[must_use]
    pub fn with_tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Has servers know [`USER`] by SASL.
    #[must_use]
    pub fn with_sasl(mut self) -> Self {
        self.sasl = true;
        self
    }

    pub(super) fn with_archive(mut self, archive: PathBuf) -> Self {
        self.archive = Some(archive);
        self
    }

    /// Adds a line to the configuration of each server.
    #[must_use]
    pub fn with_line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }
}
