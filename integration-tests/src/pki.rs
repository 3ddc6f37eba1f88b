//! Certificates and keys for servers that want them, made afresh.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use callsign_core::{Error, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, SanType, date_time_ymd,
};

/// A certificate authority with a folder for what it signs. All files are PEM.
pub struct Authority {
    folder: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its private key.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The certificate's file.
    pub cert: PathBuf,
    /// The private key's file.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority that keeps its files in `folder`.
    ///
    /// # Errors
    /// `Unexpected` when a key cannot be made or a file not be written.
    pub fn create(folder: &Path) -> Result<Self> {
        let issuer = issuer().map_err(|error| failed("an authority", error))?;
        let authority = Self { folder: folder.to_owned(), issuer };
        write(&authority.ca_file(), &authority.issuer.pem())?;
        Ok(authority)
    }

    /// The authority's own certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A certificate for servers at these addresses, in files that begin with `name`.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn server(&self, name: &str, addresses: impl IntoIterator<Item = Ipv4Addr>) -> Result<Pair> {
        self.sign(name, at(addresses))
    }

    /// The same for a time that is over.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn expired(&self, name: &str, addresses: impl IntoIterator<Item = Ipv4Addr>) -> Result<Pair> {
        let mut params = at(addresses);
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
        self.sign(name, params)
    }

    /// A certificate for the server of this host name, wherever it is, in files that begin with `name`.
    ///
    /// # Errors
    /// As [`create`](Self::create); also for what is no host name.
    pub fn named(&self, name: &str, host: &str) -> Result<Pair> {
        let host = host.try_into().map_err(|error| failed(name, error))?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::DnsName(host)];
        self.sign(name, params)
    }

    /// A certificate for a client with the common name `name`, in files that begin with it.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn client(&self, name: &str) -> Result<Pair> {
        self.sign(name, CertificateParams::default())
    }

    fn sign(&self, name: &str, mut params: CertificateParams) -> Result<Pair> {
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Both, as some servers are clients of their own.
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let signed = KeyPair::generate().and_then(|key| Ok((params.signed_by(&key, &self.issuer)?, key)));
        let (cert, key) = signed.map_err(|error| failed(name, error))?;
        pair(&self.folder, name, &cert.pem(), &key)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

/// A public and a private RSA key for tokens, in files that begin with `name`.
///
/// # Errors
/// As [`Authority::create`].
pub fn rsa(folder: &Path, name: &str) -> Result<Pair> {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256).map_err(|error| failed(name, error))?;
    pair(folder, name, &key.public_key_pem(), &key)
}

fn at(addresses: impl IntoIterator<Item = Ipv4Addr>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.subject_alt_names = addresses.into_iter().map(|ip| SanType::IpAddress(ip.into())).collect();
    params
}

fn issuer() -> std::result::Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "callsign tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn pair(folder: &Path, name: &str, public: &str, private: &KeyPair) -> Result<Pair> {
    let pair = Pair { cert: folder.join(format!("{name}.pem")), key: folder.join(format!("{name}-key.pem")) };
    write(&pair.cert, public)?;
    write(&pair.key, &private.serialize_pem())?;
    Ok(pair)
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)
        .map_err(|error| Error::unexpected(format!("cannot write {}", path.display())).with_source(error))
}

fn failed(what: &str, error: rcgen::Error) -> Error {
    Error::unexpected(format!("cannot make the keys of {what}")).with_source(error)
}
