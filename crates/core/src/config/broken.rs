//! A configuration that breaks a rule.

use std::error::Error as _;

use crate::Error;

/// A key, and the rule that its value breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// With the tables that it stands in: `tls.ca_file`.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub rule: String,
}

impl Broken {
    /// What `key` breaks.
    pub fn new(key: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { key: key.into(), rule: rule.into() }
    }

    /// What was said of a file that cannot be read, under the key that it names, or else under `key`.
    #[must_use]
    pub fn unreadable(key: &str, error: &Error) -> Self {
        let named = error.context().strip_prefix('`').and_then(|rest| rest.split_once("`: "));
        let (key, rule) = named.unwrap_or((key, error.context()));
        match error.source() {
            Some(source) => Self::new(key, format!("{rule}: {source}")),
            None => Self::new(key, rule),
        }
    }
}

impl From<Broken> for Error {
    fn from(Broken { key, rule }: Broken) -> Self {
        Self::config(format!("`{key}`: {rule}"))
    }
}
