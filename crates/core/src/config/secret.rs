//! Values that are never printed.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

/// A password, token or key. Neither `Debug` nor serialization shows it; [`expose`](Self::expose) does.
///
/// In a configuration it is text; a number is refused there rather than read wrongly (`00012345` would lose its
/// zeros), and the `callsign` crate keeps numbers from the environment as text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps `value`.
    #[must_use]
    pub fn new(value: impl Into<Box<str>>) -> Self {
        Self(value.into())
    }

    /// Reads a secret from a file and takes one line end off its end.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming `key` and the path, when the file cannot be read.
    pub fn from_file(key: &str, path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::config(format!("`{key}`: the file {} cannot be read", path.display())).with_source(error)
        })?;
        Ok(Self::new(text.strip_suffix('\n').map_or(&*text, |line| line.strip_suffix('\r').unwrap_or(line))))
    }

    /// The value itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"***\"")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl serde::de::Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text in quotes")
            }

            fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Secret, E> {
                Ok(Secret::new(value))
            }

            // The value that serde would put into a type error is the secret itself.
            fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<Secret, E> {
                Err(E::custom("the secret is not text: put it in quotes"))
            }

            fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<Secret, E> {
                Err(E::custom("the secret is a number: put it in quotes"))
            }

            fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<Secret, E> {
                Err(E::custom("the secret is a number: put it in quotes"))
            }

            fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Secret, E> {
                Err(E::custom("the secret is a number: put it in quotes"))
            }
        }

        deserializer.deserialize_any(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let secret: Secret = serde_json::from_str("\"hunter2\"").unwrap();
        assert_eq!(secret.expose(), "hunter2");
        let number = serde_json::from_str::<Secret>("1234567").unwrap_err().to_string();
        for shown in [format!("{secret:?}"), serde_json::to_string(&secret).unwrap(), number] {
            assert!(!shown.contains("hunter2") && !shown.contains("1234567"), "{shown}");
        }
    }
}
