//! The registry goes away, and comes back.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Backend, ErrorKind, EventKind, Listing, Probe, Read, Record, WatchEvent};
use futures::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::suite::context::answer;
use crate::suite::outcome::{chain, ensure, fail};
use crate::suite::{CaseResult, Ctx};

/// A client that has lost its connection says so at once; this is "at once" on a busy machine, and with one
/// refused attempt to connect.
const AT_ONCE: Duration = Duration::from_secs(5);
/// The watch driver's idle time of 25 s, and a back-off.
const SILENCE: Duration = Duration::from_secs(32);

/// Holds every call of a client that is cut off against the rules.
///
/// Another record than `record` is deregistered: a backend may make up for it when the registry is back.
async fn all_calls_fail(ctx: &Ctx, client: &Arc<dyn Backend>, record: &Record) -> CaseResult {
    let service = &record.key().service;
    let leaver = ctx.record(service, "leaver")?;
    let (namespace, group) = (&service.namespace, &service.group);
    let answers = [
        ("list", answer("list", AT_ONCE, client.list(service, Read::Quorum)).await?.err()),
        ("register", answer("register", AT_ONCE, client.register(record)).await?.err()),
        ("renew", answer("renew", AT_ONCE, client.renew(record)).await?.err()),
        ("deregister", answer("deregister", AT_ONCE, client.deregister(&leaver)).await?.err()),
        ("probe", answer("probe", AT_ONCE, client.probe(Probe::Reachable)).await?.err()),
        ("probe", answer("probe", AT_ONCE, client.probe(Probe::Authority)).await?.err()),
        ("services", answer("services", AT_ONCE, client.services(namespace, group)).await?.err()),
    ];
    for (call, error) in answers {
        let Some(error) = error else {
            fail!("`{call}` succeeded although the registry is gone");
        };
        if call == "services" && error.kind() == ErrorKind::Unsupported {
            continue;
        }
        ensure!(error.counts_as_outage(), "`{call}` shows the outage as another error: {}", chain(&error));
    }
    Ok(())
}

pub(super) async fn outage_is_unavailable_quickly(ctx: &Ctx) -> CaseResult {
    let (client, reader) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    let service = record.key().service.clone();
    client.register(&record).await?;
    let mut watch = ctx.watch(&reader, &service);
    watch.until("the record", |listing| listing.instances.len() == 1).await?;

    let outage = ctx.outage().await?;
    for _ in 0..3 {
        all_calls_fail(ctx, &client, &record).await?;
    }
    let error = watch.error(AT_ONCE).await?;
    ensure!(error.counts_as_outage(), "the watch shows the outage as another error: {}", chain(&error));
    ctx.heal(outage).await?;
    // Not opened again: the stream mends itself.
    watch
        .until_within(ctx.recovery(), "a listing after the outage", |listing| {
            // A record that goes with its connection may have gone with a call that failed meanwhile.
            listing.instances.len() == 1 || ctx.harness().reconnecting_restores()
        })
        .await?;
    Ok(())
}

pub(super) async fn recovery_needs_no_restart(ctx: &Ctx) -> CaseResult {
    let (client, reader) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    let service = record.key().service.clone();
    client.register(&record).await?;
    for round in 2..=3 {
        let outage = ctx.outage().await?;
        all_calls_fail(ctx, &client, &record).await?;
        all_calls_fail(ctx, &reader, &record).await?;
        ctx.heal(outage).await?;
        for client in [&client, &reader] {
            ctx.answers_again(client, &service).await?;
        }
        let changed = ctx.record_at(&service, "one", (1, round))?;
        client.register(&changed).await?;
        client.renew(&changed).await?;
        client.probe(Probe::Authority).await?;
        ctx.lists_exactly(&reader, &service, &[&changed]).await?;
    }
    Ok(())
}

pub(super) async fn outage_shorter_than_the_ttl_loses_nothing(ctx: &Ctx) -> CaseResult {
    let (client, reader) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    let service = record.key().service.clone();
    client.register(&record).await?;
    let mut watch = ctx.watch(&reader, &service);
    watch.until("the record", |listing| listing.instances.len() == 1).await?;

    let outage = ctx.outage().await?;
    watch.error(AT_ONCE).await?;
    ctx.heal(outage).await?;
    let unseen = !ctx.harness().outage_removes();
    let back = |listing: &Listing| unseen || listing.instances.len() == 1;
    let listing = watch.until_within(ctx.recovery(), "the first listing", back).await?;
    ensure!(listing.instances.len() == 1, "the first listing after the outage lacks a record that lives");
    ctx.answers_again(&client, &service).await?;
    client.renew(&record).await?;
    ctx.lists_exactly(&reader, &service, &[&record]).await?;
    Ok(())
}

pub(super) async fn building_does_no_io(ctx: &Ctx) -> CaseResult {
    let service = ctx.service("orders")?;
    let record = ctx.record(&service, "one")?;
    let outage = ctx.outage().await?;
    let Ok(client) = timeout(Duration::from_secs(1), ctx.client()).await else {
        fail!("building a client waits for a registry that is gone");
    };
    let client = client?;
    let mut watch = ctx.watch(&client, &service);
    match watch.item(SILENCE).await? {
        Some(Err(error)) => {
            ensure!(
                error.counts_as_outage(),
                "the watch shows the outage as another error: {}",
                chain(&error)
            );
        }
        other => fail!("the registry is gone, and the first item of a watch is {other:?}"),
    }
    all_calls_fail(ctx, &client, &record).await?;
    ctx.heal(outage).await?;
    watch.until_within(ctx.recovery(), "a listing", |listing| listing.instances.is_empty()).await?;
    ctx.answers_again(&client, &service).await?;
    client.register(&record).await?;
    ctx.lists_exactly(&client, &service, &[&record]).await?;
    Ok(())
}

pub(super) async fn watch_makes_no_call_before_it_is_polled(ctx: &Ctx) -> CaseResult {
    let client = ctx.client().await?;
    let service = ctx.service("orders")?;
    ctx.list(&client, &service).await?;
    let outage = ctx.outage().await?;
    let mut watch = ctx.watch(&client, &service);
    tokio::task::yield_now().await;
    ctx.heal(outage).await?;
    ctx.answers_again(&client, &service).await?;
    match watch.item(ctx.propagation()).await? {
        Some(Ok(WatchEvent::Listing(_))) => Ok(()),
        other => fail!("a watch that was first polled after the outage begins with {other:?}"),
    }
}

pub(super) async fn freeze_does_not_outlast_itself(ctx: &Ctx) -> CaseResult {
    let (client, reader) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    let service = record.key().service.clone();
    client.register(&record).await?;
    let mut watch = ctx.watch(&reader, &service);
    watch.until("the record", |listing| listing.instances.len() == 1).await?;

    let freeze = ctx.freeze().await?;
    // Each is given up, as every caller with a deadline does; none may leave the client unusable.
    let wait = Duration::from_secs(3);
    if let Ok(Ok(listing)) = timeout(wait, client.list(&service, Read::Quorum)).await {
        fail!("a frozen registry answered: {:?} at {}", listing.authority, listing.revision);
    }
    for answer in [
        timeout(wait, client.renew(&record)).await.map(|answer| answer.map(|_| ())),
        timeout(wait, client.probe(Probe::Authority)).await,
    ] {
        if let Ok(Err(error)) = answer {
            ensure!(error.counts_as_outage(), "silence shows as another error: {}", chain(&error));
        }
    }
    let error = watch.error(SILENCE).await?;
    ensure!(error.counts_as_outage(), "the watch shows silence as another error: {}", chain(&error));
    ctx.heal(freeze).await?;

    watch
        .until_within(ctx.recovery(), "a listing after the freeze", |listing| listing.instances.len() == 1)
        .await?;
    ctx.answers_again(&client, &service).await?;
    let changed = ctx.record_at(&service, "one", (1, 2))?;
    client.register(&changed).await?;
    client.renew(&changed).await?;
    ctx.lists_exactly(&reader, &service, &[&changed]).await?;
    Ok(())
}

pub(super) async fn events_tell_an_outage_and_its_end(ctx: &Ctx) -> CaseResult {
    let client = ctx.client().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    client.register(&record).await?;
    let mut events = client.events();
    let outage = ctx.outage().await?;
    let trouble = [EventKind::Lost, EventKind::Suspect];
    let deadline = Instant::now() + AT_ONCE;
    loop {
        // A client may find out by itself, or by being used.
        let _ = timeout(AT_ONCE, client.list(&record.key().service, Read::Quorum)).await;
        match timeout_at(deadline, events.next()).await {
            Ok(Some(event)) if trouble.contains(&event.kind) => {
                ensure!(event.backend == client.info().name, "the event names `{}`", event.backend);
                ensure!(event.cause.is_some(), "trouble without a cause: {event:?}");
                break;
            }
            Ok(Some(_)) => {}
            Ok(None) => fail!("the events ended"),
            Err(_) => fail!("no event told of the outage"),
        }
    }
    ctx.heal(outage).await?;
    ctx.answers_again(&client, &record.key().service).await?;
    let deadline = Instant::now() + ctx.recovery();
    loop {
        match timeout_at(deadline, events.next()).await {
            Ok(Some(event)) if event.kind == EventKind::Ready => return Ok(()),
            Ok(Some(_)) => {}
            Ok(None) => fail!("the events ended"),
            Err(_) => fail!("no event told that the registry is back"),
        }
    }
}
