//! The first part of a pair.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

static LAST: AtomicU64 = AtomicU64::new(0);

/// Microseconds since 1970, and higher than every incarnation this process has used: a clock that is set back does
/// not matter while the process lives, and the registrar raises it above what the registry holds after that.
pub(crate) fn next(now: SystemTime) -> u64 {
    next_after(&LAST, now)
}

fn next_after(last: &AtomicU64, now: SystemTime) -> u64 {
    let micros = now
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
    let raise = |last: u64| micros.max(last.saturating_add(1));
    // The update never refuses, so either way this is what was there before it.
    let before = last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(raise(last)));
    raise(before.unwrap_or_else(|last| last))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_set_back_an_hour_does_not_lower_the_incarnation() {
        let last = AtomicU64::new(0);
        let now = SystemTime::now();
        let first = next_after(&last, now);
        let second = next_after(&last, now - Duration::from_secs(3600));
        let third = next_after(&last, now + Duration::from_secs(3600));
        assert!(first < second && second < third);
    }
}
