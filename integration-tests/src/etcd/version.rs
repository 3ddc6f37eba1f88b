//! Which etcd.

use std::fmt;
use std::path::PathBuf;

use crate::binaries;

/// A version of etcd that tests run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Version {
    /// 3.4, as in Debian 12.
    V3_4,
    /// 3.5, as in Debian 13.
    V3_5,
    /// What Debian's unstable suite has: a later 3.5 or above.
    Sid,
}

impl Version {
    /// The name of the server in the cache and in variables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V3_4 => "etcd-3.4",
            Self::V3_5 => "etcd-3.5",
            Self::Sid => "etcd-sid",
        }
    }

    /// The program.
    ///
    /// # Errors
    /// Why there is none: see [`binaries::find`].
    pub fn program(self) -> Result<PathBuf, String> {
        binaries::find(self.name(), "usr/bin/etcd")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
