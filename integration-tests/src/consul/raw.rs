//! The plain client: for what a test does past the backend.

use std::time::Duration;

use callsign_core::{Error, Result};
use reqwest::{Client, Method};
use serde_json::{Value, json};

/// No call of a test is worth waiting longer for.
const ANSWER: Duration = Duration::from_secs(5);

/// What is registered to see whether it arrives.
const CANARY: &str = "canary";

/// A plain client of one agent.
#[derive(Debug, Clone)]
pub struct Raw {
    client: Client,
    url: String,
    token: Option<String>,
}

impl Raw {
    pub(super) fn new(url: &str, token: Option<&str>) -> Result<Self> {
        let client = Client::builder().no_proxy().timeout(ANSWER).pool_max_idle_per_host(0).build();
        let client = client.map_err(|error| Error::unexpected("no plain client").with_source(error))?;
        Ok(Self { client, url: url.to_owned(), token: token.map(str::to_owned) })
    }

    /// The JSON at `path`, or the text where it is none.
    ///
    /// # Errors
    /// `Unexpected` when the agent does not answer, or with another status than 200.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.send(Method::GET, path, None).await
    }

    /// Sends `body` to `path`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        self.send(Method::PUT, path, Some(body)).await
    }

    /// Deletes what is at `path`.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn delete(&self, path: &str) -> Result<Value> {
        self.send(Method::DELETE, path, None).await
    }

    async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let failed =
            |error: reqwest::Error| Error::unexpected(format!("the plain client: {path}")).with_source(error);
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.header("X-Consul-Token", token);
        }
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let text = response.text().await.map_err(failed)?;
        if !status.is_success() {
            return Err(Error::unexpected(format!("the plain client: {path}: {status}: {text}")));
        }
        Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    /// Succeeds when what is registered at the agent arrives at the servers.
    pub(super) async fn writes(&self) -> std::result::Result<(), String> {
        let text = |error: Error| error.to_string();
        let canary = json!({"ID": CANARY, "Name": CANARY, "Port": 1});
        self.put("/v1/agent/service/register", &canary).await.map_err(text)?;
        let found = self.get(&format!("/v1/catalog/service/{CANARY}")).await.map_err(text)?;
        let path = format!("/v1/agent/service/deregister/{CANARY}");
        self.put(&path, &Value::Null).await.map_err(text)?;
        if found.as_array().is_some_and(|found| !found.is_empty()) {
            Ok(())
        } else {
            Err("what is registered does not arrive".to_owned())
        }
    }

    /// Succeeds when the servers hear of what the agent notices by itself: one that could not tell them something, as when
    /// it started before they had a leader, waits for some seconds, up to 30, before it tells them anything.
    pub(super) async fn tells(&self) -> std::result::Result<(), String> {
        let text = |error: Error| error.to_string();
        let checks = self.get(&format!("/v1/health/checks/{CANARY}")).await.map_err(text)?;
        let checks = checks.as_array().map(Vec::as_slice).unwrap_or_default();
        if checks.iter().any(|check| check["Status"] == "critical") {
            let path = format!("/v1/agent/service/deregister/{CANARY}");
            return self.put(&path, &Value::Null).await.map(drop).map_err(text);
        }
        if checks.is_empty() {
            let check = json!({"TTL": "50ms", "Status": "passing"});
            let canary = json!({"ID": CANARY, "Name": CANARY, "Port": 1, "Check": check});
            self.put("/v1/agent/service/register", &canary).await.map_err(text)?;
        }
        Err("nobody hears that a ttl has ended".to_owned())
    }

    /// Succeeds when there is a leader, and the node `name` in the catalog.
    pub(super) async fn serves(&self, name: &str) -> std::result::Result<(), String> {
        let text = |error: Error| error.to_string();
        let leader = self.get("/v1/status/leader").await.map_err(text)?;
        if leader.as_str().is_none_or(str::is_empty) {
            return Err("there is no leader".to_owned());
        }
        let checks = self.get(&format!("/v1/health/node/{name}")).await.map_err(text)?;
        let alive = |check: &Value| check["CheckID"] == "serfHealth" && check["Status"] == "passing";
        if checks.as_array().is_some_and(|checks| checks.iter().any(alive)) {
            Ok(())
        } else {
            Err(format!("the node {name} is not known to be alive"))
        }
    }
}
