//! What a native error means: one table.
//!
//! A server answers with a code and a text. Refused is refused whatever the type of the answer: some versions send an
//! `ErrorResponse`, others the type that was expected.

use std::error::Error as _;
use std::time::Duration;

use callsign_core::{Error, ErrorKind, Retry};
use tonic::Code;

use crate::message::Outcome;

/// What was tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// What was tried, on what: `publish orders`. Follows upon "cannot".
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

/// What the backend does after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server answered; it is fine.
    Answer,
    /// The login is refused: there may be a newer one.
    Denied,
    /// The server does not know the connection: another one is needed.
    Unknown,
    /// There was no answer.
    Silence,
}

/// An error that callsign's users see, and what the backend does about it.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) verdict: Verdict,
}

/// How one code reads, and what it means.
struct Row {
    code: i64,
    /// What stands in the text, in lower case.
    says: &'static str,
    verdict: Verdict,
    kind: ErrorKind,
    /// Whether a write that failed so may have happened, or happen yet.
    maybe: bool,
    /// What to do, where the kind and the message do not tell.
    advice: &'static str,
}

const fn row(
    code: i64,
    says: &'static str,
    verdict: Verdict,
    kind: ErrorKind,
    maybe: bool,
    advice: &'static str,
) -> Row {
    Row { code, says, verdict, kind, maybe, advice }
}

/// `NacosException` and `ErrorCode`; the first row that fits counts.
const TABLE: &[Row] = {
    use ErrorKind::{
        ConfigInvalid, LimitExceeded, NotFound, PermissionDenied, RateLimited, Unavailable, Unexpected,
        Unsupported,
    };
    use Verdict::{Answer, Denied, Unknown};
    &[
        row(300, "", Answer, Unavailable, false, "the server is starting"),
        row(301, "", Unknown, Unavailable, false, ""),
        row(-401, "", Unknown, Unavailable, true, ""),
        row(
            302,
            "",
            Answer,
            Unsupported,
            false,
            "is this Nacos 2.0 or newer? for several instances of a service in one process it takes 2.1.1",
        ),
        row(
            400,
            "persistent service",
            Answer,
            Unsupported,
            false,
            "callsign registers ephemeral instances: choose another name, or have an operator delete the service",
        ),
        row(400, "", Answer, LimitExceeded, false, "the server refuses it as it is"),
        row(
            403,
            "",
            Denied,
            PermissionDenied,
            false,
            "the user needs the right to read and write in this namespace (`username`, `password`)",
        ),
        row(404, "", Answer, NotFound, false, ""),
        row(503, "", Answer, RateLimited, false, ""),
        row(22001, "", Answer, ConfigInvalid, false, "create the namespace in Nacos, or choose another one"),
        // 500 and 502: whatever the server has stumbled over.
        row(500, "", Answer, Unexpected, true, ""),
        row(502, "", Answer, Unexpected, true, ""),
    ]
};

/// A server that has too much to do asks for this much.
const LESS: Duration = Duration::from_secs(1);

/// What it means that a server has answered with a refusal.
pub(crate) fn judge(outcome: &Outcome, call: Call<'_>) -> Failure {
    let said = outcome.message.as_deref().unwrap_or_default();
    let lower = said.to_lowercase();
    let row = TABLE.iter().find(|row| row.code == outcome.error_code && lower.contains(row.says));
    let code = outcome.error_code;
    let Some(row) = row else {
        let context =
            format!("cannot {}: the server answers with the code {code}: {}", call.subject, shown(said));
        let error = unknown_if(Error::unexpected(context), call.write);
        return Failure { error, verdict: Verdict::Answer };
    };
    let separator = if row.advice.is_empty() { "" } else { "; " };
    let context = format!("cannot {}: {} (code {code}){separator}{}", call.subject, shown(said), row.advice);
    let mut error = unknown_if(Error::new(row.kind, context), call.write && row.maybe);
    if row.kind == ErrorKind::RateLimited {
        error = error.with_retry_after(LESS);
    }
    Failure { error, verdict: row.verdict }
}

/// What it means that a call has not come through.
pub(crate) fn judge_status(status: tonic::Status, call: Call<'_>) -> Failure {
    let said = text_of(&status);
    let what = |rest: &str| format!("cannot {}: {rest}", call.subject);
    // What the connection says, and not the server over it.
    let on_tls = status.source().and_then(|_| advice_on_tls(&said));
    let error = match (status.code(), on_tls) {
        (_, Some(advice)) => Error::config(what(&format!("{said}; {advice}"))),
        (Code::Unimplemented | Code::NotFound, None) => {
            Error::unexpected(what("nobody answers as Nacos does: is this the gRPC port of a nacos server?"))
                .with_retry(Retry::Temporary)
        }
        (Code::PermissionDenied | Code::Unauthenticated, None) => {
            Error::new(ErrorKind::PermissionDenied, what(&format!("refused on the way: {said}")))
        }
        (Code::OutOfRange | Code::ResourceExhausted, None) if is_about_size(&said) => {
            Error::limit_exceeded(what(&format!("a message is larger than 10 MiB: {said}")))
        }
        (Code::ResourceExhausted, None) => {
            Error::new(ErrorKind::RateLimited, what(&said)).with_retry_after(LESS)
        }
        (Code::DeadlineExceeded, None) => unknown_if(Error::timeout(what(&said)), call.write),
        _ => unknown_if(Error::unavailable(what(&said)), call.write),
    };
    let verdict = if matches!(error.kind(), ErrorKind::LimitExceeded | ErrorKind::PermissionDenied) {
        Verdict::Answer
    } else {
        Verdict::Silence
    };
    Failure { error: error.with_source(status), verdict }
}

/// Whether a status is about a message, and not about their number: gRPC has one code for both.
fn is_about_size(said: &str) -> bool {
    ["too large", "larger than", "maximum size", "message length"].iter().any(|words| said.contains(words))
}

/// What is wrong with certificates, by how rustls says it, and what to do.
const TLS: &[(&str, &str)] = &[
    ("not valid for name", "set `tls.server_name` to a name in the server's certificate"),
    ("UnknownIssuer", "name whoever has signed it in `tls.ca_file`"),
    // Somebody of the same name has.
    ("BadSignature", "name whoever has signed it in `tls.ca_file`"),
    ("certificate expired", "renew the server's certificate"),
    ("invalid peer certificate", "do the certificates fit (`tls`)?"),
    ("received fatal alert", CLIENT_CERTIFICATE),
    ("received corrupt message", "if the server is not encrypted, write `addresses` as `http://`"),
];

/// What to do where a server hangs up on who speaks TLS: often it says no more.
pub(crate) const CLIENT_CERTIFICATE: &str =
    "if the server asks for a client's certificate, set `tls.cert_file` and `tls.key_file`";

/// What to do about an error that is one of certificates.
pub(crate) fn advice_on_tls(said: &str) -> Option<&'static str> {
    TLS.iter().find(|(says, _)| said.contains(says)).map(|(_, advice)| *advice)
}

/// What it means that an answer makes no sense.
pub(crate) fn strange(complaint: &serde_json::Error, call: Call<'_>) -> Failure {
    let context =
        format!("cannot {}: the answer cannot be read: {}", call.subject, shown(&complaint.to_string()));
    Failure { error: unknown_if(Error::unexpected(context), call.write), verdict: Verdict::Answer }
}

/// What it means that no answer came within `limit`.
pub(crate) fn timed_out(limit: Duration, call: Call<'_>) -> Failure {
    let limit = humantime::format_duration(limit);
    let error = Error::timeout(format!("cannot {}: no answer within {limit}", call.subject));
    Failure { error: unknown_if(error, call.write), verdict: Verdict::Silence }
}

fn unknown_if(error: Error, maybe: bool) -> Error {
    if maybe { error.with_outcome_unknown() } else { error }
}

/// How much of a message is shown: it may come from anybody.
const SHOWN: usize = 200;

/// One line of a foreign text.
pub(crate) fn shown(text: &str) -> String {
    let shown = text.chars().take(SHOWN);
    shown.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// What a status says, down to what it was caused by.
fn text_of(status: &tonic::Status) -> String {
    let mut said = status.message().to_owned();
    let mut source = status.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        source = cause.source();
    }
    shown(if said.is_empty() { status.code().description() } else { &said })
}

/// What an error says, down to what it was caused by.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
        source = cause.source();
    }
    shown(&said)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(code: i64, text: &str, write: bool) -> Failure {
        let outcome = Outcome { result_code: 500, error_code: code, message: Some(text.to_owned()) };
        judge(&outcome, Call { subject: "publish orders", write })
    }

    #[test]
    fn each_code_has_its_kind_and_says_whether_a_write_may_have_happened() {
        use ErrorKind::*;
        for (code, text, kind, verdict, unknown) in [
            (300, "", Unavailable, Verdict::Answer, false),
            (301, "", Unavailable, Verdict::Unknown, false),
            (-401, "", Unavailable, Verdict::Unknown, true),
            (302, "", Unsupported, Verdict::Answer, false),
            (400, "Current service x is persistent service", Unsupported, Verdict::Answer, false),
            (400, "Param 'ip' is illegal", LimitExceeded, Verdict::Answer, false),
            (403, "", PermissionDenied, Verdict::Denied, false),
            (503, "", RateLimited, Verdict::Answer, false),
            (22001, "", ConfigInvalid, Verdict::Answer, false),
            (500, "", Unexpected, Verdict::Answer, true),
            (77, "", Unexpected, Verdict::Answer, true),
        ] {
            let failure = judged(code, text, true);
            let found = (failure.error.kind(), failure.verdict, failure.error.outcome_unknown());
            assert_eq!(found, (kind, verdict, unknown), "{code} {text}");
            assert!(!judged(code, text, false).error.outcome_unknown());
        }
    }

    #[test]
    fn a_message_says_what_was_tried_what_was_answered_and_what_to_do() {
        assert_eq!(
            judged(22001, "Namespace 'x' not exist", false).error.to_string(),
            "cannot publish orders: Namespace 'x' not exist (code 22001); create the namespace in Nacos, or choose another \
             one"
        );
        assert_eq!(
            judged(301, "Connection is unregistered.", false).error.to_string(),
            "unavailable: cannot publish orders: Connection is unregistered. (code 301)"
        );
        let late = timed_out(Duration::from_secs(3), Call::write("publish orders")).error;
        assert_eq!(late.to_string(), "timed out: cannot publish orders: no answer within 3s");
        assert!(late.outcome_unknown() && late.counts_as_outage());
    }

    #[test]
    fn what_is_not_nacos_and_what_is_not_there_are_told_apart() {
        let call = Call::read("connect");
        let none = judge_status(tonic::Status::unimplemented(""), call).error;
        assert!(none.to_string().ends_with("is this the gRPC port of a nacos server?"), "{none}");
        assert!(none.counts_as_outage());
        let gone = judge_status(tonic::Status::unavailable("refused"), call).error;
        assert_eq!(gone.to_string(), "unavailable: cannot connect: refused");
        let large = judge_status(tonic::Status::out_of_range("too large"), call).error;
        assert_eq!(large.kind(), ErrorKind::LimitExceeded);
        let said = "gRPC message exceeds maximum size 10485760: 20000000";
        let large = judge_status(tonic::Status::resource_exhausted(said), call).error;
        assert_eq!(large.kind(), ErrorKind::LimitExceeded);
        let often = judge_status(tonic::Status::resource_exhausted("too many requests"), call);
        assert_eq!((often.error.kind(), often.verdict), (ErrorKind::RateLimited, Verdict::Silence));
    }

    #[test]
    fn a_connection_that_certificates_prevent_is_told_with_the_key_to_set_and_a_server_cannot_pretend_to_be_one()
     {
        let call = Call::read("connect");
        for (said, advice) in [
            ("invalid peer certificate: UnknownIssuer", "name whoever has signed it in `tls.ca_file`"),
            (
                "certificate not valid for name \"a\"",
                "set `tls.server_name` to a name in the server's certificate",
            ),
            ("received fatal alert: CertificateRequired", CLIENT_CERTIFICATE),
        ] {
            let broken = tonic::Status::from_error(std::io::Error::other(said).into());
            let error = judge_status(broken, call).error;
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
            assert!(error.to_string().ends_with(advice), "{error}");
            assert!(judge_status(tonic::Status::unavailable(said), call).error.counts_as_outage());
        }
    }

    #[test]
    fn a_message_of_anybody_is_cut_short_and_stays_one_line() {
        let long = judged(500, &format!("a\nb{}", "x".repeat(10_000)), true).error.to_string();
        assert!(long.len() < 400 && !long.contains('\n'), "{long}");
    }
}
