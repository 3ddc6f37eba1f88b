//! As little as can be done with `reqwest` alone.

use anyhow::{Context, Result};
use callsign_consul::{instance_id, service_name};
use callsign_core::{Instance, ServiceKey};
use callsign_integration_tests::consul::Consul;
use reqwest::{Client, Response};
use serde_json::{Value, json};

/// One agent, and one service there.
#[derive(Debug)]
pub(super) struct Raw {
    client: Client,
    url: String,
    service: ServiceKey,
    /// Of the last answer about the service.
    index: String,
}

impl Raw {
    pub(super) fn new(consul: &Consul, service: ServiceKey) -> Result<Self> {
        let client = Client::builder().no_proxy().tcp_nodelay(true).build()?;
        Ok(Self { client, url: consul.home()?.url().to_owned(), service, index: "0".to_owned() })
    }

    pub(super) async fn register(&self, instance: &Instance) -> Result<()> {
        let body = json!({
            "ID": instance_id(&instance.key), "Name": service_name(&instance.key.service),
            "Address": &*instance.endpoints.primary().host, "Port": instance.endpoints.primary().port.get(),
            "Check": {"TTL": "15s", "Status": "passing"},
        });
        self.put("/v1/agent/service/register", Some(&body)).await
    }

    pub(super) async fn deregister(&self, instance: &Instance) -> Result<()> {
        self.put(&format!("/v1/agent/service/deregister/{}", instance_id(&instance.key)), None).await
    }

    /// Puts an instance past the agents, under a node of its own: nobody keeps it alive, and nobody removes it.
    pub(super) async fn put_into_catalog(&self, instance: &Instance) -> Result<()> {
        let body = json!({
            "Node": "elsewhere", "Address": "10.0.0.1", "SkipNodeUpdate": true,
            "Service": {
                "ID": instance.id().as_str(), "Service": service_name(&instance.key.service),
                "Address": &*instance.endpoints.primary().host, "Port": instance.endpoints.primary().port.get(),
                "Meta": {"build": "2026-03-14.7f3a9c1", "shard": "1", "team": "payments", "zone": "eu-central-1a"},
            },
        });
        self.put("/v1/catalog/register", Some(&body)).await
    }

    /// Waits until the service has `id`, or has it no more, by queries that wait for changes.
    pub(super) async fn until(&mut self, id: &str, there: bool) -> Result<()> {
        loop {
            let path = format!("/v1/health/service/{}?index={}", service_name(&self.service), self.index);
            let response = self.client.get(format!("{}{path}", self.url)).send().await?.error_for_status()?;
            let index = response.headers().get("x-consul-index").context("an answer without an index")?;
            index.to_str()?.clone_into(&mut self.index);
            let entries: Vec<Value> = serde_json::from_slice(&response.bytes().await?)?;
            if entries.iter().any(|entry| entry["Service"]["ID"] == id) == there {
                return Ok(());
            }
        }
    }

    /// Fetches the whole service; how many bytes that are.
    pub(super) async fn fetch(&self) -> Result<usize> {
        let url = format!("{}/v1/health/service/{}", self.url, service_name(&self.service));
        Ok(self.client.get(url).send().await?.error_for_status()?.bytes().await?.len())
    }

    async fn put(&self, path: &str, body: Option<&Value>) -> Result<()> {
        let mut request = self.client.put(format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.body(body.to_string());
        }
        request.send().await.and_then(Response::error_for_status)?.bytes().await?;
        Ok(())
    }
}
