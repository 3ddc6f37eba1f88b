//! What happens, in numbers.

use std::time::Duration;

use callsign_core::{MemberState, SwitchReason};

/// The gauge is 1 for the state that the member has, and 0 for the others.
pub(crate) fn member_state(failover: &str, member: &str, state: MemberState) {
    let states = [
        MemberState::Healthy,
        MemberState::Suspect,
        MemberState::Down,
        MemberState::Recovering,
        MemberState::Degraded,
    ];
    for known in states {
        let labels =
            [("failover", failover.to_owned()), ("member", member.to_owned()), ("state", known.to_string())];
        metrics::gauge!("callsign_member_state", &labels).set(if known == state { 1.0 } else { 0.0 });
    }
}

pub(crate) fn switched(failover: &str, from: &str, to: &str, reason: SwitchReason) {
    let labels = [
        ("failover", failover.to_owned()),
        ("from", from.to_owned()),
        ("to", to.to_owned()),
        ("reason", reason.to_string()),
    ];
    metrics::counter!("callsign_switch_total", &labels).increment(1);
    for (member, active) in [(from, 0.0), (to, 1.0)] {
        let labels = [("failover", failover.to_owned()), ("member", member.to_owned())];
        metrics::gauge!("callsign_active", &labels).set(active);
    }
}

pub(crate) fn coverage(failover: &str, member: &str, coverage: f64) {
    let labels = [("failover", failover.to_owned()), ("member", member.to_owned())];
    metrics::gauge!("callsign_coverage_ratio", &labels).set(coverage);
}

pub(crate) fn pending(failover: &str, member: &str, pending: usize) {
    let labels = [("failover", failover.to_owned()), ("member", member.to_owned())];
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    metrics::gauge!("callsign_journal_pending", &labels).set(pending as f64);
}

pub(crate) fn fenced(failover: &str) {
    metrics::counter!("callsign_fenced_total", "failover" => failover.to_owned()).increment(1);
}

pub(crate) fn prevented(failover: &str, removals: usize) {
    let removals = u64::try_from(removals).unwrap_or(u64::MAX);
    metrics::counter!("callsign_resurrect_prevented_total", "failover" => failover.to_owned())
        .increment(removals);
}

pub(crate) fn operation(
    failover: &str,
    member: &str,
    operation: &'static str,
    result: &'static str,
    took: Duration,
) {
    let labels = [
        ("failover", failover.to_owned()),
        ("member", member.to_owned()),
        ("op", operation.to_owned()),
        ("result", result.to_owned()),
    ];
    metrics::counter!("callsign_op_total", &labels).increment(1);
    metrics::histogram!("callsign_op_seconds", &labels).record(took);
}

/// A member is down, `after` it last was well.
pub(crate) fn noticed(failover: &str, member: &str, after: Duration) {
    let labels = [("failover", failover.to_owned()), ("member", member.to_owned())];
    metrics::histogram!("callsign_detect_seconds", &labels).record(after);
}

/// Another member is read and shown, `after` the former one could not be read any more.
pub(crate) fn shown(failover: &str, after: Duration) {
    metrics::histogram!("callsign_switch_seconds", "failover" => failover.to_owned()).record(after);
}

/// How old the oldest of what is shown is.
pub(crate) fn age(failover: &str, age: Duration) {
    metrics::gauge!("callsign_view_age_seconds", "failover" => failover.to_owned()).set(age.as_secs_f64());
}
