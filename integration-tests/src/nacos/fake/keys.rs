//! What an encrypted fake shows, and whom it lets in.

use std::fs::read;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::config::Tls;
use callsign_core::{Error, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::options::Encryption;
use crate::Address;
use crate::pki::{Authority, Pair};

/// How long somebody may take to shake hands, and to read why he is refused.
const HANDSHAKE: Duration = Duration::from_secs(2);

#[derive(Debug, Clone)]
pub(super) struct Keys {
    pub(super) authority: Arc<Authority>,
    grpc: Pair,
    http: Pair,
    /// Where clients have to show one.
    client: Option<Pair>,
}

impl Keys {
    pub(super) fn create(folder: &Path, addresses: &[Address], how: Encryption) -> Result<Self> {
        let authority = Authority::create(folder)?;
        let grpc = authority.server("server", addresses.iter().map(Address::ip))?;
        let http = if how == Encryption::StrangeHttp {
            let strange = folder.join("strange");
            std::fs::create_dir(&strange).map_err(broken)?;
            Authority::create(&strange)?.server("server", addresses.iter().map(Address::ip))?
        } else {
            grpc.clone()
        };
        let client = (how == Encryption::Mutual).then(|| authority.client("client")).transpose()?;
        Ok(Self { authority: Arc::new(authority), grpc, http, client })
    }

    /// What a client needs.
    pub(super) fn tls(&self) -> Tls {
        let mut tls = Tls::default();
        tls.ca_file = Some(self.authority.ca_file());
        if let Some(client) = &self.client {
            (tls.cert_file, tls.key_file) = (Some(client.cert.clone()), Some(client.key.clone()));
        }
        tls
    }

    /// For gRPC.
    pub(super) fn grpc(&self) -> Result<ServerTlsConfig> {
        let config = ServerTlsConfig::new().identity(Identity::from_pem(
            read(&self.grpc.cert).map_err(broken)?,
            read(&self.grpc.key).map_err(broken)?,
        ));
        let ca = read(self.authority.ca_file()).map_err(broken)?;
        Ok(if self.client.is_some() { config.client_ca_root(Certificate::from_pem(ca)) } else { config })
    }

    /// For HTTP.
    pub(super) fn http(&self, listener: TcpListener) -> Result<Encrypted> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(self.authority.ca_file()).map_err(broken)?)
            .map_err(broken)?;
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(broken)?;
        let builder = if self.client.is_some() {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(broken)?)
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_file(&self.http.cert).map_err(broken)?];
        let key = PrivateKeyDer::from_pem_file(&self.http.key).map_err(broken)?;
        let config = builder.with_single_cert(chain, key).map_err(broken)?;
        Ok(Encrypted { listener, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::unexpected("the fake's certificates cannot be used").with_source(error)
}

/// Takes whoever has shaken hands.
pub(super) struct Encrypted {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, at) = axum::serve::Listener::accept(&mut self.listener).await;
            match timeout(HANDSHAKE, self.acceptor.accept(stream).into_fallible()).await {
                Ok(Ok(stream)) => return (stream, at),
                Ok(Err((_, refused))) => {
                    let _ = timeout(HANDSHAKE, part(refused)).await;
                }
                Err(_) => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Has somebody read why he is refused: what he has sent already would have his own system forget it.
async fn part(mut refused: TcpStream) -> io::Result<()> {
    refused.shutdown().await?;
    let mut ignored = [0; 1024];
    while refused.read(&mut ignored).await? > 0 {}
    Ok(())
}
