//! Waiting longer after each failure, each process by its own dice.

use std::time::Duration;

/// Exponential back-off with jitter.
///
/// The n-th delay is drawn evenly between `base` and `base * 2^(n+1)`, at most `cap`: the "full jitter" that
/// spreads a herd best (AWS Architecture Blog, *Exponential Backoff And Jitter*, 2015), over a floor so that a
/// lucky draw never becomes a hot loop.
///
/// ```
/// use std::time::Duration;
/// use callsign_core::Backoff;
///
/// let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// let first = backoff.next_delay();
/// assert!((Duration::from_millis(100)..=Duration::from_millis(200)).contains(&first));
/// backoff.reset();
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempt: u32,
}

impl Backoff {
    /// Delays from `base` up to `cap`. A `cap` below `base` counts as `base`.
    #[must_use]
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap: cap.max(base), attempt: 0 }
    }

    /// Draws the next delay. Randomness comes from [`fastrand`]'s thread-local generator, so a simulation that
    /// seeds it is repeatable.
    pub fn next_delay(&mut self) -> Duration {
        self.attempt = self.attempt.saturating_add(1);
        let ceiling =
            self.base.saturating_mul(1_u32.checked_shl(self.attempt).unwrap_or(u32::MAX)).min(self.cap);
        self.base + jitter(ceiling.saturating_sub(self.base))
    }

    /// Starts over. Call it after any success.
    pub fn reset(&mut self) {
        self.attempt = 0;
    }

    /// How many delays were drawn since the last reset.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
}

/// A duration drawn evenly from zero to `upper`.
#[must_use]
pub fn jitter(upper: Duration) -> Duration {
    upper.mul_f64(fastrand::f64())
}

/// `duration` give or take `fraction` of it (0.2 for ±20 %).
#[must_use]
pub fn spread(duration: Duration, fraction: f64) -> Duration {
    let fraction = fraction.clamp(0.0, 1.0);
    duration.mul_f64(1.0 - fraction) + jitter(duration.mul_f64(2.0 * fraction))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_millis(100);
    const CAP: Duration = Duration::from_secs(5);

    #[test]
    fn delays_stay_between_base_and_a_doubling_ceiling_below_the_cap() {
        for _ in 0..100 {
            let mut backoff = Backoff::new(BASE, CAP);
            for attempt in 1..80_u32 {
                let ceiling = BASE.saturating_mul(2_u32.saturating_pow(attempt)).min(CAP);
                let delay = backoff.next_delay();
                assert!(delay >= BASE && delay <= ceiling, "attempt {attempt}: {delay:?}");
            }
        }
    }

    #[test]
    fn a_success_starts_over() {
        let mut backoff = Backoff::new(BASE, CAP);
        for _ in 0..20 {
            backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay() <= BASE * 2);
    }

    #[test]
    fn spread_stays_within_its_fraction() {
        for _ in 0..1000 {
            let drawn = spread(Duration::from_secs(100), 0.2);
            assert!((Duration::from_secs(80)..=Duration::from_secs(120)).contains(&drawn));
        }
    }
}
