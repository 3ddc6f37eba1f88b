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
}

/// A measure with what only the table shows.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) measure: Measure,
    pub(crate) p99: Option<f64>,
    /// How many of what were measured.
    pub(crate) samples: String,
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

impl Measured {
    /// A count, or a number of bytes.
    pub(crate) fn count(name: &str, value: f64, unit: &str, target: f64, samples: impl Into<String>) -> Self {
        Self {
            measure: Measure {
                name: name.to_owned(),
                value,
                unit: unit.to_owned(),
                target,
                peer: None,
                ok: value <= target,
            },
            p99: None,
            samples: samples.into(),
        }
    }

    /// The p50 of `samples`, with their p99 beside it.
    pub(crate) fn p50(name: &str, samples: &Samples, unit: Unit, target: f64) -> Self {
        let value = samples.p50() * unit.per_second();
        Self {
            p99: Some(samples.p99() * unit.per_second()),
            ..Self::count(name, value, unit.symbol(), target, samples.describe())
        }
    }

    /// The same, with what another library needs for it.
    pub(crate) fn beside(mut self, peer: f64) -> Self {
        self.measure.peer = Some(peer);
        self
    }

    /// The slowest of `samples`, where the target is about each of them.
    pub(crate) fn slowest(name: &str, samples: &Samples, unit: Unit, target: f64) -> Self {
        let value = samples.slowest() * unit.per_second();
        Self::count(name, value, unit.symbol(), target, samples.describe())
    }

    /// The p99 of `samples`, where it has a target too.
    pub(crate) fn p99(name: &str, samples: &Samples, unit: Unit, target: f64) -> Self {
        let value = samples.p99() * unit.per_second();
        Self::count(name, value, unit.symbol(), target, samples.describe())
    }
}
