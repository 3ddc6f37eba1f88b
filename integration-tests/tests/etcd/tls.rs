//! Certificates and names that fit, and those that do not: each refusal says what to change.

use std::net::Ipv4Addr;
use std::sync::Arc;

use callsign_core::ErrorKind::{ConfigInvalid, Unavailable};
use callsign_integration_tests::etcd::{Etcd, Tls, config};
use callsign_integration_tests::pki::Authority;
use callsign_testkit::suite::{CaseResult, Stop};

use crate::program::Configured;
use crate::setup::Setup;

/// An etcd that nobody else gets, and what a client of it is configured with.
async fn started(setup: &Setup, tls: Tls) -> CaseResult<(Arc<Etcd>, Configured)> {
    setup.installed()?;
    let etcd = Etcd::start(setup.with(|options| options.with_tls(tls)).options().clone()).await?;
    let configured = Configured::like(&config(&etcd));
    Ok((etcd, configured))
}

fn authority(etcd: &Etcd) -> CaseResult<&Authority> {
    etcd.authority().ok_or_else(|| Stop::failed("nobody has signed the certificate"))
}

/// The address of the one member, with and without TLS.
fn addresses(etcd: &Etcd) -> CaseResult<(Ipv4Addr, String, String)> {
    let endpoint = etcd.endpoints().concat();
    let host = endpoint.rsplit_once("://").map_or(&*endpoint, |(_, host)| host);
    let ip = host.split_once(':').and_then(|(ip, _)| ip.parse().ok());
    let ip = ip.ok_or_else(|| Stop::failed(format!("there is no address in {endpoint}")))?;
    Ok((ip, format!("http://{host}"), format!("https://{host}")))
}

pub(crate) async fn server_is_believed_with_the_right_authority_only(setup: Setup) -> CaseResult {
    let (etcd, configured) = started(&setup, Tls::Server).await?;
    let (_, plain, endpoint) = addresses(&etcd)?;
    configured.works().await?;
    let untrusted = ["connect", &endpoint, "invalid peer certificate", "`tls.ca_file`"];
    configured.clone().without_tls(&["ca_file"]).is_refused(&[ConfigInvalid], &untrusted).await?;
    let folder = tempfile::tempdir().map_err(|error| Stop::failed(error.to_string()))?;
    let stranger = Authority::create(folder.path())?.ca_file().display().to_string();
    configured.clone().with_tls("ca_file", stranger).is_refused(&[ConfigInvalid], &untrusted).await?;
    let without = Configured::new([&plain]);
    without.is_refused(&[Unavailable], &["connect", &plain, "TLS", "`https://`"]).await?;
    // Nothing of it has stayed with the server.
    configured.works().await
}

pub(crate) async fn server_is_believed_under_its_own_name_only(setup: Setup) -> CaseResult {
    const NAME: &str = "etcd.example";
    let (etcd, configured) = started(&setup, Tls::Server).await?;
    let (_, _, endpoint) = addresses(&etcd)?;
    let advice = ["connect", &endpoint, "not valid for name", "`tls.server_name`"];
    configured.clone().with_tls("server_name", NAME).is_refused(&[ConfigInvalid], &advice).await?;
    etcd.show_certificate(&authority(&etcd)?.named("elsewhere", NAME)?)?;
    configured.is_refused(&[ConfigInvalid], &[advice.as_slice(), &[NAME]].concat()).await?;
    configured.with_tls("server_name", NAME).works().await
}

pub(crate) async fn server_with_an_expired_certificate_is_not_believed(setup: Setup) -> CaseResult {
    let (etcd, configured) = started(&setup, Tls::Server).await?;
    let (ip, _, endpoint) = addresses(&etcd)?;
    etcd.show_certificate(&authority(&etcd)?.expired("expired", [ip])?)?;
    let advice = ["connect", &endpoint, "certificate expired", "renew the server's certificate"];
    configured.is_refused(&[ConfigInvalid], &advice).await?;
    // A new one counts without a restart of anybody.
    etcd.show_certificate(&authority(&etcd)?.server("renewed", [ip])?)?;
    configured.works().await
}

pub(crate) async fn client_has_to_show_a_certificate_where_one_is_asked_for(setup: Setup) -> CaseResult {
    let (etcd, configured) = started(&setup, Tls::Mutual).await?;
    let (_, plain, endpoint) = addresses(&etcd)?;
    configured.works().await?;
    // With TLS 1.3 the server hangs up after the handshake, and says why if that is still heard.
    let kinds = [ConfigInvalid, Unavailable];
    let advice = ["connect", &endpoint, "`tls.cert_file` and `tls.key_file`"];
    let anonymous = configured.clone().without_tls(&["cert_file", "key_file"]);
    anonymous.is_refused(&kinds, &advice).await?;
    let folder = tempfile::tempdir().map_err(|error| Stop::failed(error.to_string()))?;
    let stranger = Authority::create(folder.path())?.client("stranger")?;
    let impostor = configured
        .with_tls("cert_file", stranger.cert.display().to_string())
        .with_tls("key_file", stranger.key.display().to_string());
    impostor.is_refused(&kinds, &advice).await?;
    Configured::new([&plain]).is_refused(&[Unavailable], &["connect", &plain, "TLS", "`https://`"]).await
}

pub(crate) async fn plain_server_is_not_asked_for_a_certificate(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let (_, _, encrypted) = addresses(stage.etcd())?;
    let configured = Configured::new([&encrypted]);
    configured.is_refused(&[Unavailable], &["connect", &encrypted, "`http://`"]).await?;
    Configured::like(&stage.config()).works().await
}
