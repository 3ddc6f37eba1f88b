//! Tokens: those that may too little, those that are gone, and those that are replaced.

use std::fs;

use callsign_consul::ConsulConfig;
use callsign_core::{Discovery, ErrorKind, Read, Registry, WatchEvent};
use callsign_integration_tests::Pool;
use callsign_integration_tests::consul::{Consul, Kind, Options};
use callsign_testkit::suite::{CaseResult, Stop};
use futures::StreamExt;
use tokio::time::timeout;

use crate::ensure;
use crate::stage::{RECOVERY, ROOT, SOON, Stage, backend, record};

/// What callsign's README says suffices, for the namespace of this case.
fn enough(stage: &Stage) -> CaseResult<String> {
    let readme = include_str!("../../../crates/consul/README.md");
    let rules = readme.split_once("```hcl").and_then(|(_, rest)| rest.split_once("```"));
    let (rules, _) = rules.ok_or_else(|| Stop::failed("the README has no policy"))?;
    let namespace = stage.service("orders")?.namespace;
    ensure!(rules.contains("\"shop--\""), "the README's policy is not for the namespace `shop`: {rules}");
    Ok(rules.replace("shop--", &format!("{namespace}--")))
}

pub(crate) async fn empty_list_for_want_of_rights_is_an_error(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev).with_acls(ROOT)).await?;
    let service = stage.service("orders")?;
    let (blind, _) = stage.token("service_prefix \"\" { policy = \"write\" }").await?;
    let (enough, _) = stage.token(&enough(&stage)?).await?;
    let base = ConsulConfig::default().with_address(stage.consul().home()?.url());
    for (what, config) in [("nobody", base.clone()), ("who sees no nodes", base.clone().with_token(blind))] {
        let backend = backend(&config)?;
        let Err(error) = backend.list(&service, Read::Quorum).await else {
            return Err(Stop::failed(format!("{what} was given a list")));
        };
        ensure!(error.kind() == ErrorKind::PermissionDenied, "{what}: {error}");
        ensure!(error.to_string().contains("`node:read`"), "{what}: {error}");
        let watched = timeout(SOON, backend.watch(&service).next()).await;
        let refused = matches!(&watched, Ok(Some(Err(error))) if error.kind() == ErrorKind::PermissionDenied);
        ensure!(refused, "{what} watches: {watched:?}");
        let refused = backend.register(&record(&service, 60)?).await;
        ensure!(
            refused.as_ref().is_err_and(callsign_core::Error::is_misconfiguration),
            "{what} registers: {refused:?}"
        );
    }
    // Whoever sees no nodes has registered it all the same: another service.
    let (backend, others) = (backend(&base.with_token(enough))?, stage.service("payments")?);
    ensure!(backend.list(&others, Read::Quorum).await?.instances.is_empty(), "somebody is there");
    let record = record(&others, 60)?;
    ensure!(backend.register(&record).await?.committed, "a policy that suffices does not");
    backend.renew(&record).await?;
    backend.deregister(&record).await?;
    Ok(())
}

pub(crate) async fn token_that_may_not_write_is_told_what_it_needs(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev).with_acls(ROOT)).await?;
    let rules = "service_prefix \"\" { policy = \"read\" } node_prefix \"\" { policy = \"read\" }";
    let (reader, _) = stage.token(rules).await?;
    let backend = backend(&stage.config()?.with_token(reader))?;
    let record = record(&stage.service("orders")?, 60)?;
    ensure!(backend.list(&record.key().service, Read::Quorum).await?.instances.is_empty(), "it may read");
    let Err(error) = backend.register(&record).await else {
        return Err(Stop::failed("who may only read has registered"));
    };
    ensure!(error.kind() == ErrorKind::PermissionDenied, "another kind: {error}");
    ensure!(error.to_string().contains("the token needs `service:write` on what it registers"), "{error}");
    Ok(())
}

pub(crate) async fn token_that_was_deleted_is_named_and_its_successor_is_read_from_the_file(
    pool: Pool<Consul>,
) -> CaseResult {
    let failed = |error: std::io::Error| Stop::failed(format!("no file for a token: {error}"));
    let stage = Stage::take(&pool, Options::new(Kind::Dev).with_acls(ROOT)).await?;
    let file = tempfile::NamedTempFile::new().map_err(failed)?;
    let (first, accessor) = stage.token(&enough(&stage)?).await?;
    fs::write(file.path(), &first).map_err(failed)?;
    let base = ConsulConfig::default().with_address(stage.consul().home()?.url());
    let backend = backend(&base.with_token_file(file.path()))?;
    let record = record(&stage.service("orders")?, 60)?;
    let mut watch = backend.watch(&record.key().service);
    backend.register(&record).await?;
    stage.consul().raw()?.delete(&format!("/v1/acl/token/{accessor}")).await?;
    let Err(error) = backend.renew(&record).await else {
        return Err(Stop::failed("a token that is gone renews"));
    };
    ensure!(error.kind() == ErrorKind::Unauthorized, "another kind: {error}");
    ensure!(error.to_string().ends_with("check `token` or `token_file`"), "another error: {error}");
    ensure!(!format!("{error:?} {error} {backend:?}").contains(&first), "the token is shown");
    let told = timeout(RECOVERY, async {
        while let Some(event) = watch.next().await {
            if let Err(error) = event {
                return Some(error);
            }
        }
        None
    });
    let told = told.await.ok().flatten();
    let told = told.ok_or_else(|| Stop::failed("the watch says nothing of a token that is gone"))?;
    ensure!(told.kind() == ErrorKind::Unauthorized, "the watch says: {told}");
    let (second, _) = stage.token(&enough(&stage)?).await?;
    fs::write(file.path(), &second).map_err(failed)?;
    backend.renew(&record).await?;
    let again = timeout(RECOVERY, async {
        while let Some(event) = watch.next().await {
            if let Ok(WatchEvent::Listing(listing)) = event {
                return Some(listing.instances.len());
            }
        }
        None
    });
    ensure!(again.await == Ok(Some(1)), "the watch does not go on with another token");
    Ok(())
}
