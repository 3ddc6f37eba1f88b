//! What can go wrong, as values a program can act on.
//!
//! An [`Error`] has a *kind* (what happened), says whether trying again may help, names the operation and the
//! backend, and keeps the native error as its source. [`Error::counts_as_outage`] is the one place that decides
//! whether an error speaks against a registry.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::model::Pair;

/// A result whose error is callsign's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The registry cannot be reached, or says that it cannot serve.
    Unavailable,
    /// No answer came in time.
    Timeout,
    /// The record is not there.
    NotFound,
    /// The registry holds a record of this id with a higher pair; see [`Error::holder`].
    Conflict,
    /// The registry does not know these credentials.
    Unauthorized,
    /// The registry knows these credentials and refuses the operation.
    PermissionDenied,
    /// The registry asks for fewer requests; see [`Error::retry_after`].
    RateLimited,
    /// A value handed to callsign breaks a rule. Nothing was sent.
    InvalidInput,
    /// A configuration breaks a rule. Nothing was built.
    ConfigInvalid,
    /// The value is legal but larger than this registry takes.
    LimitExceeded,
    /// This backend cannot do that, whatever the state of its registry.
    Unsupported,
    /// The backend was closed.
    Closed,
    /// The registry answered something that was not understood.
    Unexpected,
}

impl ErrorKind {
    /// The kind in words, as [`Error`] prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Timeout => "timed out",
            Self::NotFound => "not found",
            Self::Conflict => "conflict",
            Self::Unauthorized => "unauthorized",
            Self::PermissionDenied => "permission denied",
            Self::RateLimited => "rate limited",
            Self::InvalidInput => "invalid input",
            Self::ConfigInvalid => "invalid configuration",
            Self::LimitExceeded => "limit exceeded",
            Self::Unsupported => "unsupported",
            Self::Closed => "closed",
            Self::Unexpected => "unexpected answer",
        }
    }

    const fn default_retry(self) -> Retry {
        match self {
            Self::Unavailable | Self::Timeout | Self::RateLimited | Self::NotFound | Self::Unexpected => {
                Retry::Temporary
            }
            Self::Conflict
            | Self::Unauthorized
            | Self::PermissionDenied
            | Self::InvalidInput
            | Self::ConfigInvalid
            | Self::LimitExceeded
            | Self::Unsupported
            | Self::Closed => Retry::Permanent,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether the same call may succeed later without anybody changing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retry {
    /// It will fail again until a person or a program changes something.
    Permanent,
    /// It may succeed later.
    Temporary,
}

/// An error of any callsign operation. One pointer wide.
///
/// `Display` is one lower-case line and leaves the source out; walk [`std::error::Error::source`] for the rest.
///
/// ```
/// use callsign_core::{Error, ErrorKind};
///
/// let error = Error::unavailable("connection refused").with_backend("main").with_operation("register");
/// assert_eq!(error.kind(), ErrorKind::Unavailable);
/// assert_eq!(error.to_string(), "main: register: unavailable: connection refused");
/// assert!(error.counts_as_outage());
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    retry: Retry,
    context: Cow<'static, str>,
    operation: Option<&'static str>,
    backend: Option<Arc<str>>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
    retry_after: Option<Duration>,
    outcome_unknown: bool,
    holder: Option<Pair>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        $(
            $(#[$doc])*
            #[must_use]
            pub fn $name(context: impl Into<Cow<'static, str>>) -> Self {
                Self::new(ErrorKind::$kind, context)
            }
        )*
    };
}

impl Error {
    /// An error of `kind`; `context` says what was tried on what, in lower case, without a full stop.
    #[must_use]
    pub fn new(kind: ErrorKind, context: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            retry: kind.default_retry(),
            context: context.into(),
            operation: None,
            backend: None,
            source: None,
            retry_after: None,
            outcome_unknown: false,
            holder: None,
        }))
    }

    constructors! {
        /// [`ErrorKind::Unavailable`].
        unavailable => Unavailable;
        /// [`ErrorKind::Timeout`].
        timeout => Timeout;
        /// [`ErrorKind::NotFound`].
        not_found => NotFound;
        /// [`ErrorKind::InvalidInput`].
        invalid_input => InvalidInput;
        /// [`ErrorKind::ConfigInvalid`].
        config => ConfigInvalid;
        /// [`ErrorKind::LimitExceeded`].
        limit_exceeded => LimitExceeded;
        /// [`ErrorKind::Unsupported`].
        unsupported => Unsupported;
        /// [`ErrorKind::Closed`].
        closed => Closed;
        /// [`ErrorKind::Unexpected`].
        unexpected => Unexpected;
    }

    /// [`ErrorKind::Conflict`]: the registry's record of this id has the pair `holder`, which is higher.
    #[must_use]
    pub fn conflict(holder: Pair, context: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::new(ErrorKind::Conflict, context);
        error.0.holder = Some(holder);
        error
    }

    /// Names the operation, as the trait calls it: `register`, `list`, ...
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation = Some(operation);
        self
    }

    /// Names the backend by its configured name.
    #[must_use]
    pub fn with_backend(mut self, backend: impl Into<Arc<str>>) -> Self {
        self.0.backend = Some(backend.into());
        self
    }

    /// Keeps the native error.
    #[must_use]
    pub fn with_source(mut self, source: impl StdError + Send + Sync + 'static) -> Self {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Overrides whether the kind is worth trying again.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// The registry said how long to wait.
    #[must_use]
    pub fn with_retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Marks a write that may have happened although no answer came.
    #[must_use]
    pub fn with_outcome_unknown(mut self) -> Self {
        self.0.outcome_unknown = true;
        self
    }

    /// What happened.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again may help.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// What was tried, on what.
    #[must_use]
    pub fn context(&self) -> &str {
        &self.0.context
    }

    /// The operation that failed, where known.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The configured name of the backend that failed, where known.
    #[must_use]
    pub fn backend(&self) -> Option<&str> {
        self.0.backend.as_deref()
    }

    /// How long the registry asked us to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether the write may have happened.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        self.0.outcome_unknown
    }

    /// With [`ErrorKind::Conflict`]: the pair of the record that stands in the way.
    #[must_use]
    pub fn holder(&self) -> Option<Pair> {
        self.0.holder
    }

    /// Whether this error speaks against the registry that caused it.
    ///
    /// Wrong credentials, wrong input, a missing record and "slow down" are answers: a registry that gives them
    /// is there. No connection, no answer in time and a temporary answer that makes no sense are not.
    #[must_use]
    pub fn counts_as_outage(&self) -> bool {
        match self.0.kind {
            ErrorKind::Unavailable | ErrorKind::Timeout => true,
            ErrorKind::Unexpected => self.0.retry == Retry::Temporary,
            _ => false,
        }
    }

    /// Whether this error is for a person to mend: credentials or configuration.
    #[must_use]
    pub fn is_misconfiguration(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Unauthorized | ErrorKind::PermissionDenied | ErrorKind::ConfigInvalid
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(backend) = &self.0.backend {
            write!(f, "{backend}: ")?;
        }
        if let Some(operation) = self.0.operation {
            write!(f, "{operation}: ")?;
        }
        // A broken rule explains itself: "invalid input: the service name is empty" says it twice.
        match self.0.kind {
            ErrorKind::InvalidInput | ErrorKind::ConfigInvalid => f.write_str(&self.0.context),
            kind => write!(f, "{kind}: {}", self.0.context),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.0.kind).field("retry", &self.0.retry).field("message", &self.to_string());
        if self.0.outcome_unknown {
            debug.field("outcome_unknown", &true);
        }
        if let Some(source) = &self.0.source {
            debug.field("source", &source.to_string());
        }
        debug.finish_non_exhaustive()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_of_nothing_is_one_pointer() {
        assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
    }

    #[test]
    fn only_trouble_with_the_registry_counts_as_outage() {
        use ErrorKind::*;
        for (kind, outage, misconfigured) in [
            (Unavailable, true, false),
            (Timeout, true, false),
            (NotFound, false, false),
            (Conflict, false, false),
            (Unauthorized, false, true),
            (PermissionDenied, false, true),
            (RateLimited, false, false),
            (InvalidInput, false, false),
            (ConfigInvalid, false, true),
            (LimitExceeded, false, false),
            (Unsupported, false, false),
            (Closed, false, false),
            (Unexpected, true, false),
        ] {
            let error = Error::new(kind, "x");
            assert_eq!(error.counts_as_outage(), outage, "{kind:?}");
            assert_eq!(error.is_misconfiguration(), misconfigured, "{kind:?}");
        }
        assert!(!Error::unexpected("x").with_retry(Retry::Permanent).counts_as_outage());
    }

    #[test]
    fn display_leaves_the_source_to_the_chain() {
        let error = Error::timeout("no answer within 2s")
            .with_operation("renew")
            .with_backend("main")
            .with_source(std::io::Error::other("socket gone"))
            .with_outcome_unknown();
        assert_eq!(error.to_string(), "main: renew: timed out: no answer within 2s");
        assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("socket gone"));
        assert!(error.outcome_unknown());
    }
}
