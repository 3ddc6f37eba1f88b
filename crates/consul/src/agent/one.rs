//! One agent: sending a request, and taking the answer.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::ErrorKind;
use callsign_core::config::{HttpAddress, Secret};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Client;
use reqwest::header::HeaderValue;
use tokio::time::{Instant, timeout};

use super::answer::{Answer, Marks, NotTaken, take};
use super::tls;
use super::token::Tokens;
use crate::config::Settings;
use crate::error::{
    Call, Failure, Verdict, judge, judge_transport, strange, timed_out, was_not_sent, without_leader,
};

/// What may stand as it is in a part of a path and in a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');

/// `text` as a part of a path or the value of a query.
pub(crate) fn encoded(text: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(text, PLAIN)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Put,
    Post,
}

/// Where any agent says who leads, whatever the token.
pub(crate) const LEADER: &str = "/v1/status/leader";

/// A request, before it is known who is asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    verb: Verb,
    /// Path and query, encoded.
    path: String,
    body: Option<Vec<u8>>,
    /// What it is about. Follows upon "cannot".
    subject: String,
    /// Whether every JSON is an answer, whatever the status: an agent says with the status how a service is.
    any_status: bool,
    /// How often it is asked anew where the agent has turned to a server that is not there: it tries the next one then.
    again: usize,
}

impl Request {
    pub(crate) fn new(verb: Verb, path: impl Into<String>, subject: impl Into<String>) -> Self {
        Self { verb, path: path.into(), body: None, subject: subject.into(), any_status: false, again: 0 }
    }

    pub(crate) fn get(path: impl Into<String>, subject: impl Into<String>) -> Self {
        Self::new(Verb::Get, path, subject)
    }

    pub(crate) fn put(path: impl Into<String>, subject: impl Into<String>) -> Self {
        Self::new(Verb::Put, path, subject)
    }

    pub(crate) fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    pub(crate) fn with_any_status(mut self) -> Self {
        self.any_status = true;
        self
    }

    /// Any server will do: whatever is wrong with one of them need not be wrong with the others.
    pub(crate) fn of_any_server(mut self) -> Self {
        self.again = 2;
        self.flagged("stale")
    }

    /// Adds `key=value` to the query.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        self.push(key);
        self.path.push('=');
        self.path.push_str(&encoded(value).to_string());
        self
    }

    /// Adds `key` to the query.
    pub(crate) fn flagged(mut self, key: &str) -> Self {
        self.push(key);
        self
    }

    pub(crate) fn subject(&self) -> &str {
        &self.subject
    }

    pub(super) fn again(&self) -> usize {
        self.again
    }

    fn push(&mut self, key: &str) {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(key);
    }

    fn about<'a>(&'a self, agent: &'a str) -> Call<'a> {
        Call { agent, subject: &self.subject, write: self.verb == Verb::Put }
    }
}

/// One agent.
pub(super) struct Agent {
    settings: Arc<Settings>,
    address: HttpAddress,
    /// As it is shown.
    url: String,
    control: Mutex<Option<(Client, String)>>,
    watching: Mutex<Option<(Client, String)>>,
}

impl Agent {
    pub(super) fn new(settings: Arc<Settings>, address: HttpAddress) -> Self {
        let url = address.url();
        Self { settings, address, url, control: Mutex::default(), watching: Mutex::default() }
    }

    /// Sends `request`, with another token once more where the first is refused; within `limit`.
    pub(super) async fn ask(
        &self,
        tokens: &Tokens,
        request: &Request,
        blocking: bool,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let until = Instant::now() + limit;
        let misconfigured = |error| Failure { error, verdict: Verdict::Elsewhere };
        let token = tokens.current(&self.settings).map_err(misconfigured)?;
        match self.send(request, token.as_ref(), blocking, until).await {
            Err(failure) if failure.verdict == Verdict::Denied => {
                match tokens.after(&self.settings, token.as_ref()) {
                    Some(newer) => self.send(request, Some(&newer), blocking, until).await,
                    None => Err(self.unless_without_leader(failure, until).await),
                }
            }
            answer => answer,
        }
    }

    /// Servers that have just started know no token until they have a leader.
    async fn unless_without_leader(&self, denied: Failure, until: Instant) -> Failure {
        match self.send(&Request::get(LEADER, "ask for the leader"), None, false, until).await {
            // An address, or nothing in quotation marks.
            Ok(answer) if !answer.body.contains(&b':') => without_leader(&denied),
            Err(failure) if failure.error.counts_as_outage() => failure,
            _ => denied,
        }
    }

    async fn send(
        &self,
        request: &Request,
        token: Option<&Secret>,
        blocking: bool,
        until: Instant,
    ) -> Result<Answer, Failure> {
        let call = request.about(&self.url);
        let limit = until.saturating_duration_since(Instant::now());
        let answer = timeout(limit, self.exchange(request, token, blocking)).await.unwrap_or_else(|_| {
            let seconds = (limit.as_millis() + 500) / 1000;
            Err(timed_out(&format!("no answer within {seconds}s"), false, &call))
        });
        if let Err(failure) = &answer
            && failure.error.kind() == ErrorKind::ConfigInvalid
        {
            // Certificates may be replaced: the next call reads them anew.
            self.slot(blocking).take();
        }
        answer
    }

    async fn exchange(
        &self,
        request: &Request,
        token: Option<&Secret>,
        blocking: bool,
    ) -> Result<Answer, Failure> {
        let call = request.about(&self.url);
        let (client, url) =
            self.client(blocking).map_err(|error| Failure { error, verdict: Verdict::Elsewhere })?;
        let url = format!("{url}{}", request.path);
        let mut outgoing = match request.verb {
            Verb::Get => client.get(url),
            Verb::Put => client.put(url),
            Verb::Post => client.post(url),
        };
        if let Some(token) = token {
            // A token was checked when it was read; whoever prints a request does not print this.
            let value = HeaderValue::from_str(token.expose());
            let mut value = value.map_err(|_| strange("the token is no header", &call))?;
            value.set_sensitive(true);
            outgoing = outgoing.header("X-Consul-Token", value);
        }
        outgoing = match &request.body {
            Some(body) => outgoing.header("Content-Type", "application/json").body(body.clone()),
            // A `PUT` without a length is refused by proxies.
            None if request.verb == Verb::Put => outgoing.header("Content-Length", "0"),
            None => outgoing,
        };
        let again = outgoing.try_clone();
        let response = match (outgoing.send().await, again) {
            // Whom a server does not let in for its certificate may find the connection gone, and learns why when it asks again.
            (Err(error), Some(again)) if was_not_sent(&error) => again.send().await,
            (response, _) => response,
        };
        let response = response.map_err(|error| judge_transport(error, &call))?;
        let at = Instant::now();
        let marks = Marks::of(response.status(), response.headers());
        let success = marks.is_success() || (request.any_status && marks.json);
        let body = take(response, success).await.map_err(|error| match error {
            NotTaken::Broken(error) => judge_transport(error, &call),
            NotTaken::TooLarge => strange("the answer is larger than 64 MiB", &call),
        })?;
        if success {
            return Ok(Answer { body, marks, at, took: at.elapsed() });
        }
        Err(judge(marks.status, &String::from_utf8_lossy(&body), marks.retry_after, &call))
    }

    fn client(&self, blocking: bool) -> callsign_core::Result<(Client, String)> {
        let mut slot = self.slot(blocking);
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let idle = if blocking { self.settings.watch.max_blocked } else { 1 };
        let client = tls::client(&self.settings, &self.address, idle)?;
        *slot = Some(client.clone());
        Ok(client)
    }

    fn slot(&self, blocking: bool) -> MutexGuard<'_, Option<(Client, String)>> {
        // Two clients, so that queries that wait never take a connection away from a renewal.
        let slot = if blocking { &self.watching } else { &self.control };
        slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets all connections go.
    pub(super) fn close(&self) {
        self.slot(true).take();
        self.slot(false).take();
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_encoded_and_a_path_may_have_one() {
        let request = Request::get(format!("/v1/health/service/{}", encoded("a/b c%")), "list a/b");
        let request = request.flagged("stale").with("filter", "Service.ID == \"x\"");
        assert_eq!(
            request.path,
            "/v1/health/service/a%2Fb%20c%25?stale&filter=Service.ID%20%3D%3D%20%22x%22"
        );
    }
}
