//! Which versions of ZooKeeper there are, and what they run on.

use std::fmt;
use std::path::PathBuf;

use crate::binaries;

/// A version of ZooKeeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// 3.8.
    V3_8,
    /// 3.9.
    V3_9,
}

impl Version {
    fn name(self) -> &'static str {
        match self {
            Self::V3_8 => "zookeeper-3.8",
            Self::V3_9 => "zookeeper-3.9",
        }
    }

    /// ZooKeeper's own jar, where there is a Java, too, that runs it. The jars that it needs are in the same folder.
    ///
    /// # Errors
    /// Why there is none, or no Java: see [`binaries::find`].
    pub fn jar(self) -> Result<PathBuf, String> {
        java()?;
        binaries::find(self.name(), "usr/share/java/zookeeper.jar")
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What runs it.
///
/// # Errors
/// Why there is none: see [`binaries::find`].
pub(super) fn java() -> Result<PathBuf, String> {
    // Debian names the folder after the machine.
    let machine = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
    binaries::find("java", &format!("usr/lib/jvm/java-17-openjdk-{machine}/bin/java"))
}
