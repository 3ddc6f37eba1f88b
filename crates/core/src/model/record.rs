//! What is written into a registry.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Instance, InstanceKey, Pair};
use crate::config::duration;
use crate::{Error, Result};

/// How long a record lives without being renewed: 2 s to 1 h, 15 s unless told.
///
/// In configuration it is text with a unit: `"15s"`, `"2m"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ttl(Duration);

impl Ttl {
    /// The shortest ttl.
    pub const MIN: Duration = Duration::from_secs(2);
    /// The longest ttl.
    pub const MAX: Duration = Duration::from_secs(3600);

    /// Checks the range.
    ///
    /// # Errors
    /// `InvalidInput` below 2 s and above 1 h.
    pub fn new(ttl: Duration) -> Result<Self> {
        if (Self::MIN..=Self::MAX).contains(&ttl) {
            Ok(Self(ttl))
        } else {
            Err(Error::invalid_input(format!(
                "the ttl `{}` is out of range: 2s to 1h are allowed",
                humantime::format_duration(ttl)
            )))
        }
    }

    /// `seconds` seconds.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn from_secs(seconds: u64) -> Result<Self> {
        Self::new(Duration::from_secs(seconds))
    }

    /// The ttl as a duration.
    #[must_use]
    pub const fn get(self) -> Duration {
        self.0
    }
}

impl Default for Ttl {
    fn default() -> Self {
        Self(Duration::from_secs(15))
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Debug for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Ttl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        duration::parse(text).and_then(Self::new)
    }
}

impl TryFrom<String> for Ttl {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl TryFrom<Duration> for Ttl {
    type Error = Error;

    fn try_from(ttl: Duration) -> Result<Self> {
        Self::new(ttl)
    }
}

impl From<Ttl> for String {
    fn from(ttl: Ttl) -> Self {
        ttl.to_string()
    }
}

/// An instance and how long it lives without being renewed. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// What is registered.
    pub instance: Arc<Instance>,
    /// How long it lives without being renewed.
    pub ttl: Ttl,
}

impl Record {
    /// A record of `instance` that lives for `ttl`.
    #[must_use]
    pub fn new(instance: impl Into<Arc<Instance>>, ttl: Ttl) -> Self {
        Self { instance: instance.into(), ttl }
    }

    /// Service and id.
    #[must_use]
    pub fn key(&self) -> &InstanceKey {
        &self.instance.key
    }

    /// What orders the records of this id.
    #[must_use]
    pub fn pair(&self) -> Pair {
        self.instance.pair()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_outside_two_seconds_to_one_hour_is_refused() {
        for (text, shown) in [("0s", "0s"), ("1ms", "1ms"), ("1999ms", "1s 999ms"), ("61m", "1h 1m")] {
            assert_eq!(
                text.parse::<Ttl>().unwrap_err().to_string(),
                format!("the ttl `{shown}` is out of range: 2s to 1h are allowed")
            );
        }
        for text in ["2s", "15s", "1h", "90s"] {
            let ttl = text.parse::<Ttl>().unwrap();
            assert_eq!(ttl.to_string().parse::<Ttl>().unwrap(), ttl);
        }
    }
}
