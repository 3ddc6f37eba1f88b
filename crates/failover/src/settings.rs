//! What can be set, with defaults and limits.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use callsign_core::config::{Broken, duration};
use serde::{Deserialize, Serialize};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// How several registries behave as one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Topology {
    /// Everything is written to all members; the preferred one is read, and the next when it is away.
    #[default]
    Mirror,
    /// One member is written and read; when it is away, everything is registered again at the next.
    Standby,
    /// Everything is written to all members, and what any of them lists is there.
    Union,
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mirror => "mirror",
            Self::Standby => "standby",
            Self::Union => "union",
        })
    }
}

/// The keys of a table of type `failover`, with their defaults. Checked when a [`Failover`](crate::Failover) is built.
///
/// ```
/// use std::time::Duration;
/// use callsign_failover::{Settings, Topology};
///
/// let settings = Settings::default().with_topology(Topology::Union).with_read_timeout(Duration::from_secs(2));
/// assert_eq!(settings.coverage_min, 0.9);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The names of the members in a configuration, in order of preference. A program hands its members over
    /// itself, and leaves this empty.
    pub members: Vec<String>,
    /// How the members behave as one. `mirror`.
    pub topology: Topology,
    /// The folder where removals are remembered that a member has not heard of. None: they are forgotten when the
    /// process ends.
    pub journal: Option<PathBuf>,
    /// How long a member may take to be read before the next one is asked: 50 ms to 60 s. 1 s.
    #[serde(with = "duration")]
    pub read_timeout: Duration,
    /// How long a write waits for a member while none has taken it: 50 ms to 60 s. 2 s.
    #[serde(with = "duration")]
    pub write_timeout: Duration,
    /// How long a write that one member has proven waits for the others: up to 10 s. 200 ms.
    #[serde(with = "duration")]
    pub fanout_grace: Duration,
    /// How long a probe may take: 50 ms to 10 s. 800 ms.
    #[serde(with = "duration")]
    pub probe_timeout: Duration,
    /// How often a healthy member is probed: 100 ms to 60 s. 1 s.
    #[serde(with = "duration")]
    pub probe_interval: Duration,
    /// How often a suspect member is probed: 50 ms to `probe_interval`. 250 ms.
    #[serde(with = "duration")]
    pub suspect_interval: Duration,
    /// How long, at most, a member that is down is left alone: `probe_interval` to 5 min. 10 s.
    #[serde(with = "duration")]
    pub down_interval: Duration,
    /// The probes of one member in a second, on average: 1 to 100. 2; ten times as many in a row when it is suspect.
    pub probe_budget: u32,
    /// After how many failures in a row a suspect member is down: 1 to 100. 3.
    pub suspect_failures: u32,
    /// After how long without a success a suspect member is down: 100 ms to 5 min. 3 s.
    #[serde(with = "duration")]
    pub suspect_time: Duration,
    /// After how many answers in a row that prove nothing a member is degraded: 1 to 100. 2.
    pub degraded_after: u32,
    /// After how many proofs in a row a member that was away is recovering: 1 to 100. 3.
    pub recover_successes: u32,
    /// How long a member that was away has to be whole before it counts as healthy: up to `failback_dwell_max`. 30 s,
    /// or the longest ttl and 5 s where that is more. Doubles with each time it was left within 10 min.
    #[serde(with = "duration")]
    pub failback_dwell: Duration,
    /// The longest such time: up to 1 h. 10 min.
    #[serde(with = "duration")]
    pub failback_dwell_max: Duration,
    /// How often within 10 min the preferred member is returned to: 0 (never) to 100. 3.
    pub max_failbacks: u32,
    /// The share of what is shown that the preferred member must list before it is returned to: 0.0 to 1.0. 0.9.
    pub coverage_min: f64,
    /// How long a member that proves nothing is read on while another one lacks too much: up to 1 h. 60 s.
    #[serde(with = "duration")]
    pub max_degraded_age: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            members: Vec::new(),
            topology: Topology::default(),
            journal: None,
            read_timeout: SECOND,
            write_timeout: SECOND * 2,
            fanout_grace: MS * 200,
            probe_timeout: MS * 800,
            probe_interval: SECOND,
            suspect_interval: MS * 250,
            down_interval: SECOND * 10,
            probe_budget: 2,
            suspect_failures: 3,
            suspect_time: SECOND * 3,
            degraded_after: 2,
            recover_successes: 3,
            failback_dwell: SECOND * 30,
            failback_dwell_max: SECOND * 600,
            max_failbacks: 3,
            coverage_min: 0.9,
            max_degraded_age: SECOND * 60,
        }
    }
}

macro_rules! with {
    ($($(#[$doc:meta])* $name:ident($field:ident: $type:ty);)*) => {$(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $field: $type) -> Self {
            self.$field = $field;
            self
        }
    )*};
}

impl Settings {
    with! {
        /// Sets [`topology`](Self::topology).
        with_topology(topology: Topology);
        /// Sets [`read_timeout`](Self::read_timeout).
        with_read_timeout(read_timeout: Duration);
        /// Sets [`write_timeout`](Self::write_timeout).
        with_write_timeout(write_timeout: Duration);
        /// Sets [`fanout_grace`](Self::fanout_grace).
        with_fanout_grace(fanout_grace: Duration);
        /// Sets [`probe_timeout`](Self::probe_timeout).
        with_probe_timeout(probe_timeout: Duration);
        /// Sets [`probe_interval`](Self::probe_interval).
        with_probe_interval(probe_interval: Duration);
        /// Sets [`suspect_interval`](Self::suspect_interval).
        with_suspect_interval(suspect_interval: Duration);
        /// Sets [`down_interval`](Self::down_interval).
        with_down_interval(down_interval: Duration);
        /// Sets [`probe_budget`](Self::probe_budget).
        with_probe_budget(probe_budget: u32);
        /// Sets [`suspect_failures`](Self::suspect_failures).
        with_suspect_failures(suspect_failures: u32);
        /// Sets [`suspect_time`](Self::suspect_time).
        with_suspect_time(suspect_time: Duration);
        /// Sets [`degraded_after`](Self::degraded_after).
        with_degraded_after(degraded_after: u32);
        /// Sets [`recover_successes`](Self::recover_successes).
        with_recover_successes(recover_successes: u32);
        /// Sets [`failback_dwell`](Self::failback_dwell).
        with_failback_dwell(failback_dwell: Duration);
        /// Sets [`failback_dwell_max`](Self::failback_dwell_max).
        with_failback_dwell_max(failback_dwell_max: Duration);
        /// Sets [`max_failbacks`](Self::max_failbacks).
        with_max_failbacks(max_failbacks: u32);
        /// Sets [`coverage_min`](Self::coverage_min).
        with_coverage_min(coverage_min: f64);
        /// Sets [`max_degraded_age`](Self::max_degraded_age).
        with_max_degraded_age(max_degraded_age: Duration);
    }

    /// Checks every range.
    ///
    /// # Errors
    /// The first key that breaks a rule.
    pub(crate) fn check(&self) -> Result<(), Broken> {
        let (minute, hour) = (SECOND * 60, SECOND * 3600);
        time("read_timeout", self.read_timeout, MS * 50..=minute)?;
        time("write_timeout", self.write_timeout, MS * 50..=minute)?;
        time("fanout_grace", self.fanout_grace, Duration::ZERO..=SECOND * 10)?;
        time("probe_timeout", self.probe_timeout, MS * 50..=SECOND * 10)?;
        time("probe_interval", self.probe_interval, MS * 100..=minute)?;
        time("suspect_interval", self.suspect_interval, MS * 50..=self.probe_interval)?;
        time("down_interval", self.down_interval, self.probe_interval..=minute * 5)?;
        time("suspect_time", self.suspect_time, MS * 100..=minute * 5)?;
        time("failback_dwell_max", self.failback_dwell_max, Duration::ZERO..=hour)?;
        time("failback_dwell", self.failback_dwell, Duration::ZERO..=self.failback_dwell_max)?;
        time("max_degraded_age", self.max_degraded_age, Duration::ZERO..=hour)?;
        count("probe_budget", self.probe_budget, 1..=100)?;
        count("suspect_failures", self.suspect_failures, 1..=100)?;
        count("degraded_after", self.degraded_after, 1..=100)?;
        count("recover_successes", self.recover_successes, 1..=100)?;
        count("max_failbacks", self.max_failbacks, 0..=100)?;
        if !(0.0..=1.0).contains(&self.coverage_min) {
            let rule = format!("`{}` is out of range: 0.0 to 1.0 are allowed", self.coverage_min);
            return Err(Broken::new("coverage_min", rule));
        }
        Ok(())
    }
}

fn time(key: &str, value: Duration, allowed: RangeInclusive<Duration>) -> Result<(), Broken> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (from, to) = allowed.into_inner();
    Err(Broken::new(key, format!("`{value:?}` is out of range: {from:?} to {to:?} are allowed")))
}

fn count(key: &str, value: u32, allowed: RangeInclusive<u32>) -> Result<(), Broken> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (from, to) = allowed.into_inner();
    Err(Broken::new(key, format!("`{value}` is out of range: {from} to {to} are allowed")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_threshold_is_checked_and_named() {
        let broken = |settings: Settings| settings.check().unwrap_err().key;
        let settings = Settings::default;
        assert!(settings().check().is_ok());
        let hours = SECOND * 7200;
        assert_eq!(broken(settings().with_read_timeout(MS)), "read_timeout");
        assert_eq!(broken(settings().with_write_timeout(MS)), "write_timeout");
        assert_eq!(broken(settings().with_fanout_grace(hours)), "fanout_grace");
        assert_eq!(broken(settings().with_probe_timeout(MS)), "probe_timeout");
        assert_eq!(broken(settings().with_probe_interval(MS)), "probe_interval");
        assert_eq!(broken(settings().with_suspect_interval(SECOND * 2)), "suspect_interval");
        assert_eq!(broken(settings().with_down_interval(MS * 999)), "down_interval");
        assert_eq!(broken(settings().with_probe_budget(0)), "probe_budget");
        assert_eq!(broken(settings().with_suspect_failures(0)), "suspect_failures");
        assert_eq!(broken(settings().with_suspect_time(MS)), "suspect_time");
        assert_eq!(broken(settings().with_degraded_after(0)), "degraded_after");
        assert_eq!(broken(settings().with_recover_successes(101)), "recover_successes");
        assert_eq!(broken(settings().with_failback_dwell(SECOND * 601)), "failback_dwell");
        assert_eq!(broken(settings().with_failback_dwell_max(hours)), "failback_dwell_max");
        assert_eq!(broken(settings().with_max_failbacks(101)), "max_failbacks");
        assert_eq!(broken(settings().with_coverage_min(f64::NAN)), "coverage_min");
        assert_eq!(broken(settings().with_max_degraded_age(hours)), "max_degraded_age");
    }
}
