//! Durations as text with a unit: `"15s"`, `"250ms"`, `"1h 30m"`.
//!
//! ```
//! # use std::time::Duration;
//! #[derive(serde::Deserialize)]
//! struct Options {
//!     #[serde(with = "callsign_core::config::duration")]
//!     timeout: Duration,
//! }
//! # let options: Options = serde_json::from_str(r#"{"timeout": "250ms"}"#).unwrap();
//! # assert_eq!(options.timeout, Duration::from_millis(250));
//! ```

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

use crate::{Error, Result};

/// Parses a duration with a unit.
///
/// # Errors
/// `InvalidInput`, with the text and examples of what is allowed.
pub fn parse(text: &str) -> Result<Duration> {
    humantime::parse_duration(text).map_err(|error| {
        Error::invalid_input(format!(
            "`{}` is not a duration: write a number and a unit, such as `250ms`, `15s` or `2m`",
            text.escape_debug()
        ))
        .with_source(error)
    })
}

/// Writes a duration as text.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// Reads a duration from text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}
