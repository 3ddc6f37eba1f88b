//! A TLS client of our own, for the look at a server that gives no session.

use std::sync::Arc;

use callsign_core::config::TlsMaterial;
use callsign_core::{Error, Result};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A connector that trusts and shows what the library's does.
pub(super) fn connector(material: &TlsMaterial) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(material.ca.as_deref().unwrap_or_default()) {
        roots.add(certificate.map_err(unusable)?).map_err(unusable)?;
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots);
    let config = match &material.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain: Vec<_> = CertificateDer::pem_slice_iter(&identity.cert)
                .collect::<std::result::Result<_, _>>()
                .map_err(unusable)?;
            let key = PrivateKeyDer::from_pem_slice(identity.key.expose().as_bytes()).map_err(unusable)?;
            builder.with_client_auth_cert(chain, key).map_err(unusable)?
        }
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn unusable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::config("`tls`: the certificates or the key cannot be used").with_source(error)
}
