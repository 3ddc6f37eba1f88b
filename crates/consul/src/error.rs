//! What a native error means: one table.
//!
//! By status first, then by words: Consul answers 500 to what is gone, to what is asked wrongly, and to a lost quorum, and
//! says the difference in plain text that changes between versions.

use std::error::Error as StdError;
use std::time::Duration;

use callsign_core::{Error, ErrorKind, Retry};

/// What the backend does after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The agent answered; it is fine.
    Answer,
    /// The agent cannot be used: another one may.
    Elsewhere,
    /// The agent is there, and finds no leader.
    NoLeader,
    /// The check is not known: its record is lost.
    Lost,
    /// The service is not known.
    Unknown,
    /// The token is refused: there may be a newer one.
    Denied,
}

/// What was tried.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    /// The agent that was asked.
    pub(crate) agent: &'a str,
    /// What was tried, on what: `register default:default:orders:o-1`. Follows upon "cannot".
    pub(crate) subject: &'a str,
    /// Whether it changes something, and may have done so although no answer came.
    pub(crate) write: bool,
}

/// An error that callsign's users see, and what the backend does about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    pub(crate) verdict: Verdict,
}

/// How one error reads, and what it means.
struct Row {
    /// The statuses it comes with; none for what has come about on the way.
    statuses: &'static [u16],
    /// What stands in it, in lower case.
    says: &'static str,
    verdict: Verdict,
    kind: ErrorKind,
    /// Whether a write that failed so may have happened, or happen yet.
    maybe: bool,
    /// What to do, where the kind and the message do not tell.
    advice: &'static str,
}

const fn row(
    statuses: &'static [u16],
    says: &'static str,
    verdict: Verdict,
    kind: ErrorKind,
    maybe: bool,
    advice: &'static str,
) -> Row {
    Row { statuses, says, verdict, kind, maybe, advice }
}

const NOT_CONSUL: &str = "is this the HTTP port of a consul agent?";
const RIGHTS: &str = "the token needs `service:write` on what it registers, and `service:read` and `node:read` on what it looks for";
const CONNECTIONS: &str =
    "if other programs of this host watch, too, raise the agent's `limits.http_max_conns_per_client`";

const TABLE: &[Row] = {
    use ErrorKind::{
        ConfigInvalid, LimitExceeded, NotFound, PermissionDenied, RateLimited, Unauthorized, Unavailable,
        Unexpected,
    };
    use Verdict::{Answer, Denied, Elsewhere, Lost, NoLeader, Unknown};

    // 404 in newer versions, 500 in older ones, with and without ACLs.
    const GONE: &[u16] = &[404, 500];
    const FAULT: &[u16] = &[500];

    // The first row that fits counts: what is special stands above what is general.
    &[
        // What is gone.
        row(GONE, "does not have associated ttl", Lost, NotFound, false, ""),
        row(GONE, "unknown check", Lost, NotFound, false, ""),
        row(GONE, "unknown service", Unknown, NotFound, false, ""),
        row(GONE, "no service registered", Unknown, NotFound, false, ""),
        // Rights.
        row(&[403], "acl not found", Denied, Unauthorized, false, "check `token` or `token_file`"),
        row(&[401, 403], "", Denied, PermissionDenied, false, RIGHTS),
        // What was asked wrongly.
        row(
            &[400],
            "enterprise feature",
            Answer,
            ConfigInvalid,
            false,
            "this consul is not enterprise: set `tenancy = \"prefix\"`",
        ),
        row(FAULT, "no path to datacenter", Answer, ConfigInvalid, false, "check `datacenter`"),
        row(
            &[400],
            "http request to an https server",
            Elsewhere,
            ConfigInvalid,
            false,
            "write the address as `https://`",
        ),
        row(&[413], "", Answer, LimitExceeded, false, ""),
        row(&[400], "", Answer, Unexpected, false, ""),
        row(FAULT, "failed to create boolean expression", Answer, Unexpected, false, ""),
        // Limits.
        row(&[429], "concurrent connections", Answer, RateLimited, false, CONNECTIONS),
        row(&[429], "", Answer, RateLimited, false, ""),
        row(&[503], "rate limit", Answer, RateLimited, false, ""),
        // No quorum.
        row(FAULT, "no cluster leader", NoLeader, Unavailable, true, "is a majority of the servers there?"),
        row(FAULT, "raft leader not found", NoLeader, Unavailable, true, ""),
        row(FAULT, "leadership lost", NoLeader, Unavailable, true, ""),
        row(FAULT, "not ready to serve consistent reads", NoLeader, Unavailable, false, ""),
        row(
            FAULT,
            "no known consul servers",
            NoLeader,
            Unavailable,
            false,
            "does the agent reach its servers?",
        ),
        row(FAULT, "rpc error", NoLeader, Unavailable, true, ""),
        row(FAULT, "lead thread didn't get connection", NoLeader, Unavailable, true, ""),
        row(FAULT, "context deadline exceeded", NoLeader, Unavailable, true, ""),
        row(FAULT, "context canceled", NoLeader, Unavailable, true, ""),
        row(FAULT, "i/o timeout", NoLeader, Unavailable, true, ""),
        row(FAULT, "connection refused", NoLeader, Unavailable, true, ""),
        row(FAULT, "eof", NoLeader, Unavailable, true, ""),
        row(FAULT, "", Elsewhere, Unexpected, true, ""),
        // Proxies.
        row(&[502, 503, 504], "", Elsewhere, Unavailable, true, ""),
        // TLS.
        row(
            &[],
            "not valid for name",
            Elsewhere,
            ConfigInvalid,
            false,
            "set `tls.server_name` to a name in the agent's certificate",
        ),
        row(
            &[],
            "unknownissuer",
            Elsewhere,
            ConfigInvalid,
            false,
            "name whoever has signed it in `tls.ca_file`",
        ),
        row(&[], "certificate expired", Elsewhere, ConfigInvalid, false, "renew the agent's certificate"),
        row(&[], "invalid peer certificate", Elsewhere, ConfigInvalid, false, ""),
        row(
            &[],
            "received fatal alert",
            Elsewhere,
            ConfigInvalid,
            false,
            "if this agent asks for a client's certificate, set `tls.cert_file` and `tls.key_file`",
        ),
        row(
            &[],
            "received corrupt message",
            Elsewhere,
            ConfigInvalid,
            false,
            "if this agent speaks no TLS, write its address as `http://`",
        ),
        // Connections that were not made.
        row(&[], "connection refused", Elsewhere, Unavailable, false, "does consul listen there?"),
        row(&[], "dns error", Elsewhere, Unavailable, false, "is the host's name right?"),
        // What is no Consul.
        row(&[], "invalid http version", Elsewhere, Unexpected, true, NOT_CONSUL),
        row(&[], "invalid header", Elsewhere, Unexpected, true, NOT_CONSUL),
        // Connections that were lost. An agent with too many of them says nothing else.
        row(&[], "connection closed before message completed", Elsewhere, Unavailable, true, CONNECTIONS),
        row(&[], "connection reset", Elsewhere, Unavailable, true, CONNECTIONS),
        row(&[], "", Elsewhere, Unavailable, true, ""),
    ]
};

/// How much of a message is shown: it may come from anybody.
const SHOWN: usize = 200;

/// What an answer means that is no success.
pub(crate) fn judge(status: u16, body: &str, retry_after: Option<Duration>, call: &Call<'_>) -> Failure {
    let lower = body.to_lowercase();
    let row = TABLE.iter().find(|row| row.statuses.contains(&status) && lower.contains(row.says));
    let said = if body.trim().is_empty() { format!("status {status}") } else { shown(body) };
    let Some(row) = row else {
        let mut failure = strange(&format!("status {status}: {said}"), call);
        if call.write {
            failure.error = failure.error.with_outcome_unknown();
        }
        return failure;
    };
    let mut failure = failure(row, &said, call);
    if let Some(after) = retry_after {
        failure.error = failure.error.with_retry_after(after);
    }
    failure
}

/// Whether a connection had ended before anything was sent on it: as a request that was cancelled, without the cause.
pub(crate) fn was_not_sent(error: &reqwest::Error) -> bool {
    let mut sources = std::iter::successors(error.source(), |&inner| inner.source());
    sources.any(|inner| inner.to_string() == "connection was not ready")
}

/// What it means that no answer came.
pub(crate) fn judge_transport(error: reqwest::Error, call: &Call<'_>) -> Failure {
    // All of it is searched; the innermost source says the most. The URL in it says no more than the address.
    let error = error.without_url();
    let (mut all, mut said) = (error.to_string().to_lowercase(), error.to_string());
    let mut source = error.source();
    while let Some(inner) = source {
        said = inner.to_string();
        all.push('\n');
        all.push_str(&said.to_lowercase());
        source = inner.source();
    }
    if error.is_timeout() {
        let mut failure = timed_out("no answer in time", error.is_connect(), call);
        failure.error = failure.error.with_source(error);
        return failure;
    }
    let row = TABLE.iter().find(|row| row.statuses.is_empty() && all.contains(row.says));
    let mut failure = match row {
        Some(row) => failure(row, &shown(&said), call),
        None => strange(&shown(&said), call),
    };
    failure.error = failure.error.with_source(error);
    failure
}

/// What it means that no answer came in time.
pub(crate) fn timed_out(said: &str, connecting: bool, call: &Call<'_>) -> Failure {
    let mut error = Error::timeout(context(call, said, ""));
    if call.write && !connecting {
        error = error.with_outcome_unknown();
    }
    Failure { error, verdict: Verdict::Elsewhere }
}

/// What it means that an answer makes no sense.
pub(crate) fn strange(said: &str, call: &Call<'_>) -> Failure {
    Failure { error: Error::unexpected(context(call, said, NOT_CONSUL)), verdict: Verdict::Elsewhere }
}

/// What it means that a listing was cut down to what the token may see.
pub(crate) fn filtered(subject: &str) -> Error {
    Error::new(
        ErrorKind::PermissionDenied,
        format!(
            "cannot {subject}: consul leaves out what the token may not see; grant `service:read` on the service, and \
             `node:read` on the nodes that it runs on"
        ),
    )
}

/// What it means that a token was refused where nobody leads.
pub(crate) fn without_leader(denied: &Failure) -> Failure {
    let context =
        format!("{}; there is no leader, and until there is one no token is known", denied.error.context());
    Failure { error: Error::unavailable(context), verdict: Verdict::NoLeader }
}

fn failure(row: &Row, said: &str, call: &Call<'_>) -> Failure {
    let mut error = Error::new(row.kind, context(call, said, row.advice));
    if row.kind == ErrorKind::Unexpected && row.verdict == Verdict::Answer {
        // The agent is there and has understood: it will say the same again, and that is no outage.
        error = error.with_retry(Retry::Permanent);
    }
    if call.write && row.maybe {
        error = error.with_outcome_unknown();
    }
    Failure { error, verdict: row.verdict }
}

fn context(call: &Call<'_>, said: &str, advice: &str) -> String {
    let separator = if advice.is_empty() { "" } else { "; " };
    format!("cannot {} at {}: {said}{separator}{advice}", call.subject, call.agent)
}

/// In one line and not all of a novel.
fn shown(said: &str) -> String {
    let line = said.trim().trim_end_matches('.');
    line.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE: Call<'_> = Call { agent: "http://h:1", subject: "register o-1", write: true };

    #[test]
    fn every_dialect_of_loss_is_loss() {
        for (status, body) in [
            (500, "CheckID \"service:nope\" does not have associated TTL"),
            (500, "Unknown check \"service:nope\""),
            (
                404,
                "Unknown check ID \"service:nope\". Ensure that the check ID is passed, not the check name.",
            ),
            (404, "UNKNOWN CHECK"),
        ] {
            let Failure { error, verdict } = judge(status, body, None, &WRITE);
            assert_eq!((verdict, error.kind()), (Verdict::Lost, ErrorKind::NotFound), "{body}");
            assert!(!error.counts_as_outage());
        }
        for (status, body) in [
            (500, "Unknown service {\"nope\" {}}"),
            (404, "Unknown service ID \"nope\""),
            (404, "unknown service ID: nope"),
            (404, "No service registered with ID \"nope\""),
        ] {
            assert_eq!(judge(status, body, None, &WRITE).verdict, Verdict::Unknown, "{body}");
        }
    }

    #[test]
    fn the_table_knows_what_is_an_outage_whose_fault_it_is_and_what_to_do() {
        use ErrorKind::*;
        use Verdict::*;
        for (status, body, kind, verdict, maybe) in [
            (403, "Permission denied: Missing service:write on svc-a", PermissionDenied, Denied, false),
            (403, "ACL not found", Unauthorized, Denied, false),
            (
                400,
                "Bad request: Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature",
                ConfigInvalid,
                Answer,
                false,
            ),
            (400, "Client sent an HTTP request to an HTTPS server.", ConfigInvalid, Elsewhere, false),
            (500, "No path to datacenter", ConfigInvalid, Answer, false),
            (500, "Failed to create boolean expression evaluator", Unexpected, Answer, false),
            (400, "Invalid Service Meta: x", Unexpected, Answer, false),
            (500, "rpc error making call: No cluster leader", Unavailable, NoLeader, true),
            (500, "rpc error making call: EOF", Unavailable, NoLeader, true),
            (500, "rpc error getting client: lead thread didn't get connection", Unavailable, NoLeader, true),
            (500, "nobody has ever seen this", Unexpected, Elsewhere, true),
            (502, "Bad Gateway", Unavailable, Elsewhere, true),
            (429, "Your IP is issuing too many concurrent connections", RateLimited, Answer, false),
            (429, "", RateLimited, Answer, false),
            (413, "too large", LimitExceeded, Answer, false),
            (418, "I am a teapot", Unexpected, Elsewhere, true),
            (301, "", Unexpected, Elsewhere, true),
        ] {
            let found = judge(status, body, None, &WRITE);
            assert_eq!((found.error.kind(), found.verdict), (kind, verdict), "{status} {body}");
            assert_eq!(found.error.outcome_unknown(), maybe, "{status} {body}");
            let outage = matches!(verdict, NoLeader) || (verdict == Elsewhere && kind != ConfigInvalid);
            assert_eq!(found.error.counts_as_outage(), outage, "{status} {body}");
        }
    }

    #[test]
    fn an_error_says_what_was_tried_on_what_and_what_to_do() {
        let shown = |status, body| judge(status, body, None, &WRITE).error.to_string();
        assert_eq!(
            shown(403, "ACL not found"),
            "unauthorized: cannot register o-1 at http://h:1: ACL not found; check `token` or `token_file`"
        );
        assert_eq!(
            shown(404, "<html>\nno such page</html>"),
            "unexpected answer: cannot register o-1 at http://h:1: status 404: <html> no such page</html>; is this the \
             HTTP port of a consul agent?"
        );
        assert!(shown(500, &"x".repeat(10_000)).len() < 400);
        let after = judge(429, "", Some(Duration::from_secs(7)), &WRITE).error;
        assert_eq!(after.retry_after(), Some(Duration::from_secs(7)));
    }
}
