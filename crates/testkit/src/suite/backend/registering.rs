//! Writing records.

use callsign_core::{Backend, Pair};
use futures::future::{Either, select};
use futures::stream::{FuturesUnordered, TryStreamExt};
use std::pin::pin;
use std::sync::Arc;

use crate::suite::outcome::{ensure, ensure_eq, fail};
use crate::suite::{CaseResult, Ctx};

pub(super) async fn register_then_list(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    let receipt = writer.register(&record).await?;
    ensure!(!receipt.ttl.is_zero(), "the registry granted a ttl of zero");
    ensure!(receipt.pending.is_empty(), "the write is pending: {:?}", receipt.pending);
    ctx.lists_exactly(&reader, &record.key().service, &[&record]).await?;
    ctx.lists_exactly(&writer, &record.key().service, &[&record]).await?;
    Ok(())
}

pub(super) async fn register_is_idempotent(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    for _ in 0..3 {
        writer.register(&record).await?;
    }
    ctx.lists_exactly(&reader, &record.key().service, &[&record]).await?;
    Ok(())
}

pub(super) async fn register_with_an_equal_pair_takes_over(ctx: &Ctx) -> CaseResult {
    let (first, second) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    first.register(&record).await?;
    second.register(&record).await?;
    second.renew(&record).await?;
    ctx.lists_exactly(&first, &record.key().service, &[&record]).await?;
    Ok(())
}

pub(super) async fn register_replaces_in_place(ctx: &Ctx) -> CaseResult {
    const CHANGES: u64 = 50;
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    writer.register(&ctx.record(&service, "one")?).await?;
    let mut watch = ctx.watch(&reader, &service);
    watch.until("the record", |listing| !listing.instances.is_empty()).await?;
    ctx.lists(&reader, &service, "the record is there", |listing| !listing.instances.is_empty()).await?;

    let changing = async {
        for seq in 2..=CHANGES {
            writer.register(&ctx.record_at(&service, "one", (1, seq))?).await?;
        }
        CaseResult::Ok(())
    };
    let polling = async {
        loop {
            let listing = ctx.list(&reader, &service).await?;
            ensure_eq!(listing.instances.len(), 1, "a poller saw the record absent, or twice");
            tokio::task::yield_now().await;
        }
    };
    match select(pin!(changing), pin!(polling)).await {
        Either::Left((changed, _)) => changed?,
        Either::Right((polled, _)) => return polled,
    }
    let mut absent = false;
    watch
        .until("the last change", |listing| {
            absent |= listing.instances.is_empty();
            listing.instances.iter().any(|instance| instance.seq == CHANGES)
        })
        .await?;
    ensure!(!absent, "a watcher saw the record absent");
    Ok(())
}

pub(super) async fn concurrent_registrations_all_arrive(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let records: Vec<_> =
        (0..200).map(|n| ctx.record(&service, &format!("id-{n:03}"))).collect::<CaseResult<_>>()?;
    let calls: FuturesUnordered<_> = records.iter().map(|record| writer.register(record)).collect();
    calls.try_for_each(|_| async { Ok(()) }).await?;
    ctx.lists_exactly(&reader, &service, &records.iter().collect::<Vec<_>>()).await?;
    Ok(())
}

pub(super) async fn concurrent_registers_of_one_id_leave_the_highest_pair(ctx: &Ctx) -> CaseResult {
    let (first, second) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    // A fixed order that is neither rising nor falling: 7 and 40 have no common divisor.
    let records: Vec<_> = (0..40_u64)
        .map(|n| ctx.record_at(&service, "one", (1 + (n * 7 % 40) / 8, 1 + (n * 7 % 40) % 8)))
        .collect::<CaseResult<_>>()?;
    let highest = Pair::new(5, 8);
    let writes: FuturesUnordered<_> = records
        .iter()
        .zip([&first, &second].into_iter().cycle())
        .map(|(record, client)| register_or_conflict(client, record))
        .collect();
    let written: Vec<Pair> = writes.try_collect::<Vec<_>>().await?.into_iter().flatten().collect();
    ensure!(written.contains(&highest), "the highest pair {highest} was refused; written: {written:?}");
    ctx.lists(&first, &service, "the highest pair is there", |listing| {
        listing.instances.iter().any(|instance| instance.pair() == highest)
    })
    .await?;
    Ok(())
}

async fn register_or_conflict(
    client: &Arc<dyn Backend>,
    record: &callsign_core::Record,
) -> CaseResult<Option<Pair>> {
    match client.register(record).await {
        Ok(_) => Ok(Some(record.pair())),
        Err(error) => match error.holder() {
            Some(holder) if holder > record.pair() => Ok(None),
            holder => fail!("{} was refused by {holder:?}: {error}", record.pair()),
        },
    }
}
