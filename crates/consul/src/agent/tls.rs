//! The HTTP clients of one agent, with what they trust and show.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::config::{HttpAddress, TlsMaterial};
use callsign_core::{Error, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Client, ClientBuilder, Identity, redirect};

use crate::config::Settings;

/// A connection that nobody uses for so long is closed; agents count them.
const IDLE: Duration = Duration::from_secs(15);

/// A client of the agent at `address` that keeps up to `idle` connections for the next call, and the URL to use it with.
///
/// HTTP/1.1 alone: over HTTP/2 all calls share one connection with 250 streams, and a renewal waits for a query to end.
pub(super) fn client(settings: &Settings, address: &HttpAddress, idle: usize) -> Result<(Client, String)> {
    let mut builder = Client::builder()
        .user_agent(concat!("callsign/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(settings.connect_timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(idle)
        .redirect(redirect::Policy::none())
        .tcp_nodelay(true)
        // The agent is a neighbour: what a proxy is set for is not meant.
        .no_proxy();
    let mut url = address.url();
    if let Some(material) = settings.tls()? {
        if let Some(name) = &material.server_name {
            url = address.url_of(name);
            builder = builder.dns_resolver(Arc::new(Instead { host: address.host.clone() }));
        }
        builder = with_tls(builder, &material)?;
    }
    let client = builder.build().map_err(|error| Error::config("the HTTP client").with_source(error))?;
    Ok((client, url))
}

fn with_tls(mut builder: ClientBuilder, material: &TlsMaterial) -> Result<ClientBuilder> {
    let broken = |key: &str| {
        let context = format!("`tls.{key}`: the file holds no certificates that can be used");
        move |error: reqwest::Error| Error::config(context).with_source(error)
    };
    builder = builder.https_only(true);
    if let Some(ca) = &material.ca {
        builder = builder.tls_certs_only(Certificate::from_pem_bundle(ca).map_err(broken("ca_file"))?);
    }
    if let Some(identity) = &material.identity {
        let pem = [&*identity.cert, b"\n", identity.key.expose().as_bytes()].concat();
        builder = builder.identity(Identity::from_pem(&pem).map_err(broken("cert_file"))?);
    }
    Ok(builder)
}

/// Resolves every name to the agent's host: the name in the URL is the one in the certificate.
struct Instead {
    host: String,
}

impl Resolve for Instead {
    fn resolve(&self, _name: Name) -> Resolving {
        let host = self.host.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
