//! A backend says who it is, wherever it speaks.

use callsign_core::{Error, Probe, Read};

use crate::suite::compare::comes_from;
use crate::suite::outcome::{ensure, ensure_eq, fail};
use crate::suite::{CaseResult, Ctx};

pub(super) async fn info_is_consistent(ctx: &Ctx) -> CaseResult {
    let (one, two) = ctx.clients().await?;
    let info = one.info();
    ensure!(!info.kind.is_empty(), "the type is empty");
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    ensure!(info.kind.chars().all(legal), "the type `{}` is not a word for configurations", info.kind);
    ensure!(!info.name.is_empty(), "the name is empty");
    ensure_eq!(info.kind, two.info().kind, "two clients of one registry differ in type");
    ensure_eq!(info.capabilities, *ctx.capabilities(), "the harness expects other capabilities");
    let listing = ctx.list(&one, &ctx.service("orders")?).await?;
    ensure!(comes_from(&listing.source, &info.name), "the listing has the source `{}`", listing.source);
    Ok(())
}

pub(super) async fn probe_succeeds_on_a_healthy_registry(ctx: &Ctx) -> CaseResult {
    let client = ctx.client().await?;
    client.probe(Probe::Reachable).await?;
    client.probe(Probe::Authority).await?;
    Ok(())
}

pub(super) async fn errors_name_backend_and_operation(ctx: &Ctx) -> CaseResult {
    let client = ctx.client().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    let service = &record.key().service;
    let name = client.info().name.clone();
    let names = |operation: &str, error: Option<Error>| {
        let Some(error) = error else {
            fail!("`{operation}` succeeded");
        };
        ensure_eq!(error.operation(), Some(operation), "`{error}` names another operation");
        ensure_eq!(error.backend(), Some(&*name), "`{error}` names another backend");
        ensure!(!error.to_string().contains('\n'), "the error is longer than a line: {error}");
        Ok(())
    };
    names("renew", client.renew(&record).await.err())?;
    client.close().await?;
    names("register", client.register(&record).await.err())?;
    names("renew", client.renew(&record).await.err())?;
    names("deregister", client.deregister(&record).await.err())?;
    names("list", client.list(service, Read::Quorum).await.err())?;
    names("probe", client.probe(Probe::Reachable).await.err())?;
    names("services", client.services(&service.namespace, &service.group).await.err())?;
    names("watch", ctx.watch(&client, service).error(ctx.propagation()).await.ok())?;
    Ok(())
}
