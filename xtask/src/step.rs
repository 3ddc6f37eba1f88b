//! A step of `cargo xtask test`, as data, and what came of it.

use crate::counts::Counts;
use crate::process::Invocation;
use crate::servers;
use crate::session::Session;

#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
}

#[derive(Debug)]
pub(crate) enum Work {
    /// Each must succeed; a failed one does not keep the next from running.
    Commands(Vec<Invocation>),
    /// As commands, but what they print are test results.
    Tests {
        commands: Vec<Invocation>,
        at_least_one: bool,
    },
    /// As tests; they start real servers, and are told where those are. Once `build` has succeeded the lanes run at the
    /// same time, and the tests of each one after the other.
    RealServers {
        build: Vec<Invocation>,
        lanes: Vec<Vec<Invocation>>,
    },
    /// Fetches the servers that are missing.
    Servers,
    /// Each program of the examples package must end well within the time limit.
    Examples {
        programs: Vec<String>,
    },
    /// The documentation against the checkout.
    Drift,
    /// Licences, bans and sources of the dependencies.
    Dependencies,
    /// Known vulnerabilities of the dependencies.
    Advisories,
    Spelling,
    /// What the step needs does not exist: it fails with this reason.
    Missing(String),
}

impl Work {
    /// Whether the output says which tests ran, and on what: that is what CI's log is read for.
    pub(crate) fn prints_tests(&self) -> bool {
        matches!(self, Self::Tests { .. } | Self::Servers | Self::RealServers { .. } | Self::Examples { .. })
    }

    /// Whether somebody who waits wants to see what goes on: downloads, and minutes of starting and killing servers.
    pub(crate) fn takes_its_time(&self, session: &Session) -> bool {
        match self {
            Self::Servers => servers::any_missing(&session.cache),
            Self::RealServers { .. } => true,
            _ => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(String),
    Ignored(String),
}

/// What came of a step's work.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) outcome: Outcome,
    /// Zero for a step that is one check and no tests.
    pub(crate) counts: Counts,
    pub(crate) output: String,
}

impl Report {
    pub(crate) fn new(outcome: Outcome, output: impl Into<String>) -> Self {
        Self { outcome, counts: Counts::default(), output: output.into() }
    }

    pub(crate) fn with_counts(mut self, counts: Counts) -> Self {
        self.counts = counts;
        self
    }
}
