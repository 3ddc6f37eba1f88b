//! What the owner says of an instance, and what a registry's checks say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

macro_rules! words {
    ($name:ident, $what:literal, { $($variant:ident => $word:literal),* $(,)? }) => {
        impl $name {
            /// The word that stands for it on the wire and on screens.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(Error::invalid_input(format!(
                        concat!("the ", $what, " `{}` is unknown: one of {} is allowed"),
                        text.escape_debug(),
                        [$($word),*].join(", ")
                    ))),
                }
            }
        }
    };
}

/// What the owner says of its instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Running, not ready for traffic yet.
    Starting,
    /// Ready for traffic.
    #[default]
    Up,
    /// About to leave: finishes what it has, wants nothing new. Its removal is announced by this.
    Draining,
    /// Taken out by its owner, and staying registered.
    OutOfService,
}

words!(Status, "status", {
    Starting => "starting",
    Up => "up",
    Draining => "draining",
    OutOfService => "out_of_service",
});

/// What the registry's checks say of an instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// Nobody has checked.
    #[default]
    Unknown,
    /// Checks pass.
    Passing,
    /// Checks pass with a complaint.
    Warning,
    /// Checks fail.
    Critical,
}

words!(Health, "health", {
    Unknown => "unknown",
    Passing => "passing",
    Warning => "warning",
    Critical => "critical",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_and_an_unknown_one_lists_the_known() {
        for status in [Status::Starting, Status::Up, Status::Draining, Status::OutOfService] {
            assert_eq!(status.as_str().parse::<Status>().unwrap(), status);
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
        }
        for health in [Health::Unknown, Health::Passing, Health::Warning, Health::Critical] {
            assert_eq!(health.as_str().parse::<Health>().unwrap(), health);
            assert_eq!(serde_json::to_string(&health).unwrap(), format!("\"{health}\""));
        }
        assert_eq!(
            "down".parse::<Status>().unwrap_err().to_string(),
            "the status `down` is unknown: one of starting, up, draining, out_of_service is allowed"
        );
    }
}
