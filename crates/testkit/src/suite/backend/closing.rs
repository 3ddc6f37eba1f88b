//! A client is closed.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Backend, Error, ErrorKind, Probe, Read, Record};

use tokio::time::Instant;

use crate::suite::context::answer;
use crate::suite::outcome::{chain, ensure, ensure_eq, fail};
use crate::suite::{CaseResult, Ctx, Watcher};

/// How long closing may take, whatever the registry does.
const BOUND: Duration = Duration::from_secs(10);

fn is_closed(call: &str, error: Option<Error>) -> CaseResult {
    match error {
        None => fail!("`{call}` succeeded on a closed client"),
        Some(error) => {
            ensure_eq!(error.kind(), ErrorKind::Closed, "`{call}` on a closed client: {}", chain(&error));
            Ok(())
        }
    }
}

async fn ends_with_one_closed(watch: &mut Watcher) -> CaseResult {
    let deadline = Instant::now() + BOUND;
    loop {
        match watch.item(deadline.duration_since(Instant::now())).await? {
            Some(Err(error)) if error.kind() == ErrorKind::Closed => break,
            Some(_) => {}
            None => fail!("the watch ended without `Closed`"),
        }
    }
    match watch.item(BOUND).await? {
        None => Ok(()),
        Some(item) => fail!("after `Closed` the watch went on with {item:?}"),
    }
}

async fn rejects_every_call(client: &Arc<dyn Backend>, record: &Record) -> CaseResult {
    let service = &record.key().service;
    is_closed("register", client.register(record).await.err())?;
    is_closed("renew", client.renew(record).await.err())?;
    is_closed("deregister", client.deregister(record).await.err())?;
    is_closed("list", client.list(service, Read::Quorum).await.err())?;
    is_closed("list", client.list(service, Read::Any).await.err())?;
    is_closed("probe", client.probe(Probe::Reachable).await.err())?;
    match client.services(&service.namespace, &service.group).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
        answer => is_closed("services", answer.err()),
    }
}

pub(super) async fn close_ends_streams_and_rejects_calls(ctx: &Ctx) -> CaseResult {
    let (client, other) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    let service = record.key().service.clone();
    client.register(&record).await?;
    let mut watches = [ctx.watch(&client, &service), ctx.watch(&client, &service)];
    for watch in &mut watches {
        watch.until("the record", |listing| listing.instances.len() == 1).await?;
    }
    for _ in 0..2 {
        answer("close", BOUND, client.close()).await??;
    }
    for watch in &mut watches {
        ends_with_one_closed(watch).await?;
    }
    rejects_every_call(&client, &record).await?;
    ends_with_one_closed(&mut ctx.watch(&client, &service)).await?;
    // Closing deregisters nothing, and is nobody else's business. What lives by its connection ends with it.
    let left: &[_] = if ctx.harness().closing_removes() { &[] } else { &[&record] };
    ctx.lists_exactly(&other, &service, left).await?;
    Ok(())
}

pub(super) async fn close_is_bounded_during_an_outage(ctx: &Ctx) -> CaseResult {
    let client = ctx.client().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    client.register(&record).await?;
    let mut watch = ctx.watch(&client, &record.key().service);
    watch.until("the record", |listing| listing.instances.len() == 1).await?;
    let outage = ctx.outage().await?;
    watch.error(BOUND).await?;
    // What could not be closed in time is told; the client is closed all the same.
    let _ = answer("close", BOUND, client.close()).await?;
    ends_with_one_closed(&mut watch).await?;
    rejects_every_call(&client, &record).await?;
    ends_with_one_closed(&mut ctx.watch(&client, &record.key().service)).await?;
    ctx.heal(outage).await
}

pub(super) async fn close_is_bounded_during_a_freeze(ctx: &Ctx) -> CaseResult {
    let client = ctx.client().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    client.register(&record).await?;
    let mut watch = ctx.watch(&client, &record.key().service);
    watch.until("the record", |listing| listing.instances.len() == 1).await?;
    let freeze = ctx.freeze().await?;
    let _ = answer("close", BOUND, client.close()).await?;
    ends_with_one_closed(&mut watch).await?;
    rejects_every_call(&client, &record).await?;
    ensure!(client.close().await.is_ok(), "closing again fails");
    ctx.heal(freeze).await
}
