//! Reading whole sets.

use std::time::Duration;

use callsign_core::{Authority, Read};
use futures::stream::{self, StreamExt, TryStreamExt};

use crate::suite::outcome::{ensure, ensure_eq};
use crate::suite::{CaseResult, Ctx};

pub(super) async fn unknown_service_is_an_empty_listing(ctx: &Ctx) -> CaseResult {
    let reader = ctx.client().await?;
    let service = ctx.service("nobody")?;
    for read in [Read::Quorum, Read::Any] {
        let listing = reader.list(&service, read).await?;
        ensure!(listing.instances.is_empty(), "an unknown service has instances");
        ensure!(listing.skipped.is_empty(), "an unknown service has undecodable records");
    }
    Ok(())
}

pub(super) async fn listing_proves_what_was_asked_for(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    writer.register(&record).await?;
    let listing = ctx.lists_exactly(&reader, &record.key().service, &[&record]).await?;
    ensure_eq!(
        listing.authority,
        ctx.capabilities().authority,
        "a healthy registry gives less than its best authority"
    );
    let patience = ctx.patience(ctx.propagation());
    loop {
        let listing = reader.list(&record.key().service, Read::Any).await?;
        if listing.instances.len() == 1 {
            return Ok(());
        }
        patience.pause(|| "`Read::Any` does not find the record".to_owned()).await?;
    }
}

pub(super) async fn many_instances_are_listed_whole(ctx: &Ctx) -> CaseResult {
    const MANY: usize = 1000;
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let mut watch = ctx.watch(&reader, &service);
    watch.listing().await?;
    // Not in the order of the ids: 7 and 1000 have no common divisor.
    let records: Vec<_> = (0..MANY)
        .map(|n| {
            let id = format!("id-{:04}", n * 7 % MANY);
            ctx.record_of(ctx.instance(&service, &id).metadata("note", "x".repeat(64)))
        })
        .collect::<CaseResult<_>>()?;
    let calls = records.iter().map(|record| writer.register(record));
    stream::iter(calls.collect::<Vec<_>>()).buffer_unordered(64).try_for_each(|_| async { Ok(()) }).await?;
    let listing =
        ctx.lists(&reader, &service, "all are listed", |listing| listing.instances.len() == MANY).await?;
    ensure!(listing.skipped.is_empty(), "undecodable: {:?}", listing.skipped.first());
    watch
        .until_within(Duration::from_secs(30), "all of them", |listing| listing.instances.len() == MANY)
        .await?;
    Ok(())
}

pub(super) async fn revision_grows_with_every_change(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let before = ctx.list(&reader, &service).await?;
    let mut last = (before.epoch, before.revision);
    for seq in 1..=20 {
        let record = ctx.record_at(&service, "one", (1, seq))?;
        writer.register(&record).await?;
        let listing = ctx.lists_exactly(&reader, &service, &[&record]).await?;
        let now = (listing.epoch, listing.revision);
        ensure!(now > last, "the listing changed, and its revision went from {last:?} to {now:?}");
        last = now;
    }
    writer.deregister(&ctx.record_at(&service, "one", (1, 20))?).await?;
    let listing = ctx.lists_exactly(&reader, &service, &[]).await?;
    let now = (listing.epoch, listing.revision);
    ensure!(now > last, "the service emptied, and its revision went from {last:?} to {now:?}");
    ensure!(listing.authority != Authority::Stale, "the empty listing is stale");
    Ok(())
}

pub(super) async fn services_are_listed(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let names = ["orders", "order", "billing", "订单"];
    let mut expected = Vec::new();
    for name in names {
        let record = ctx.record(&ctx.service(name)?, "one")?;
        writer.register(&record).await?;
        writer.register(&ctx.record(&record.key().service, "two")?).await?;
        expected.push(record.key().service.clone());
    }
    expected.sort();
    let place = expected[0].clone();
    let ours = |listed: Vec<callsign_core::ServiceName>| -> Vec<_> {
        listed.into_iter().filter(|name| expected.iter().any(|key| key.name == *name)).collect()
    };
    let patience = ctx.patience(ctx.propagation());
    loop {
        let listed = reader.services(&place.namespace, &place.group).await?;
        ensure!(listed.is_sorted(), "the services are not sorted: {listed:?}");
        let listed = ours(listed);
        if listed.iter().eq(expected.iter().map(|key| &key.name)) {
            break;
        }
        patience.pause(|| format!("the services are wrong: {listed:?}")).await?;
    }
    for id in ["one", "two"] {
        writer.deregister(&ctx.record(&place, id)?).await?;
    }
    let patience = ctx.patience(ctx.propagation());
    loop {
        let listed = ours(reader.services(&place.namespace, &place.group).await?);
        if !listed.contains(&place.name) {
            ensure_eq!(listed.len(), names.len() - 1, "others went with the one that is gone");
            return Ok(());
        }
        patience.pause(|| "a service without records is still listed".to_owned()).await?;
    }
}

pub(super) async fn undecodable_record_is_skipped_not_fatal(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let (good, bad) = (ctx.record(&service, "good")?, ctx.record(&service, "bad")?);
    writer.register(&good).await?;
    writer.register(&bad).await?;
    let mut watch = ctx.watch(&reader, &service);
    watch.until("both records", |listing| listing.instances.len() == 2).await?;
    ctx.garbage(bad.key()).await?;
    let listing = ctx
        .lists(&reader, &service, "the bad record is skipped", |listing| !listing.skipped.is_empty())
        .await?;
    ensure_eq!(listing.instances.len(), 1, "the good record went with the bad one");
    ensure_eq!(&*listing.skipped[0].id, "bad", "the skipped record has another id");
    ensure!(!listing.skipped[0].reason.is_empty(), "nobody says what is wrong with the record");
    watch
        .until("the skipped record", |listing| !listing.skipped.is_empty() && listing.instances.len() == 1)
        .await?;
    Ok(())
}
