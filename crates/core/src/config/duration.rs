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

use std::fmt;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserializer, Serializer};

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
    struct Text;

    impl Visitor<'_> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number and a unit in quotes, such as \"15s\"")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Duration, E> {
            parse(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_unit_is_refused_with_an_example() {
        let read = |json: &str| deserialize(&mut serde_json::Deserializer::from_str(json));
        assert_eq!(read("\"250ms\"").unwrap(), Duration::from_millis(250));
        assert_eq!(
            read("15").unwrap_err().to_string(),
            "invalid type: integer `15`, expected a number and a unit in quotes, such as \"15s\" at line 1 column 2"
        );
        assert!(read("\"15\"").unwrap_err().to_string().contains("write a number and a unit"));
    }
}
