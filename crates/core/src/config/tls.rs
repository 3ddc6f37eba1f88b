//! TLS towards a registry.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Secret;
use crate::{Error, Result};

/// The `tls` table of a registry. All of it is optional; an empty table means TLS with the system's roots.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Tls {
    /// A PEM file with the certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A PEM file with the client's certificate chain; needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// A PEM file with the client's private key; needs `cert_file`.
    pub key_file: Option<PathBuf>,
    /// The name to expect in the server's certificate, where it is not the host of the address.
    pub server_name: Option<String>,
}

/// The files of a [`Tls`] table, read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TlsMaterial {
    /// The certificate authorities, PEM; `None` means the system's.
    pub ca: Option<Vec<u8>>,
    /// The client's own certificate.
    pub identity: Option<Identity>,
    /// The name to expect in the server's certificate.
    pub server_name: Option<String>,
}

/// A client's certificate chain and private key, PEM.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Identity {
    /// The certificate chain.
    pub cert: Vec<u8>,
    /// The private key.
    pub key: Secret,
}

impl Tls {
    /// Checks that certificate and key come together, and reads the files.
    ///
    /// # Errors
    /// `ConfigInvalid`: one of `cert_file` and `key_file` without the other (half a configuration is never taken
    /// for none), a file that cannot be read, or one without a PEM block.
    pub fn load(&self) -> Result<TlsMaterial> {
        let identity = match (&self.cert_file, &self.key_file) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(Identity {
                cert: read("tls.cert_file", cert)?.into_bytes(),
                key: Secret::new(read("tls.key_file", key)?),
            }),
            (Some(_), None) => {
                return Err(Error::config("`tls.cert_file` is set and `tls.key_file` is not: set both"));
            }
            (None, Some(_)) => {
                return Err(Error::config("`tls.key_file` is set and `tls.cert_file` is not: set both"));
            }
        };
        let ca = self
            .ca_file
            .as_deref()
            .map(|path| read("tls.ca_file", path).map(String::into_bytes))
            .transpose()?;
        Ok(TlsMaterial { ca, identity, server_name: self.server_name.clone() })
    }
}

fn read(key: &str, path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::config(format!("`{key}`: the file {} cannot be read", path.display())).with_source(error)
    })?;
    if !text.contains("-----BEGIN ") {
        return Err(Error::config(format!("`{key}`: the file {} holds no PEM block", path.display())));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_an_identity_is_an_error_and_never_no_identity() {
        let tls = Tls { cert_file: Some("cert.pem".into()), ..Tls::default() };
        assert_eq!(
            tls.load().unwrap_err().to_string(),
            "`tls.cert_file` is set and `tls.key_file` is not: set both"
        );
    }

    #[test]
    fn a_missing_file_is_named_with_its_key() {
        let tls = Tls { ca_file: Some("/nowhere/ca.pem".into()), ..Tls::default() };
        assert_eq!(
            tls.load().unwrap_err().to_string(),
            "`tls.ca_file`: the file /nowhere/ca.pem cannot be read"
        );
    }
}
