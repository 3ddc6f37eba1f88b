//! One number, and what it is to be compared with.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::samples::Samples;

/// As it stands in the report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Measure {
    /// `area.measure`.
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// The most that `value` may be.
    pub(crate) target: f64,
    /// What another library needs for the same, measured in the same run.
    pub(crate) peer: Option<f64>,
    /// Whether `value` meets `target`.
    pub(crate) ok: bool,
    /// How many of what were measured.
    #[serde(default)]
    pub(crate) samples: String,
    /// How they are spread, where each was measured.
    #[serde(default)]
    pub(crate) distribution: Option<Distribution>,
}

/// How samples are spread, in the unit of their measure. A percentile is a sample that so many percent do not exceed: the
/// p99 of fewer than a hundred is the slowest.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Distribution {
    pub(crate) n: usize,
    pub(crate) min: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// Why a group cannot be measured here: no failure, and no measure either.
#[derive(Debug)]
pub(crate) struct Skipped(pub(crate) String);

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skipped {}

/// How samples, which are in seconds, are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    Nanoseconds,
    Milliseconds,
    Seconds,
}

impl Unit {
    fn symbol(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
        }
    }

    pub(crate) fn per_second(self) -> f64 {
        match self {
            Self::Nanoseconds => 1e9,
            Self::Milliseconds => 1e3,
            Self::Seconds => 1.0,
        }
    }
}

impl Measure {
    /// A count, or a number of bytes.
    pub(crate) fn count(name: &str, value: f64, unit: &str, target: f64, samples: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            target,
            peer: None,
            ok: value <= target,
            samples: samples.into(),
            distribution: None,
        }
    }

    /// The p50 of `samples`.
    pub(crate) fn p50(name: &str, samples: &Samples, unit: Unit, target: f64) -> Self {
        Self::of(name, samples, unit, target, |spread| spread.p50)
    }

    /// The p99 of `samples`, where it has a target too.
    pub(crate) fn p99(name: &str, samples: &Samples, unit: Unit, target: f64) -> Self {
        Self::of(name, samples, unit, target, |spread| spread.p99)
    }

    /// The slowest of `samples`, where the target is about each of them.
    pub(crate) fn slowest(name: &str, samples: &Samples, unit: Unit, target: f64) -> Self {
        Self::of(name, samples, unit, target, |spread| spread.max)
    }

    fn of(
        name: &str,
        samples: &Samples,
        unit: Unit,
        target: f64,
        value: impl FnOnce(&Distribution) -> f64,
    ) -> Self {
        let distribution = samples.distribution(unit);
        let measure = Self::count(name, value(&distribution), unit.symbol(), target, samples.describe());
        Self { distribution: Some(distribution), ..measure }
    }

    /// The same, with what another library needs for it.
    pub(crate) fn beside(mut self, peer: f64) -> Self {
        self.peer = Some(peer);
        self
    }
}
