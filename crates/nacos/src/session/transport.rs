//! The way to a server: one TCP connection, and never another one.
//!
//! A server knows a client by its TCP connection, and what was published goes with that. tonic's channel would connect anew
//! by itself, and every call would be one of an unknown client; so its connector connects once.

use std::io;
use std::time::Duration;

use callsign_core::config::HttpAddress;
use callsign_core::{Error, Result};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tower::service_fn;

use super::hangup::{Observed, Over};
use crate::config::{Server, Settings};
use crate::error::{CLIENT_CERTIFICATE, advice_on_tls, chain};

/// The largest message either way, as the servers have it.
pub(super) const MESSAGE: usize = 10 * 1024 * 1024;
/// What may be on its way unread: a push of a large service does not wait for our word after each 64 KiB.
const WINDOW: u32 = 4 * 1024 * 1024;
/// How long it is looked whether a server answers HTTP where it does not answer gRPC.
const LOOK: Duration = Duration::from_millis(500);

/// A channel over one new connection to `server`; `over` tells when it has broken.
pub(super) async fn open(settings: &Settings, server: &Server, over: &Over) -> Result<Channel> {
    let (endpoint, limit) = (endpoint(settings, server)?, settings.connect_timeout);
    let at = server.grpc.url();
    let connecting = async {
        let stream = connect(&server.grpc).await;
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) => return Err(refused(server, error).await),
        };
        let mut stream = Some(Observed::new(stream, over.clone()));
        let once = service_fn(move |_| {
            let stream = stream.take().ok_or_else(|| io::Error::other("the connection is over"));
            async move { stream.map(TokioIo::new) }
        });
        endpoint.connect_with_connector(once).await.map_err(|error| unlike(server, error))
    };
    timeout(limit, connecting).await.unwrap_or_else(|_| {
        let limit = humantime::format_duration(limit);
        Err(Error::timeout(format!("cannot connect to {at}: no answer within {limit}")))
    })
}

/// Why a server that is there is not one to be talked to.
fn unlike(server: &Server, error: tonic::transport::Error) -> Error {
    let (at, said) = (server.grpc.url(), chain(&error));
    let failed = |advice: &str| format!("cannot connect to {at}: {said}; {advice}");
    let error_of = match advice_on_tls(&said) {
        Some(advice) => Error::config(failed(advice)),
        None if server.grpc.encrypted => Error::unavailable(failed(CLIENT_CERTIFICATE)),
        None => Error::unavailable(failed("is this the gRPC port of a nacos server, and not encrypted?")),
    };
    error_of.with_source(error)
}

async fn connect(address: &HttpAddress) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    // Without it each request waits 40 ms for an acknowledgement.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Why nobody can be reached. Who serves HTTP and no gRPC is told from who is not there.
async fn refused(server: &Server, error: io::Error) -> Error {
    let at = server.grpc.url();
    let said = chain(&error);
    let http = matches!(timeout(LOOK, connect(&server.http)).await, Ok(Ok(_)));
    let advice = if http {
        format!(
            "; {} is open: is this Nacos 1.x, which has no gRPC, or is gRPC at another port (`grpc_port_offset`, \
             `grpc_port`)?",
            server.http.url()
        )
    } else {
        String::new()
    };
    Error::unavailable(format!("cannot connect to {at}: {said}{advice}")).with_source(error)
}

fn endpoint(settings: &Settings, server: &Server) -> Result<Endpoint> {
    let broken = |error: tonic::transport::Error| {
        Error::config(format!(
            "`addresses`: `{}` is no address for gRPC: {}",
            server.grpc.url(),
            chain(&error)
        ))
        .with_source(error)
    };
    let endpoint = Endpoint::from_shared(server.grpc.url())
        .and_then(|endpoint| endpoint.user_agent(concat!("callsign/", env!("CARGO_PKG_VERSION"))))
        .map_err(broken)?
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 2);
    // No HTTP/2 pings: servers take who sends them for an attacker. What is silent is asked by a request of Nacos' own.
    let Some(material) = settings.tls()? else { return Ok(endpoint) };
    let mut tls = match &material.ca {
        Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    if let Some(identity) = &material.identity {
        tls = tls.identity(Identity::from_pem(&identity.cert, identity.key.expose()));
    }
    if let Some(name) = &material.server_name {
        tls = tls.domain_name(name);
    }
    endpoint.tls_config(tls).map_err(|error| {
        Error::config(format!("`tls`: the files cannot be used: {}", chain(&error))).with_source(error)
    })
}
