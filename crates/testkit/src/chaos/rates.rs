//! How often a chaotic backend does which mischief.

use std::time::Duration;

/// How often, from 0.0 (never) to 1.0 (always), each mischief happens. All of it is legal: a program over any backend
/// has to live with it.
///
/// ```
/// use callsign_testkit::chaos::Rates;
///
/// let rates = Rates { lost_acknowledgement: 0.2, ..Rates::none() };
/// assert_eq!(rates.delay, 0.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// A call or an item of a watch takes up to [`longest_delay`](Self::longest_delay) longer.
    pub delay: f64,
    /// The longest delay. Below 1 s a quiet watch keeps its 10 s.
    pub longest_delay: Duration,
    /// A call is refused with `Unavailable` before anything has happened.
    pub refused: f64,
    /// A write happens, and its answer is a `Timeout` with an unknown outcome.
    pub lost_acknowledgement: f64,
    /// A receipt comes with a signal that never fires: the backend does not learn of losses by itself.
    pub deaf: f64,
    /// A listing comes once more.
    pub duplicate: f64,
    /// A listing is held back, together with what comes in the meantime; the last one counts.
    pub coalesce: f64,
    /// A listing is preceded by an older one that is marked `Stale`; a `Read::Any` is answered by an older one.
    pub stale: f64,
    /// A watch breaks: an error, and then a whole listing.
    pub broken_watch: f64,
    /// A sign of progress comes without being due.
    pub progress: f64,
}

impl Rates {
    /// No mischief at all.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            delay: 0.0,
            longest_delay: Duration::from_millis(200),
            refused: 0.0,
            lost_acknowledgement: 0.0,
            deaf: 0.0,
            duplicate: 0.0,
            coalesce: 0.0,
            stale: 0.0,
            broken_watch: 0.0,
            progress: 0.0,
        }
    }

    /// All the mischief that a healthy registry may do: what a backend suite must still be passed under. No call
    /// fails.
    #[must_use]
    pub const fn healthy() -> Self {
        Self {
            delay: 0.3,
            deaf: 0.3,
            duplicate: 0.3,
            coalesce: 0.3,
            stale: 0.2,
            broken_watch: 0.1,
            progress: 0.2,
            ..Self::none()
        }
    }

    /// As [`healthy`](Self::healthy), and one call in ten fails, in either way. For simulations.
    #[must_use]
    pub const fn hostile() -> Self {
        Self {
            refused: 0.05,
            lost_acknowledgement: 0.05,
            longest_delay: Duration::from_millis(900),
            ..Self::healthy()
        }
    }
}
