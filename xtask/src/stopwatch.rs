//! Wall-clock time for durations and time limits.
#![allow(
    clippy::disallowed_types,
    reason = "xtask times real processes: there is no runtime whose clock a test pauses"
)]

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
