//! Real time.
#![expect(clippy::disallowed_types, reason = "a bench measures the machine, and nothing here pauses time")]

use std::time::{Duration, Instant};

/// Runs from when it is started.
#[derive(Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
