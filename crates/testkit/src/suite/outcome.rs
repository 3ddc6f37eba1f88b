//! How a case ends before its end.

use std::error::Error as StdError;
use std::fmt;
use std::panic::Location;

use callsign_core::{Error, ErrorKind};

/// What a case, and each step of one, returns.
pub type CaseResult<T = ()> = Result<T, Stop>;

/// Why a case ended before its end.
#[derive(Debug, Clone)]
pub enum Stop {
    /// The promise is broken.
    Failed(Failure),
    /// The case cannot run here, for this reason.
    Ignored(String),
    /// The registry cannot be used here and now, for this reason: the case is ignored, or fails where
    /// `CALLSIGN_REQUIRE` names the subject.
    Missing(String),
}

/// A broken promise: what was seen, and the line that saw it.
#[derive(Debug, Clone)]
pub struct Failure {
    message: String,
    at: &'static Location<'static>,
}

impl Stop {
    /// The promise is broken, as `message` says.
    #[must_use]
    #[track_caller]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::failed_at(Location::caller(), message)
    }

    pub(crate) fn failed_at(at: &'static Location<'static>, message: impl Into<String>) -> Self {
        Self::Failed(Failure { message: message.into(), at })
    }

    /// What a harness answered to the wish for a fault: `Unsupported` means that the case cannot run.
    #[track_caller]
    pub(crate) fn of_harness(error: &Error) -> Self {
        if error.kind() == ErrorKind::Unsupported {
            Self::Ignored(error.context().to_owned())
        } else {
            Self::failed(format!("the harness failed: {}", chain(error)))
        }
    }
}

impl From<Error> for Stop {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::failed(format!("unexpected error: {}", chain(&error)))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.at.file(), self.at.line(), self.message)
    }
}

/// An error with all that caused it, in one line.
#[must_use]
pub fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Ends the case as failed.
macro_rules! fail {
    ($($message:tt)+) => {
        return Err($crate::suite::Stop::failed(format!($($message)+)))
    };
}

/// Ends the case as failed unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            $crate::suite::outcome::fail!($($message)+);
        }
    };
}

/// Ends the case as failed unless the two are equal.
macro_rules! ensure_eq {
    ($found:expr, $expected:expr, $($message:tt)+) => {
        match (&$found, &$expected) {
            (found, expected) if found == expected => {}
            (found, expected) => $crate::suite::outcome::fail!(
                "{}\n  expected: {expected:?}\n     found: {found:?}",
                format_args!($($message)+)
            ),
        }
    };
}

pub(crate) use {ensure, ensure_eq, fail};
