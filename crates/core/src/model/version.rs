//! The version of the software an instance runs.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::names;
use crate::{Error, Result};

/// A version: the text as its owner wrote it and, where it parses, the semantic version it means. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
// One `Arc` for both: instances of a service have few versions among them, and whoever decodes many can share one.
pub struct Version(Arc<Parsed>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parsed {
    raw: Box<str>,
    semantic: Option<semver::Version>,
}

impl Version {
    /// Keeps `raw` and tries to understand it; a leading `v` is forgiven.
    ///
    /// # Errors
    /// `InvalidInput` if `raw` is empty, longer than 255 bytes or has control characters.
    pub fn new(raw: impl AsRef<str>) -> Result<Self> {
        let raw = raw.as_ref();
        names::check("version", raw)?;
        let semantic = semver::Version::parse(raw.strip_prefix('v').unwrap_or(raw)).ok();
        Ok(Self(Arc::new(Parsed { raw: raw.into(), semantic })))
    }

    /// The text as its owner wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.raw
    }

    /// The semantic version, where the text is one.
    #[must_use]
    pub fn semantic(&self) -> Option<&semver::Version> {
        self.0.semantic.as_ref()
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Version {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<String> for Version {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> Self {
        version.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_text_survives_whether_or_not_it_is_semantic() {
        for (raw, semantic) in [("1.2.3", true), ("v1.2.3-rc.1", true), ("2024-06", false), ("latest", false)]
        {
            let version = Version::new(raw).unwrap();
            assert_eq!(version.as_str(), raw);
            assert_eq!(version.semantic().is_some(), semantic, "{raw}");
        }
    }
}
