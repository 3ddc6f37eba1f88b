//! What a native error means: one table.
//!
//! What a node answers about itself (it is not there, it is there already, it has another version) is no failure to
//! whoever asked, and is looked at before this.

use std::time::Duration;

use callsign_core::{Error, ErrorKind, Retry};
use zookeeper_client as zk;

/// What was tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// What was tried, on what: `write /callsign/v1/default/default/services/orders/o-1`. Follows upon "cannot".
    pub(crate) subject: &'a str,
    /// Whether it changes something, and may have done so although no answer came.
    pub(crate) write: bool,
}

impl<'a> Call<'a> {
    pub(crate) const fn read(subject: &'a str) -> Self {
        Self { subject, write: false }
    }

    pub(crate) const fn write(subject: &'a str) -> Self {
        Self { subject, write: true }
    }
}

/// What is known of a write that failed so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It has not happened.
    Not,
    /// It may have happened, or happen yet.
    Maybe,
}

/// What `error` means.
pub(crate) fn judge(error: zk::Error, call: Call<'_>) -> Error {
    use ErrorKind::{
        ConfigInvalid, InvalidInput, LimitExceeded, PermissionDenied, RateLimited, Timeout, Unauthorized,
        Unavailable, Unexpected, Unsupported,
    };
    use Outcome::{Maybe, Not};

    let (kind, outcome, advice) = match &error {
        // A connection that is lost shows as any of these: the second one carries the system's own error, and "no
        // response from connection" of a server that is silent.
        zk::Error::ConnectionLoss
        | zk::Error::Custom(_)
        | zk::Error::SessionExpired
        | zk::Error::SessionMoved => (Unavailable, Maybe, ""),
        zk::Error::Timeout => (Timeout, Not, ""),
        zk::Error::NoHosts | zk::Error::ClientClosed => (Unavailable, Not, ""),
        zk::Error::AuthFailed => (Unauthorized, Not, "check `login`, `username` and `password`"),
        zk::Error::NotReadOnly => {
            (Unavailable, Not, "the server has lost its quorum: is a majority of the servers there?")
        }
        zk::Error::NoAuth => {
            (PermissionDenied, Not, "log in as who made the node, or have its access list allow it")
        }
        zk::Error::InvalidAcl => (
            ConfigInvalid,
            Not,
            "`acl` asks for an identity: set `username` and `password`, or `acl = \"open\"`",
        ),
        zk::Error::QuotaExceeded => (LimitExceeded, Not, "an operator has set a quota on the node"),
        zk::Error::Throttled => (RateLimited, Not, ""),
        zk::Error::Unimplemented => (Unsupported, Not, "ZooKeeper 3.6 or newer is needed"),
        zk::Error::BadArguments(_) => (InvalidInput, Not, ""),
        zk::Error::NoNode => (Unexpected, Not, "the node is not there"),
        // What a server says that is not understood, or what a library says of itself.
        _ => (Unexpected, Maybe, ""),
    };
    let mut context = format!("cannot {}: {}", call.subject, shown(&error));
    if !advice.is_empty() {
        context.push_str("; ");
        context.push_str(advice);
    }
    let mut judged = Error::new(kind, context);
    if call.write && outcome == Maybe {
        judged = judged.with_outcome_unknown();
    }
    // An answer that will be the same the next time.
    if matches!(error, zk::Error::NoChildrenForEphemerals | zk::Error::NotEmpty) {
        judged = judged.with_retry(Retry::Permanent);
    }
    judged.with_source(error)
}

/// What it means that no answer came within `limit`. A request that was sent may be answered yet, and one that waits for
/// a connection is sent when there is one.
pub(crate) fn timed_out(limit: Duration, call: Call<'_>) -> Error {
    let limit = humantime::format_duration(limit);
    let error = Error::timeout(format!("cannot {}: no answer within {limit}", call.subject));
    if call.write { error.with_outcome_unknown() } else { error }
}

/// How much of a message is shown: it may come from anybody.
const SHOWN: usize = 200;

fn shown(error: &zk::Error) -> String {
    error.to_string().chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(error: zk::Error) -> Error {
        judge(error, Call::write("write /a"))
    }

    #[test]
    fn each_error_has_its_kind_and_says_whether_a_write_may_have_happened() {
        use ErrorKind::*;
        for (error, kind, unknown) in [
            (zk::Error::ConnectionLoss, Unavailable, true),
            (zk::Error::SessionExpired, Unavailable, true),
            (zk::Error::Timeout, Timeout, false),
            (zk::Error::NoHosts, Unavailable, false),
            (zk::Error::AuthFailed, Unauthorized, false),
            (zk::Error::NotReadOnly, Unavailable, false),
            (zk::Error::NoAuth, PermissionDenied, false),
            (zk::Error::InvalidAcl, ConfigInvalid, false),
            (zk::Error::QuotaExceeded, LimitExceeded, false),
            (zk::Error::Throttled, RateLimited, false),
            (zk::Error::Unimplemented, Unsupported, false),
            (zk::Error::UnexpectedErrorCode(-77), Unexpected, true),
        ] {
            let judged = judged(error.clone());
            assert_eq!((judged.kind(), judged.outcome_unknown()), (kind, unknown), "{error:?}");
            assert!(!judge(error, Call::read("list /a")).outcome_unknown());
        }
    }

    #[test]
    fn a_message_says_what_was_tried_and_what_to_do() {
        assert_eq!(
            judged(zk::Error::NoAuth).to_string(),
            "permission denied: cannot write /a: not authorized; log in as who made the node, or have its access list \
             allow it"
        );
        let late = timed_out(Duration::from_secs(3), Call::write("write /a"));
        assert_eq!(late.to_string(), "timed out: cannot write /a: no answer within 3s");
        assert!(late.outcome_unknown() && late.counts_as_outage());
    }

    #[test]
    fn only_trouble_with_the_server_speaks_against_it() {
        for error in [zk::Error::NoAuth, zk::Error::QuotaExceeded, zk::Error::NoChildrenForEphemerals] {
            assert!(!judged(error.clone()).counts_as_outage(), "{error:?}");
        }
        for error in [zk::Error::ConnectionLoss, zk::Error::Timeout, zk::Error::NotReadOnly] {
            assert!(judged(error.clone()).counts_as_outage(), "{error:?}");
        }
    }

    #[test]
    fn a_message_of_anybody_is_cut_short_and_stays_one_line() {
        let long = judged(zk::Error::UnexpectedError(format!("a\nb{}", "x".repeat(10_000))));
        assert!(long.to_string().len() < 300 && !long.to_string().contains('\n'));
    }
}
