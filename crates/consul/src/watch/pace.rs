//! How often a service is asked: a busy one no more often than its answers can be read.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// So many answers may come at once.
const BURST: u32 = 5;
/// Five answers a second, however small.
const SHORTEST: Duration = Duration::from_millis(200);
/// Reading answers takes a fifth of the time, however large.
const SHARE: u32 = 5;

/// A bucket of tokens that fills as fast as answers are read.
#[derive(Debug)]
pub(super) struct Pace {
    tokens: u32,
    refill: Duration,
    /// When the bucket was last as full as `tokens` says.
    at: Instant,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self { tokens: BURST, refill: SHORTEST, at: Instant::now() }
    }

    /// The last answer took so long to be fetched and read.
    pub(super) fn took(&mut self, time: Duration) {
        self.fill();
        self.refill = (time * SHARE).max(SHORTEST);
    }

    /// Waits until the next question may be asked.
    ///
    /// # Cancel safety
    /// Cancel safe: a token is taken when the future is ready.
    pub(super) async fn take(&mut self) {
        self.fill();
        if self.tokens == 0 {
            sleep_until(self.at + self.refill).await;
            self.fill();
        }
        self.tokens = self.tokens.saturating_sub(1);
    }

    fn fill(&mut self) {
        while self.tokens < BURST && self.at.elapsed() >= self.refill {
            self.tokens += 1;
            self.at += self.refill;
        }
        if self.tokens == BURST {
            self.at = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn taken_within(pace: &mut Pace, time: Duration) -> u32 {
        let until = Instant::now() + time;
        let mut count = 0;
        while tokio::time::timeout_at(until, pace.take()).await.is_ok() {
            count += 1;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_changes_are_told_at_once_and_many_five_times_a_second() {
        let mut pace = Pace::new();
        let start = Instant::now();
        for _ in 0..BURST {
            pace.take().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
        let count = taken_within(&mut pace, Duration::from_secs(10)).await;
        assert!((49..=50).contains(&count), "{count}");
    }

    #[tokio::test(start_paused = true)]
    async fn large_answers_are_asked_for_less_often() {
        let mut pace = Pace::new();
        pace.took(Duration::from_millis(500));
        let count = taken_within(&mut pace, Duration::from_secs(25)).await;
        assert!((14..=15).contains(&count), "{count}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_time_saves_no_more_than_a_burst() {
        let mut pace = Pace::new();
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let count = taken_within(&mut pace, Duration::from_millis(100)).await;
        assert_eq!(count, BURST);
    }
}
