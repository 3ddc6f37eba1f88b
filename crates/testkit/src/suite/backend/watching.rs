//! Following a service.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Authority, WatchEvent};
use futures::stream::{FuturesUnordered, TryStreamExt};
use tokio::time::Instant;

use crate::suite::compare::is_exactly;
use crate::suite::outcome::{ensure, ensure_eq, fail};
use crate::suite::{CaseResult, Ctx};

/// After which a quiet watch owes a sign of life, and what a busy machine adds.
const QUIET: Duration = Duration::from_secs(11);

pub(super) async fn watch_first_item_is_a_listing(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    let service = record.key().service.clone();
    writer.register(&record).await?;
    ctx.lists_exactly(&reader, &service, &[&record]).await?;
    match ctx.watch(&reader, &service).item(ctx.propagation()).await? {
        Some(Ok(WatchEvent::Listing(listing))) => {
            ensure_eq!(listing.instances.len(), 1, "the first listing is not whole");
            Ok(())
        }
        other => fail!("the first item is {other:?}"),
    }
}

pub(super) async fn watch_before_the_service_exists(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let mut watch = ctx.watch(&reader, &service);
    let first = watch.listing().await?;
    ensure!(first.instances.is_empty(), "the service has instances already");
    let record = ctx.record(&service, "one")?;
    writer.register(&record).await?;
    watch.until("the first record", |listing| is_exactly(listing, &[&record])).await?;
    Ok(())
}

pub(super) async fn watch_sees_every_kind_of_change(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let mut watch = ctx.watch(&reader, &service);
    watch.listing().await?;
    let instance = || ctx.instance(&service, "one");
    let changes = [
        ("the registration", instance()),
        ("a new weight", instance().weight(7)),
        ("weight zero", instance().weight(0)),
        ("new metadata", instance().metadata("colour", "blue")),
        ("other metadata", instance().metadata("colour", "green")),
        ("a new version", instance().version("2.0.0")),
        ("a new status", instance().status(callsign_core::Status::Draining)),
        ("one endpoint more", instance().endpoint("grpc://127.0.0.1:9000")),
    ];
    for (seq, (what, builder)) in (1..).zip(changes) {
        let record = ctx.record_of(builder.pair(callsign_core::Pair::new(1, seq)))?;
        writer.register(&record).await?;
        watch.until(what, |listing| is_exactly(listing, &[&record])).await?;
    }
    writer.deregister(&ctx.record_at(&service, "one", (1, 9))?).await?;
    watch.until("the removal", |listing| listing.instances.is_empty()).await?;
    Ok(())
}

pub(super) async fn watch_sees_expiry(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let record = ctx.short_record(&ctx.service("orders")?, "one")?;
    let mut watch = ctx.watch(&reader, &record.key().service);
    watch.listing().await?;
    let ttl = writer.register(&record).await?.ttl;
    watch.until("the record", |listing| listing.instances.len() == 1).await?;
    let bound = ttl + ctx.harness().expiry_slack() + ctx.propagation();
    watch.until_within(bound, "the expiry", |listing| !ctx.lives(listing, record.key())).await?;
    Ok(())
}

pub(super) async fn last_instance_leaving_is_an_empty_listing(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let records = [ctx.record(&service, "one")?, ctx.record(&service, "two")?];
    let mut watch = ctx.watch(&reader, &service);
    for record in &records {
        writer.register(record).await?;
    }
    watch.until("both", |listing| listing.instances.len() == 2).await?;
    for record in &records {
        writer.deregister(record).await?;
    }
    let empty = watch.until("an empty listing", |listing| listing.instances.is_empty()).await?;
    ensure!(empty.authority != Authority::Stale, "the empty listing is stale");
    Ok(())
}

pub(super) async fn watch_coalesces_and_loses_nothing(ctx: &Ctx) -> CaseResult {
    const IDS: u64 = 20;
    const CHANGES: u64 = 50;
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let mut slow = ctx.watch(&reader, &service);
    slow.listing().await?;
    let owners: FuturesUnordered<_> = (0..IDS)
        .map(|n| {
            let (writer, service) = (&writer, &service);
            async move {
                for seq in 1..=CHANGES {
                    let id = format!("id-{n:02}");
                    writer.register(&ctx.record_at(service, &id, (1, seq))?).await?;
                }
                CaseResult::Ok(())
            }
        })
        .collect();
    owners.try_for_each(|()| async { Ok(()) }).await?;
    let gone = ctx.record_at(&service, "id-00", (1, CHANGES))?;
    writer.deregister(&gone).await?;

    let mut listings = 0;
    let last = slow
        .until_within(Duration::from_secs(30), "the final state", |listing| {
            listings += 1;
            listing.instances.len() as u64 == IDS - 1
                && listing.instances.iter().all(|instance| instance.seq == CHANGES)
        })
        .await?;
    ensure!(!last.instances.iter().any(|found| found.key == *gone.key()), "a removal was lost");
    ensure!(
        listings <= IDS * CHANGES / 2,
        "a watcher that slept through {} changes was handed {listings} listings",
        IDS * CHANGES
    );
    Ok(())
}

pub(super) async fn watch_subscribers_agree(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let mut watches =
        [ctx.watch(&reader, &service), ctx.watch(&reader, &service), ctx.watch(&writer, &service)];
    for watch in &mut watches {
        watch.listing().await?;
    }
    for round in 1..=5 {
        for id in ["one", "two", "three"] {
            writer.register(&ctx.record_at(&service, id, (round, 1))?).await?;
        }
        writer.deregister(&ctx.record_at(&service, "two", (round, 1))?).await?;
    }
    let expected = [ctx.record_at(&service, "one", (5, 1))?, ctx.record_at(&service, "three", (5, 1))?];
    for watch in &mut watches {
        watch
            .until("what everybody sees", |listing| is_exactly(listing, &expected.iter().collect::<Vec<_>>()))
            .await?;
    }
    Ok(())
}

pub(super) async fn quiet_watch_shows_progress(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    writer.register(&record).await?;
    let mut watch = ctx.watch(&reader, &record.key().service);
    watch.until("the record", |listing| listing.instances.len() == 1).await?;
    let end = Instant::now() + Duration::from_secs(35);
    let mut proven = Instant::now();
    while Instant::now() < end {
        let as_of = match watch.item(QUIET).await? {
            Some(Ok(WatchEvent::Listing(listing))) => {
                ensure_eq!(listing.instances.len(), 1, "a quiet service changed");
                listing.as_of
            }
            Some(Ok(WatchEvent::Progress { as_of, .. })) => as_of,
            Some(_) => continue,
            None => fail!("the watch ended"),
        };
        proven = proven.max(as_of);
        let age = proven.elapsed();
        ensure!(age <= QUIET, "what the watch proves is {age:?} old");
    }
    Ok(())
}

pub(super) async fn unchanged_record_is_the_same_arc(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    writer.register(&ctx.record(&service, "calm")?).await?;
    let mut watch = ctx.watch(&reader, &service);
    let first = watch.until("the record", |listing| listing.instances.len() == 1).await?;
    let calm = first.instances[0].clone();
    for seq in 1..=5 {
        writer.register(&ctx.record_at(&service, "lively", (1, seq))?).await?;
        let next = watch
            .until("the neighbour's change", |listing| {
                listing
                    .instances
                    .iter()
                    .any(|instance| instance.id().as_str() == "lively" && instance.seq == seq)
            })
            .await?;
        let same = next.instances.iter().any(|instance| Arc::ptr_eq(instance, &calm));
        ensure!(same, "a record that has not changed was handed over as another `Arc`");
    }
    Ok(())
}
