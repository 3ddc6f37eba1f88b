//! Repeating what is measured, and what is said of the results.

use std::time::Duration;

use crate::clock::Stopwatch;
use crate::measure::{Distribution, Unit};

/// Calls per batch: the 50 ns that reading the clock takes do not show, and few batches are interrupted.
const BATCH: u32 = 1_000;
const BATCHES: usize = 5_000;
const WARM_UP: usize = 500;

/// What was measured, again and again.
#[derive(Debug)]
pub(crate) struct Samples {
    /// In seconds, sorted.
    seconds: Vec<f64>,
    /// What one of them is.
    what: String,
}

impl Samples {
    /// `what`: what was measured each time, for the table.
    pub(crate) fn new(durations: impl IntoIterator<Item = Duration>, what: impl Into<String>) -> Self {
        let mut seconds: Vec<_> = durations.into_iter().map(|it| it.as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        Self { seconds, what: what.into() }
    }

    /// The mean of each of many batches of calls: for what takes nanoseconds.
    pub(crate) fn of_batches(mut call: impl FnMut()) -> Self {
        let batch = || {
            let clock = Stopwatch::start();
            for _ in 0..BATCH {
                call();
            }
            clock.elapsed()
        };
        let durations: Vec<_> = std::iter::repeat_with(batch).take(WARM_UP + BATCHES).skip(WARM_UP).collect();
        let mut samples = Self::new(durations, format!("means of {BATCH} calls"));
        for seconds in &mut samples.seconds {
            *seconds /= f64::from(BATCH);
        }
        samples
    }

    /// How many there are, and of what.
    pub(crate) fn describe(&self) -> String {
        format!("{} {}", self.seconds.len(), self.what)
    }

    pub(crate) fn p50(&self) -> f64 {
        self.percentile(50)
    }

    /// Of less than a hundred samples this is the slowest.
    pub(crate) fn p99(&self) -> f64 {
        self.percentile(99)
    }

    pub(crate) fn slowest(&self) -> f64 {
        self.percentile(100)
    }

    /// How they are spread, in `unit`.
    pub(crate) fn distribution(&self, unit: Unit) -> Distribution {
        let at = |percent| self.percentile(percent) * unit.per_second();
        Distribution {
            n: self.seconds.len(),
            min: at(0),
            p50: at(50),
            p90: at(90),
            p99: at(99),
            max: at(100),
        }
    }

    /// The smallest sample that so many percent of the samples do not exceed; 0 of none.
    fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.seconds.len() * percent).div_ceil(100);
        self.seconds.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(millis: impl IntoIterator<Item = u64>) -> Samples {
        Samples::new(millis.into_iter().map(Duration::from_millis), "things")
    }

    #[test]
    fn a_percentile_is_a_sample_that_was_measured() {
        let hundred = samples((1..=100).rev());
        assert_eq!((hundred.p50(), hundred.p99()), (0.050, 0.099));
        let few = samples([3, 1, 2]);
        assert_eq!((few.p50(), few.p99()), (0.002, 0.003));
        assert_eq!(samples([]).p50().total_cmp(&0.0), std::cmp::Ordering::Equal);
        assert_eq!(few.describe(), "3 things");
        assert_eq!(
            hundred.distribution(Unit::Milliseconds),
            Distribution { n: 100, min: 1.0, p50: 50.0, p90: 90.0, p99: 99.0, max: 100.0 }
        );
    }
}
