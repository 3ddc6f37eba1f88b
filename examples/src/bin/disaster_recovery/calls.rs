//! A client that calls the service at a steady pace, whatever happens.

use std::time::Duration;

use anyhow::{Result, ensure};
use axum::body::{Body, to_bytes};
use callsign::{RoundRobin, ServiceView};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Interval, interval, timeout};

/// Five hundred in a second.
const PACE: Duration = Duration::from_millis(2);
/// How long a call may take.
const TIMEOUT: Duration = Duration::from_secs(1);

/// The calls, and what became of them.
pub(crate) struct Calls {
    http: Client<HttpConnector, Body>,
    orders: RoundRobin,
    pace: Interval,
    pub(crate) made: u32,
    pub(crate) failed: u32,
}

impl Calls {
    pub(crate) fn new(view: &ServiceView) -> Self {
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { http, orders: view.round_robin(), pace: interval(PACE), made: 0, failed: 0 }
    }

    /// Makes calls until `event` has happened.
    pub(crate) async fn go_on_until<T>(&mut self, event: impl Future<Output = T>) -> T {
        let mut event = std::pin::pin!(event);
        loop {
            tokio::select! {
                happened = &mut event => return happened,
                _ = self.pace.tick() => {}
            }
            // One try: nobody is asked a second time to hide a failure.
            let answer = self.call().await;
            self.made += 1;
            self.failed += u32::from(answer.is_err());
        }
    }

    async fn call(&self) -> Result<()> {
        let order = self.orders.pick();
        let order = order.ok_or_else(|| anyhow::anyhow!("nobody is there"))?;
        let url = order.endpoints.primary().to_string().parse()?;
        let answer = timeout(TIMEOUT, self.http.get(url)).await??;
        ensure!(answer.status().is_success(), "{}", answer.status());
        let body = to_bytes(Body::new(answer.into_body()), 1024).await?;
        ensure!(*body == *order.id().as_str().as_bytes(), "somebody else has answered");
        Ok(())
    }
}
