//! What a native error means: one table.
//!
//! By its words first, by its code only where no words are known: `ResourceExhausted` stands for a full database, a
//! request that is too large and too many requests, and a wrong certificate comes as `Unavailable`. What happened to a
//! connection is found in the sources of a status, not in its message.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::time::Duration;

use callsign_core::{Error, ErrorKind, Retry};
use tonic::Code;

/// What a session does after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server answered; the session is fine.
    Answer,
    /// The connection or the member is bad: go on with another one.
    Rotate,
    /// This member has no quorum behind it. Another one may have.
    NoQuorum,
    /// The login is missing or has run out: log in again, once. Without credentials this is `Misconfigured`.
    RefreshToken,
    /// Nobody but a person will make this member usable. Others may be.
    Misconfigured,
}

/// What was tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The member that was asked, as it is configured.
    pub(crate) endpoint: &'a str,
    /// What was tried, on what: `write /callsign/v1/default/i/default/orders/o-1`.
    pub(crate) subject: &'a str,
    /// Whether it changes something, and may have done so although no answer came.
    pub(crate) write: bool,
}

/// An error that callsign's users see, and what the session does about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) verdict: Verdict,
}

/// How one error reads, and what it means.
struct Row {
    /// What stands in its message or in that of one of its sources.
    says: &'static str,
    verdict: Verdict,
    kind: ErrorKind,
    outcome: Outcome,
    /// What to do, where the kind and the message do not tell.
    advice: &'static str,
}

/// What is known of a write that failed so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// It has not happened.
    Not,
    /// It may have happened, or happen yet.
    Maybe,
}

const fn row(
    says: &'static str,
    verdict: Verdict,
    kind: ErrorKind,
    outcome: Outcome,
    advice: &'static str,
) -> Row {
    Row { says, verdict, kind, outcome, advice }
}

const DATABASE_FULL: &str = "database space exceeded";

const TABLE: &[Row] = {
    use ErrorKind::{
        ConfigInvalid, LimitExceeded, NotFound, PermissionDenied, RateLimited, Timeout, Unauthorized,
        Unavailable, Unexpected,
    };
    use Outcome::{Maybe, Not};
    use Verdict::{Answer, Misconfigured, NoQuorum, RefreshToken, Rotate};

    const NO_TLS: &str = "if this member speaks no TLS, write its endpoint as `http://`";
    const CLIENT_CERTIFICATE: &str =
        "if it asks for a client's certificate, set `tls.cert_file` and `tls.key_file`";
    const NOT_ETCD: &str = "is this etcd 3.4 or newer, and no proxy in front of it?";
    const QUORUM: &str = "is a majority of the members there?";

    // The first row that fits counts: what is special stands above what is general.
    &[
        // Logins and rights.
        row("invalid auth token", RefreshToken, Unauthorized, Not, ""),
        row("revision of auth store is old", RefreshToken, Unauthorized, Not, ""),
        row("user name is empty", RefreshToken, Unauthorized, Not, "set `username` and `password`"),
        row("authentication failed", Misconfigured, Unauthorized, Not, "check `username` and `password`"),
        row(
            "authentication is not enabled",
            Misconfigured,
            ConfigInvalid,
            Not,
            "leave `username` out, or enable authentication",
        ),
        row("etcdserver: permission denied", Answer, PermissionDenied, Not, "grant it to a role of the user"),
        // Limits.
        row(
            "request is too large",
            Answer,
            LimitExceeded,
            Not,
            "the server's limit is `--max-request-bytes`",
        ),
        row("received message larger than max", Answer, LimitExceeded, Not, ""),
        row("decoded message length too large", Answer, LimitExceeded, Maybe, ""),
        row("too large lease TTL", Answer, LimitExceeded, Not, ""),
        row(
            DATABASE_FULL,
            Answer,
            LimitExceeded,
            Not,
            "the database is full: compact and defragment it, then disarm the alarm",
        ),
        row("too many requests", Answer, RateLimited, Not, ""),
        // Answers.
        row("lease not found", Answer, NotFound, Not, ""),
        row("required revision has been compacted", Answer, Unexpected, Not, ""),
        row("too many operations in txn", Answer, Unexpected, Not, ""),
        row("duplicate key given in txn", Answer, Unexpected, Not, ""),
        row("key is not provided", Answer, Unexpected, Not, ""),
        // Members without a quorum, or not fit to serve.
        row("no leader", NoQuorum, Unavailable, Not, QUORUM),
        row("leader changed", NoQuorum, Unavailable, Maybe, ""),
        row("etcdserver: request timed out", NoQuorum, Timeout, Maybe, QUORUM),
        row("context deadline exceeded", NoQuorum, Timeout, Maybe, QUORUM),
        row("unhealthy cluster", NoQuorum, Unavailable, Not, QUORUM),
        row("not supported for learner", Rotate, Unavailable, Not, "name voting members only"),
        row("server stopped", Rotate, Unavailable, Maybe, ""),
        row("corrupt cluster", Rotate, Unavailable, Not, "etcd has found its data corrupt: see its alarms"),
        // TLS.
        row(
            "not valid for name",
            Misconfigured,
            ConfigInvalid,
            Not,
            "set `tls.server_name` to a name in the server's certificate",
        ),
        row("UnknownIssuer", Misconfigured, ConfigInvalid, Not, "set `tls.ca_file` to who has signed it"),
        row("certificate expired", Misconfigured, ConfigInvalid, Not, "renew the server's certificate"),
        row("invalid peer certificate", Misconfigured, ConfigInvalid, Not, ""),
        row("received fatal alert", Misconfigured, ConfigInvalid, Not, CLIENT_CERTIFICATE),
        row("tls handshake eof", Rotate, Unavailable, Not, NO_TLS),
        row("received corrupt message", Rotate, Unavailable, Not, NO_TLS),
        row("TLS handshake timeout", Rotate, Unavailable, Not, NO_TLS),
        row("HTTP/2 was not negotiated", Rotate, Unexpected, Not, NOT_ETCD),
        // Connections that were not made.
        row("Connection refused", Rotate, Unavailable, Not, "does etcd listen there?"),
        row("dns error", Rotate, Unavailable, Not, "is the host's name right?"),
        row("tcp connect error", Rotate, Unavailable, Not, ""),
        // What is no etcd.
        row("frame with invalid size", Rotate, Unexpected, Not, NOT_ETCD),
        row("mapped from HTTP status code", Rotate, Unexpected, Maybe, NOT_ETCD),
        row("missing grpc-status trailer", Rotate, Unexpected, Maybe, NOT_ETCD),
        row("unknown service", Rotate, Unexpected, Not, NOT_ETCD),
        row("unknown method", Rotate, Unexpected, Not, NOT_ETCD),
        // Connections that were lost.
        row("too_many_pings", Rotate, Unavailable, Maybe, "raise `keep_alive_interval`"),
        row("keep-alive timed out", Rotate, Timeout, Maybe, ""),
        row("Timeout expired", Rotate, Timeout, Maybe, ""),
        row("operation was canceled", Rotate, Unavailable, Maybe, ""),
        row("transport error", Rotate, Unavailable, Maybe, ""),
        row("h2 protocol error", Rotate, Unavailable, Maybe, ""),
        row("channel closed", Rotate, Unavailable, Maybe, ""),
        row("failed to create lease keeper", Rotate, Unavailable, Maybe, ""),
    ]
};

/// How much of a message is shown: it may come from anybody.
const SHOWN: usize = 200;

/// What `error` means.
pub(crate) fn judge(error: etcd_client::Error, call: &Call<'_>) -> Failure {
    let (code, words) = match &error {
        etcd_client::Error::GRpcStatus(status) => {
            (Some(status.code()), Words::of(status.message(), status.source()))
        }
        etcd_client::Error::LeaseKeepAliveError(message) | etcd_client::Error::WatchError(message) => {
            (Some(Code::Unknown), Words::of(message, None))
        }
        // Found before anything was sent: certificates that cannot be parsed.
        etcd_client::Error::TransportError(error) => (None, Words::of("", error.source())),
        other => (None, Words::of(&other.to_string(), None)),
    };
    let mut failure = failure(code, &words, call);
    failure.error = failure.error.with_source(error);
    failure
}

/// What it means that the server has cancelled a watch for `reason`.
///
/// Servers up to 3.4 say "permission denied" of a token that has run out (etcd#12385), so that denial is believed only
/// after another login.
pub(crate) fn judge_cancel(reason: &str, call: &Call<'_>) -> Failure {
    let mut failure = failure(Some(Code::Unknown), &Words::of(reason, None), call);
    if failure.error.kind() == ErrorKind::PermissionDenied {
        failure.verdict = Verdict::RefreshToken;
    }
    failure
}

/// What it means that no answer came within `limit`.
pub(crate) fn timed_out(limit: Duration, call: &Call<'_>) -> Failure {
    let said = format!("no answer within {}", humantime::format_duration(limit));
    finish(call, Verdict::Rotate, ErrorKind::Timeout, Outcome::Maybe, &said, "")
}

/// What an error says of itself.
struct Words {
    /// The message and the messages of all sources: what is searched.
    all: String,
    /// The message of a server, or else that of the innermost source: what is shown.
    said: String,
}

impl Words {
    fn of(message: &str, source: Option<&(dyn StdError + 'static)>) -> Self {
        let (mut all, mut said) = (message.to_owned(), message.to_owned());
        let mut next = source;
        while let Some(error) = next {
            let text = error.to_string();
            let _ = write!(all, "; {text}");
            said = text;
            next = error.source();
        }
        Self { all, said }
    }
}

fn failure(code: Option<Code>, words: &Words, call: &Call<'_>) -> Failure {
    let row = TABLE.iter().find(|row| words.all.contains(row.says));
    let (verdict, kind, outcome, advice) = match (row, code) {
        (Some(row), _) => (row.verdict, row.kind, row.outcome, row.advice),
        (None, Some(code)) => {
            let (verdict, kind, outcome) = by_code(code);
            (verdict, kind, outcome, "")
        }
        (None, None) => (Verdict::Misconfigured, ErrorKind::ConfigInvalid, Outcome::Not, ""),
    };
    let mut failure = finish(call, verdict, kind, outcome, &words.said, advice);
    if row.is_some_and(|row| row.says == DATABASE_FULL) {
        // Not a limit of this record: an operator lifts it, and the same write succeeds.
        failure.error = failure.error.with_retry(Retry::Temporary);
    }
    failure
}

/// For messages that are not in the table.
fn by_code(code: Code) -> (Verdict, ErrorKind, Outcome) {
    match code {
        Code::Unauthenticated => (Verdict::RefreshToken, ErrorKind::Unauthorized, Outcome::Not),
        Code::PermissionDenied => (Verdict::Answer, ErrorKind::PermissionDenied, Outcome::Not),
        Code::ResourceExhausted => (Verdict::Answer, ErrorKind::RateLimited, Outcome::Maybe),
        Code::NotFound => (Verdict::Answer, ErrorKind::NotFound, Outcome::Not),
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::AlreadyExists => {
            (Verdict::Answer, ErrorKind::Unexpected, Outcome::Not)
        }
        Code::DeadlineExceeded | Code::Cancelled => (Verdict::Rotate, ErrorKind::Timeout, Outcome::Maybe),
        Code::Unavailable => (Verdict::Rotate, ErrorKind::Unavailable, Outcome::Maybe),
        Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::Aborted | Code::DataLoss => {
            (Verdict::Rotate, ErrorKind::Unexpected, Outcome::Maybe)
        }
    }
}

fn finish(
    call: &Call<'_>,
    verdict: Verdict,
    kind: ErrorKind,
    outcome: Outcome,
    said: &str,
    advice: &str,
) -> Failure {
    let said: String = said.trim_end_matches('.').chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let separator = if advice.is_empty() { "" } else { "; " };
    let context = format!("{} at {}: {said}{separator}{advice}", call.subject, call.endpoint);
    let mut error = Error::new(kind, context);
    if kind == ErrorKind::Unexpected && verdict == Verdict::Answer {
        // The server is there and has understood: it will say the same again, and that is no outage.
        error = error.with_retry(Retry::Permanent);
    }
    if call.write && outcome == Outcome::Maybe {
        error = error.with_outcome_unknown();
    }
    Failure { error, verdict }
}
