//! TLS, for gRPC and for the login: whom to trust, and what to show.

use std::time::Duration;

use callsign_core::config::Tls;
use callsign_core::{Backend, Error, ErrorKind, EventKind, Probe};
use callsign_integration_tests::nacos::{Fake, FakeOptions, PASSWORD, config_of_fake};
use callsign_integration_tests::pki::Authority;
use callsign_nacos::NacosConfig;
use callsign_testkit::suite::{CaseResult, Stop};
use futures::StreamExt;
use tokio::time::timeout;

use crate::ensure;
use crate::stage::{SOON, backend, client, fake, has, lists, record, service};

/// What to set for a server that asks who is there.
const CERTIFICATE: &str = "set `tls.cert_file` and `tls.key_file`";
const SIGNED: &str = "name whoever has signed it in `tls.ca_file`";
const TOKENS: Duration = Duration::from_secs(60);

fn tls(fake: &Fake) -> CaseResult<Tls> {
    fake.tls().ok_or_else(|| Stop::failed("the fake is not encrypted"))
}

/// Somebody whom no server knows, with a certificate authority of his own.
fn stranger() -> CaseResult<(tempfile::TempDir, Tls)> {
    let folder = tempfile::tempdir().map_err(|error| Stop::failed(error.to_string()))?;
    let authority = Authority::create(folder.path())?;
    let pair = authority.client("stranger")?;
    let mut tls = Tls::default();
    (tls.ca_file, tls.cert_file, tls.key_file) = (Some(authority.ca_file()), Some(pair.cert), Some(pair.key));
    Ok((folder, tls))
}

async fn unreachable(config: &NacosConfig) -> CaseResult<Error> {
    let error = backend(config)?.probe(Probe::Reachable).await.err();
    error.ok_or_else(|| Stop::failed(format!("it was reached with {:?}", config.tls)))
}

pub(crate) async fn encrypted_servers_are_reached_and_logged_in_at() -> CaseResult {
    for options in [FakeOptions::default().with_tls(), FakeOptions::default().with_mutual_tls()] {
        let fake = fake(options.with_logins(TOKENS))?;
        let (writer, orders) = (client(&fake)?, service("orders")?);
        writer.register(&record(&orders, "a", (1, 1), 60)?).await?;
        lists(&writer, &orders, SOON, "it is there", has(1)).await?;
        ensure!(fake.seen().requests.get("login") == Some(&1), "{:?}", fake.seen());
    }
    Ok(())
}

pub(crate) async fn server_is_believed_with_the_right_authority_and_name_only() -> CaseResult {
    let fake = fake(FakeOptions::default().with_tls())?;
    let right = config_of_fake(&fake);
    let (_folder, stranger) = stranger()?;
    let mut renamed = tls(&fake)?;
    renamed.server_name = Some("nacos.example".to_owned());
    for (tls, words) in [
        (Tls::default(), SIGNED),
        (stranger, SIGNED),
        (renamed, "set `tls.server_name` to a name in the server's certificate"),
    ] {
        let error = unreachable(&right.clone().with_tls(tls)).await?;
        ensure!(error.kind() == ErrorKind::ConfigInvalid, "another kind: {error:?}");
        ensure!(error.to_string().ends_with(words), "{error}");
    }
    let plain: Vec<_> = fake.urls().iter().map(|url| url.replace("https://", "http://")).collect();
    let error = unreachable(&NacosConfig::default().with_addresses(plain)).await?;
    ensure!(error.to_string().contains("the gRPC port of a nacos server"), "{error}");
    Ok(())
}

pub(crate) async fn login_at_a_server_that_is_not_believed_is_not_tried_and_told() -> CaseResult {
    let fake = fake(FakeOptions::default().with_tls().with_strange_http().with_logins(TOKENS))?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    writer.probe(Probe::Reachable).await?;
    let Err(error) = writer.register(&record(&orders, "a", (1, 1), 60)?).await else {
        return Err(Stop::failed("it was let in without a login"));
    };
    let said = error.to_string();
    ensure!(error.kind() == ErrorKind::ConfigInvalid, "another kind: {error:?}");
    ensure!(said.contains("cannot log in at https://") && said.ends_with(SIGNED), "{said}");
    ensure!(!format!("{error:?}").contains(PASSWORD), "the password is shown: {error:?}");
    ensure!(!fake.seen().requests.contains_key("login"), "the password was sent: {:?}", fake.seen());
    Ok(())
}

pub(crate) async fn client_without_a_certificate_is_told_what_to_set() -> CaseResult {
    let fake = fake(FakeOptions::default().with_mutual_tls())?;
    let right = tls(&fake)?;
    let (_folder, stranger) = stranger()?;
    let (mut nobody, mut unknown) = (right.clone(), stranger);
    (nobody.cert_file, nobody.key_file) = (None, None);
    unknown.ca_file.clone_from(&right.ca_file);
    for tls in [nobody, unknown] {
        let config = config_of_fake(&fake).with_tls(tls);
        let client = backend(&config)?;
        let mut events = client.events();
        let error = client.probe(Probe::Reachable).await.err();
        let error = error.ok_or_else(|| Stop::failed(format!("it was let in with {:?}", config.tls)))?;
        ensure!(error.to_string().contains(CERTIFICATE), "{error}");
        let told = timeout(SOON, events.next()).await.ok().flatten();
        let told = told.ok_or_else(|| Stop::failed("nobody is told"))?;
        ensure!(matches!(told.kind, EventKind::Misconfigured | EventKind::Lost), "{told:?}");
    }
    ensure!(fake.seen().connections == 0, "{:?}", fake.seen());
    Ok(())
}
