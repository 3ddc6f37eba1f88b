//! What a person may have got wrong: each refusal says what to change.

use callsign_consul::ConsulConfig;
use callsign_core::{Discovery, ErrorKind, Read, ServiceKey};
use callsign_integration_tests::Pool;
use callsign_integration_tests::consul::{Consul, Kind, Options};
use callsign_testkit::suite::{CaseResult, Stop};

use crate::ensure;
use crate::stage::{ROOT, Stage, backend};

pub(crate) async fn wrong_settings_are_named(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev)).await?;
    let (service, address) = (stage.service("orders")?, stage.config()?);
    backend(&address.clone().with_datacenter("dc1"))?.list(&service, Read::Quorum).await?;
    let elsewhere = address.clone().with_datacenter("dc9");
    is_named(&elsewhere, &service, ErrorKind::ConfigInvalid, "check `datacenter`").await?;
    let larger = address.with_enterprise(None);
    is_named(&larger, &service, ErrorKind::ConfigInvalid, "set `tenancy = \"prefix\"`").await?;
    drop(stage);
    let stage = Stage::take(&pool, Options::new(Kind::Dev).with_acls(ROOT)).await?;
    let stranger = stage.config()?.with_token("nonsense");
    is_named(&stranger, &service, ErrorKind::Unauthorized, "check `token` or `token_file`").await
}

async fn is_named(config: &ConsulConfig, service: &ServiceKey, kind: ErrorKind, words: &str) -> CaseResult {
    let Err(error) = backend(config)?.list(service, Read::Quorum).await else {
        return Err(Stop::failed(format!("nothing is said of {words}")));
    };
    ensure!(error.kind() == kind && error.to_string().ends_with(words), "another error: {error}");
    ensure!(!format!("{error:?}").contains("nonsense"), "a token is shown: {error:?}");
    Ok(())
}

pub(crate) async fn certificates_are_checked_both_ways(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev).with_tls()).await?;
    let service = stage.service("orders")?;
    let right = stage.config()?;
    backend(&right)?.list(&service, Read::Quorum).await?;
    let tls = || right.tls.clone().unwrap_or_default();
    let mut nobody = tls();
    (nobody.cert_file, nobody.key_file) = (None, None);
    let mut stranger = tls();
    stranger.ca_file = None;
    let mut renamed = tls();
    renamed.server_name = Some("server.dc1.consul".to_owned());
    let plain = stage.consul().home()?.url().replace("https", "http");
    for (config, words) in [
        (right.clone().with_tls(nobody), "set `tls.cert_file` and `tls.key_file`"),
        (right.clone().with_tls(stranger), "name whoever has signed it in `tls.ca_file`"),
        (right.clone().with_tls(renamed), "set `tls.server_name` to a name in the agent's certificate"),
        (ConsulConfig::default().with_address(plain), "write the address as `https://`"),
    ] {
        let Err(error) = backend(&config)?.list(&service, Read::Quorum).await else {
            return Err(Stop::failed(format!("nothing is said of {words}")));
        };
        ensure!(error.kind() == ErrorKind::ConfigInvalid, "another kind: {error:?}");
        ensure!(error.to_string().ends_with(words), "another error: {error:?}");
    }
    Ok(())
}
