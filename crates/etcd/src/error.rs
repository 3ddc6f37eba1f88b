//! What a native error means: one table.
//!
//! By its words first, by its code only where no words are known: `ResourceExhausted` stands for a full database, a
//! request that is too large and too many requests, and a wrong certificate comes as `Unavailable`. What happened to a
//! connection is found in the sources of a status, not in its message.

use std::error::Error as StdError;
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
    /// The revision that was asked for is gone: read a newer one.
    Compacted,
    /// The answer is larger than this program takes: ask for less.
    TooLarge,
}

/// What was tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The member that was asked, as it is configured.
    pub(crate) endpoint: &'a str,
    /// What was tried, on what: `write /callsign/v1/default/i/default/orders/o-1`. Follows upon "cannot".
    pub(crate) subject: &'a str,
    /// Whether it changes something, and may have done so although no answer came.
    pub(crate) write: bool,
    /// The prefix that a role needs rights on for it; empty where that is not known.
    pub(crate) rights: &'a str,
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

const CLIENT_CERTIFICATE: &str =
    "if this member asks for a client's certificate, set `tls.cert_file` and `tls.key_file`";
const HUNG_UP: &str = "is this etcd? if it speaks TLS only, write its endpoint as `https://`";
const HUNG_UP_ON_TLS: &str = "if this member asks for a client's certificate, set `tls.cert_file` and `tls.key_file`; if \
    it speaks no TLS, write its endpoint as `http://`";
const DATABASE_FULL: &str = "database space exceeded";

const TABLE: &[Row] = {
    use ErrorKind::{
        ConfigInvalid, LimitExceeded, NotFound, PermissionDenied, RateLimited, Timeout, Unauthorized,
        Unavailable, Unexpected,
    };
    use Outcome::{Maybe, Not};
    use Verdict::{Answer, Compacted, Misconfigured, NoQuorum, RefreshToken, Rotate, TooLarge};

    const NO_TLS: &str = "if this member speaks no TLS, write its endpoint as `http://`";
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
        row(
            "etcdserver: permission denied",
            Answer,
            PermissionDenied,
            Not,
            "grant read and write to a role of the user",
        ),
        // Limits.
        row(
            "request is too large",
            Answer,
            LimitExceeded,
            Not,
            "the server's limit is `--max-request-bytes`",
        ),
        row("received message larger than max", Answer, LimitExceeded, Not, ""),
        row("decoded message length too large", TooLarge, LimitExceeded, Maybe, ""),
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
        row("required revision has been compacted", Compacted, Unexpected, Not, ""),
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
        row(
            "UnknownIssuer",
            Misconfigured,
            ConfigInvalid,
            Not,
            "name whoever has signed it in `tls.ca_file`",
        ),
        // Somebody of the same name has.
        row("BadSignature", Misconfigured, ConfigInvalid, Not, "name whoever has signed it in `tls.ca_file`"),
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
        row("keep-alive timed out", Rotate, Timeout, Maybe, "the member did not answer a ping"),
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
    meaning_of(&error).into_failure(call).caused_by(error)
}

/// What `error` means to the first call over a new connection: a member that hangs up on it may want another protocol,
/// or a certificate, and no native error says so.
pub(crate) fn judge_first(error: etcd_client::Error, call: &Call<'_>) -> Failure {
    let mut meaning = meaning_of(&error);
    if meaning.is_hung_up() {
        meaning.advice = if call.endpoint.starts_with("https") { HUNG_UP_ON_TLS } else { HUNG_UP };
    }
    meaning.into_failure(call).caused_by(error)
}

/// What it means that the server has cancelled a watch for `reason`.
///
/// Servers up to 3.4 say "permission denied" of a token that has run out (etcd#12385), so that denial is believed only
/// after another login.
pub(crate) fn judge_cancel(reason: &str, call: &Call<'_>) -> Failure {
    let mut meaning = Meaning::of(Some(Code::Unknown), reason, None);
    if meaning.kind == ErrorKind::PermissionDenied {
        meaning.verdict = Verdict::RefreshToken;
    }
    meaning.into_failure(call)
}

/// What it means that no answer came within `limit`.
pub(crate) fn timed_out(limit: Duration, call: &Call<'_>) -> Failure {
    let said = format!("no answer within {}", humantime::format_duration(limit));
    let (verdict, kind, outcome) = (Verdict::Rotate, ErrorKind::Timeout, Outcome::Maybe);
    Meaning { verdict, kind, outcome, retry: None, said, advice: "" }.into_failure(call)
}

fn meaning_of(error: &etcd_client::Error) -> Meaning {
    match error {
        etcd_client::Error::GRpcStatus(status) => {
            Meaning::of(Some(status.code()), status.message(), status.source())
        }
        etcd_client::Error::LeaseKeepAliveError(message) | etcd_client::Error::WatchError(message) => {
            Meaning::of(Some(Code::Unknown), message, None)
        }
        // The rest is found before anything is sent. This one: certificates that cannot be used.
        etcd_client::Error::TransportError(error) => Meaning::of(None, "", error.source()),
        other => Meaning::of(None, &other.to_string(), None),
    }
}

/// What was made of an error, but for the call that it happened to.
struct Meaning {
    verdict: Verdict,
    kind: ErrorKind,
    outcome: Outcome,
    /// Where it is not what the kind says.
    retry: Option<Retry>,
    said: String,
    advice: &'static str,
}

impl Meaning {
    /// Of an error that says `message` and whose chain of sources begins with `source`. Without a code it has come
    /// about here.
    fn of(code: Option<Code>, message: &str, mut source: Option<&(dyn StdError + 'static)>) -> Self {
        // All of it is searched. Shown is what a server says, or else what the innermost source says.
        let (mut all, mut said) = (message.to_owned(), message.to_owned());
        while let Some(error) = source {
            said = error.to_string();
            all.push('\n');
            all.push_str(&said);
            source = error.source();
        }
        let row = TABLE.iter().find(|row| all.contains(row.says));
        let (verdict, kind, outcome) = match (row, code) {
            (Some(row), _) => (row.verdict, row.kind, row.outcome),
            (None, Some(code)) => by_code(code),
            (None, None) => (Verdict::Misconfigured, ErrorKind::ConfigInvalid, Outcome::Not),
        };
        let retry = if row.is_some_and(|row| row.says == DATABASE_FULL) {
            // Not a limit of this record: an operator lifts it, and the same write succeeds.
            Some(Retry::Temporary)
        } else if kind == ErrorKind::Unexpected && verdict == Verdict::Answer {
            // The server is there and has understood: it will say the same again, and that is no outage.
            Some(Retry::Permanent)
        } else {
            None
        };
        Self { verdict, kind, outcome, retry, said: shown(&said), advice: row.map_or("", |row| row.advice) }
    }

    /// Whether a connection has ended for reasons that nobody gives.
    fn is_hung_up(&self) -> bool {
        (self.verdict, self.kind) == (Verdict::Rotate, ErrorKind::Unavailable)
            && self.outcome == Outcome::Maybe
            && self.advice.is_empty()
    }

    fn into_failure(self, call: &Call<'_>) -> Failure {
        let Self { verdict, kind, outcome, retry, said, advice } = self;
        let separator = if advice.is_empty() { "" } else { "; " };
        let mut context = format!("cannot {} at {}: {said}{separator}{advice}", call.subject, call.endpoint);
        if kind == ErrorKind::PermissionDenied && !call.rights.is_empty() {
            context.push_str(", on the prefix ");
            context.push_str(call.rights);
        }
        let mut error = Error::new(kind, context);
        if let Some(retry) = retry {
            error = error.with_retry(retry);
        }
        if call.write && outcome == Outcome::Maybe {
            error = error.with_outcome_unknown();
        }
        Failure { error, verdict }
    }
}

impl Failure {
    fn caused_by(mut self, native: etcd_client::Error) -> Self {
        self.error = self.error.with_source(native);
        self
    }
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

/// Without what every message of etcd begins with, in one line and not all of a novel.
fn shown(said: &str) -> String {
    let said = said.rsplit_once(" desc = ").map_or(said, |(_, said)| said);
    let said = said.strip_prefix("etcdserver: ").unwrap_or(said).trim_end_matches('.');
    said.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use tonic::Status;

    use super::*;

    const WRITE: Call<'_> =
        Call { endpoint: "http://h:1", subject: "write /p/n/o-1", write: true, rights: "/p/n/" };

    /// As the transport hands it over: what happened is a source of the status.
    fn status(code: Code, message: &str, innermost: Option<&str>) -> etcd_client::Error {
        let mut status = Status::new(code, message);
        if let Some(text) = innermost {
            status.set_source(std::sync::Arc::new(io::Error::other(text.to_owned())));
        }
        status.into()
    }

    /// Judges each `message`, or `message <- innermost source`, of a write and of a read.
    fn expect(verdict: Verdict, kind: ErrorKind, unknown: bool, messages: &[(Code, &str)]) {
        for (code, text) in messages {
            let (message, innermost) =
                text.split_once(" <- ").map_or((*text, None), |(message, source)| (message, Some(source)));
            let judged = |write| judge(status(*code, message, innermost), &Call { write, ..WRITE });
            let Failure { error, verdict: found } = judged(true);
            assert_eq!((found, error.kind()), (verdict, kind), "{code:?}: {text}");
            assert_eq!(error.outcome_unknown(), unknown, "{code:?}: {text}");
            assert!(!judged(false).error.outcome_unknown(), "{code:?}: {text}");
            assert!(StdError::source(&error).is_some(), "{code:?}: {text}");
        }
    }

    #[test]
    fn an_answer_leaves_the_session_alone_and_the_write_undone() {
        use Code::*;
        let answer = |kind, messages| expect(Verdict::Answer, kind, false, messages);
        answer(
            ErrorKind::LimitExceeded,
            &[
                (InvalidArgument, "etcdserver: request is too large"),
                (ResourceExhausted, "grpc: received message larger than max (2200011 vs. 2097152)"),
                (ResourceExhausted, "etcdserver: mvcc: database space exceeded"),
                (OutOfRange, "etcdserver: too large lease TTL"),
            ],
        );
        answer(ErrorKind::RateLimited, &[(ResourceExhausted, "etcdserver: too many requests")]);
        answer(ErrorKind::NotFound, &[(NotFound, "etcdserver: requested lease not found")]);
        answer(ErrorKind::PermissionDenied, &[(PermissionDenied, "etcdserver: permission denied")]);
        answer(
            ErrorKind::Unexpected,
            &[
                (InvalidArgument, "etcdserver: too many operations in txn request"),
                (InvalidArgument, "something new"),
            ],
        );
        let compacted = "etcdserver: mvcc: required revision has been compacted";
        expect(Verdict::Compacted, ErrorKind::Unexpected, false, &[(OutOfRange, compacted)]);
        // The server has done it, and has said more than this client takes.
        let too_large = "Error, decoded message length too large: found 6000740 bytes";
        expect(Verdict::TooLarge, ErrorKind::LimitExceeded, true, &[(OutOfRange, too_large)]);
    }

    #[test]
    fn a_login_that_ran_out_is_renewed_and_a_wrong_one_is_for_a_person() {
        use Code::*;
        expect(
            Verdict::RefreshToken,
            ErrorKind::Unauthorized,
            false,
            &[
                (Unauthenticated, "etcdserver: invalid auth token"),
                (InvalidArgument, "etcdserver: user name is empty"),
                (InvalidArgument, "etcdserver: revision of auth store is old"),
                (Unauthenticated, "something new"),
            ],
        );
        let wrong = "etcdserver: authentication failed, invalid user ID or password";
        expect(Verdict::Misconfigured, ErrorKind::Unauthorized, false, &[(InvalidArgument, wrong)]);
        let needless = "etcdserver: authentication is not enabled";
        expect(Verdict::Misconfigured, ErrorKind::ConfigInvalid, false, &[(FailedPrecondition, needless)]);
    }

    #[test]
    fn a_member_without_a_quorum_is_told_from_one_that_is_gone() {
        use Code::*;
        let quorum = |kind, unknown, messages| expect(Verdict::NoQuorum, kind, unknown, messages);
        quorum(ErrorKind::Unavailable, false, &[(Unavailable, "etcdserver: no leader")]);
        quorum(ErrorKind::Unavailable, true, &[(Unavailable, "etcdserver: leader changed")]);
        quorum(
            ErrorKind::Timeout,
            true,
            &[
                (Unavailable, "etcdserver: request timed out"),
                (Unavailable, "etcdserver: request timed out, possibly due to previous leader failure"),
                (DeadlineExceeded, "context deadline exceeded"),
            ],
        );
    }

    #[test]
    fn a_connection_that_was_never_made_has_written_nothing() {
        use Code::*;
        expect(
            Verdict::Rotate,
            ErrorKind::Unavailable,
            false,
            &[
                (Unavailable, "tcp connect error <- Connection refused (os error 111)"),
                (Unavailable, "dns error <- failed to lookup address information"),
                (Unavailable, "tls handshake eof"),
                (Unavailable, "received corrupt message of type InvalidContentType"),
                (Unavailable, "etcdserver: rpc not supported for learner"),
            ],
        );
        let http = "h2 protocol error: http2 error <- connection error detected: frame with invalid size";
        expect(Verdict::Rotate, ErrorKind::Unexpected, false, &[(Internal, http)]);
    }

    #[test]
    fn a_connection_that_was_lost_leaves_a_write_in_doubt() {
        use Code::*;
        expect(
            Verdict::Rotate,
            ErrorKind::Unavailable,
            true,
            &[
                (Unknown, "transport error <- connection reset"),
                (Cancelled, "operation was canceled <- connection closed"),
                (Unknown, "h2 protocol error: error reading a body from connection"),
                (ResourceExhausted, "h2 protocol error: http2 error <- too_many_pings"),
                (Unavailable, "something new"),
            ],
        );
        expect(
            Verdict::Rotate,
            ErrorKind::Timeout,
            true,
            &[
                (Unavailable, "http2 error <- keep-alive timed out"),
                (Cancelled, "Timeout expired"),
                (DeadlineExceeded, "something new"),
            ],
        );
        expect(
            Verdict::Rotate,
            ErrorKind::Unexpected,
            true,
            &[
                (Unimplemented, "grpc-status header missing, mapped from HTTP status code 404"),
                (Internal, "something new"),
            ],
        );
    }

    #[test]
    fn a_message_says_what_was_tried_where_what_happened_and_what_to_do() {
        let refused =
            status(Code::Unavailable, "tcp connect error", Some("Connection refused (os error 111)"));
        assert_eq!(
            judge(refused, &WRITE).error.to_string(),
            "unavailable: cannot write /p/n/o-1 at http://h:1: Connection refused (os error 111); does etcd listen there?"
        );
        assert_eq!(
            judge(status(Code::PermissionDenied, "etcdserver: permission denied", None), &WRITE)
                .error
                .to_string(),
            "permission denied: cannot write /p/n/o-1 at http://h:1: permission denied; grant read and write to a role of the user, on the prefix /p/n/"
        );
        assert_eq!(
            timed_out(Duration::from_millis(2500), &WRITE).error.to_string(),
            "timed out: cannot write /p/n/o-1 at http://h:1: no answer within 2s 500ms"
        );
    }

    #[test]
    fn a_certificate_that_is_not_believed_is_for_a_person_and_says_which_key() {
        for (said, advice) in [
            ("UnknownIssuer", "name whoever has signed it in `tls.ca_file`"),
            (
                "certificate not valid for name \"10.0.0.1\"; certificate is only valid for DnsName(\"e\")",
                "set `tls.server_name` to a name in the server's certificate",
            ),
            ("certificate expired: verification time 2 (UNIX)", "renew the server's certificate"),
        ] {
            let message = format!("invalid peer certificate: {said}");
            let Failure { error, verdict } = judge(status(Code::Unavailable, &message, None), &WRITE);
            assert_eq!(verdict, Verdict::Misconfigured);
            assert!(error.is_misconfiguration());
            assert_eq!(
                error.to_string(),
                format!("cannot write /p/n/o-1 at http://h:1: {message}; {advice}")
            );
        }
    }

    #[test]
    fn a_full_database_is_no_limit_of_the_record() {
        let error = |message: &str| judge(status(Code::ResourceExhausted, message, None), &WRITE).error;
        let full = error("etcdserver: mvcc: database space exceeded");
        assert_eq!((full.kind(), full.retry()), (ErrorKind::LimitExceeded, Retry::Temporary));
        assert!(full.to_string().ends_with("compact and defragment it, then disarm the alarm"), "{full}");
        assert_eq!(error("grpc: received message larger than max").retry(), Retry::Permanent);
    }

    #[test]
    fn an_answer_that_makes_no_sense_does_not_count_as_an_outage() {
        let answer = status(Code::InvalidArgument, "etcdserver: duplicate key given in txn request", None);
        assert!(!judge(answer, &WRITE).error.counts_as_outage());
        let stranger =
            status(Code::Unimplemented, "grpc-status header missing, mapped from HTTP status code 404", None);
        assert!(judge(stranger, &WRITE).error.counts_as_outage());
    }

    #[test]
    fn a_member_that_hangs_up_on_the_first_call_gets_a_hint_and_a_later_one_none() {
        let hung_up = || status(Code::Cancelled, "operation was canceled", Some("connection closed"));
        let first = |endpoint| judge_first(hung_up(), &Call { endpoint, ..WRITE }).error.to_string();
        assert!(first("http://h:1").ends_with(
            "connection closed; is this etcd? if it speaks TLS only, write its endpoint as `https://`"
        ));
        assert!(first("https://h:1").contains("set `tls.cert_file` and `tls.key_file`"));
        assert!(judge(hung_up(), &WRITE).error.to_string().ends_with("connection closed"));
        let answered = status(Code::Unavailable, "etcdserver: no leader", None);
        assert!(!judge_first(answered, &WRITE).error.to_string().contains("TLS"));
    }

    #[test]
    fn a_watch_that_was_denied_logs_in_again_before_it_believes_it() {
        let judged = |reason| judge_cancel(reason, &Call { subject: "watch /p/", write: false, ..WRITE });
        let denied = judged("rpc error: code = PermissionDenied desc = etcdserver: permission denied");
        assert_eq!(denied.verdict, Verdict::RefreshToken);
        assert_eq!(
            denied.error.to_string(),
            "permission denied: cannot watch /p/ at http://h:1: permission denied; grant read and write to a role of the user, on the prefix /p/n/"
        );
        let expired = judged("rpc error: code = Unauthenticated desc = etcdserver: invalid auth token");
        assert_eq!((expired.verdict, expired.error.kind()), (Verdict::RefreshToken, ErrorKind::Unauthorized));
        assert_eq!(judged("something new").verdict, Verdict::Rotate);
    }

    #[test]
    fn a_lost_lease_is_not_found_and_a_lost_stream_is_not_a_lost_lease() {
        let judged = |text: &str| judge(etcd_client::Error::LeaseKeepAliveError(text.to_owned()), &WRITE);
        let lost = judged("lease not found");
        assert_eq!((lost.verdict, lost.error.kind()), (Verdict::Answer, ErrorKind::NotFound));
        let stream = judged("channel closed");
        assert_eq!((stream.verdict, stream.error.kind()), (Verdict::Rotate, ErrorKind::Unavailable));
    }

    #[test]
    fn what_is_found_before_anything_is_sent_is_a_misconfiguration() {
        let Failure { error, verdict } =
            judge(etcd_client::Error::InvalidArgs("no TLS here".to_owned()), &WRITE);
        assert_eq!((verdict, error.kind()), (Verdict::Misconfigured, ErrorKind::ConfigInvalid));
        assert!(!error.outcome_unknown());
    }

    #[test]
    fn a_message_from_anybody_stays_one_bounded_line() {
        let error = judge(status(Code::Internal, &"one\ntwo\u{7} ".repeat(1_000), None), &WRITE).error;
        let shown = error.to_string();
        assert!(shown.len() < 300 && !shown.contains(char::is_control), "{shown}");
    }
}
