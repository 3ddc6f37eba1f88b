//! A record lives for its ttl, and for as long as it is renewed.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Backend, ErrorKind, Receipt, Record};
use futures::FutureExt;
use tokio::time::{Instant, sleep};

use crate::suite::compare::is_exactly;
use crate::suite::outcome::{chain, ensure, ensure_eq, fail};
use crate::suite::{CaseResult, Ctx};

/// What a real clock and a real network blur.
const BLUR: Duration = Duration::from_millis(100);

pub(super) async fn lease_expires_without_renewal(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let record = ctx.short_record(&ctx.service("orders")?, "one")?;
    let service = record.key().service.clone();
    let asked = Instant::now();
    let Receipt { ttl, .. } = writer.register(&record).await?;
    ctx.lists_exactly(&reader, &service, &[&record]).await?;

    let patience = ctx.patience(ttl + ctx.harness().expiry_slack() + ctx.propagation());
    while ctx.lives(&ctx.list(&reader, &service).await?, record.key()) {
        patience.pause(|| format!("the record still lives, with a ttl of {ttl:?}")).await?;
    }
    let lived = asked.elapsed();
    ensure!(lived + BLUR >= ttl, "the record lived for {lived:?}, the ttl granted was {ttl:?}");
    Ok(())
}

pub(super) async fn renew_keeps_alive(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let record = ctx.short_record(&ctx.service("orders")?, "one")?;
    let service = record.key().service.clone();
    let mut ttl = writer.register(&record).await?.ttl;
    ctx.lists_exactly(&reader, &service, &[&record]).await?;
    for beat in 1..=12 {
        sleep(ttl / 3).await;
        let listing = ctx.list(&reader, &service).await?;
        ensure!(ctx.lives(&listing, record.key()), "the record was gone after {beat} thirds of its ttl");
        ttl = writer.renew(&record).await?.ttl;
        ensure!(!ttl.is_zero(), "a renewal granted a ttl of zero");
    }
    ctx.lists_exactly(&reader, &service, &[&record]).await?;
    Ok(())
}

pub(super) async fn one_renewal_does_not_keep_a_neighbour_alive(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let (kept, left) = (ctx.short_record(&service, "kept")?, ctx.short_record(&service, "left")?);
    let ttl = writer.register(&kept).await?.ttl;
    writer.register(&left).await?;
    ctx.lists_exactly(&reader, &service, &[&kept, &left]).await?;
    // A shared lease may be a whole beat behind, and its owner has to remove the member himself.
    let patience = ctx.patience(ttl * 2 + ctx.harness().expiry_slack() + ctx.propagation());
    loop {
        writer.renew(&kept).await?;
        let listing = ctx.list(&reader, &service).await?;
        ensure!(ctx.lives(&listing, kept.key()), "the record that is renewed is gone");
        if !ctx.lives(&listing, left.key()) {
            return Ok(());
        }
        patience.pause(|| "a record that nobody renews lives on its neighbour's renewals".to_owned()).await?;
        sleep(ttl / 8).await;
    }
}

pub(super) async fn renew_after_expiry_is_not_found(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let record = ctx.short_record(&ctx.service("orders")?, "one")?;
    let service = record.key().service.clone();
    let ttl = writer.register(&record).await?.ttl;
    ctx.lists_exactly(&reader, &service, &[&record]).await?;
    let patience = ctx.patience(ttl + ctx.harness().expiry_slack() + ctx.propagation());
    while ctx.lives(&ctx.list(&reader, &service).await?, record.key()) {
        patience.pause(|| "the record does not expire".to_owned()).await?;
    }
    sleep(ctx.harness().expires_apart()).await;
    let Err(error) = writer.renew(&record).await else {
        fail!("a record that has expired was renewed");
    };
    ensure_eq!(error.kind(), ErrorKind::NotFound, "the answer is another: {}", chain(&error));
    ensure!(!error.counts_as_outage(), "a lost record does not speak against the registry");
    let listing = ctx.list(&reader, &service).await?;
    ensure!(!ctx.lives(&listing, record.key()), "the renewal that was refused brought the record back");
    // And the way back is the way in.
    writer.register(&record).await?;
    ctx.lists_exactly(&reader, &service, &[&record]).await?;
    Ok(())
}

pub(super) async fn renew_of_an_unknown_record_is_not_found(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    let Err(error) = writer.renew(&record).await else {
        fail!("a record that was never registered was renewed");
    };
    ensure_eq!(error.kind(), ErrorKind::NotFound, "the answer is another: {}", chain(&error));
    ctx.lists_exactly(&reader, &record.key().service, &[]).await?;
    Ok(())
}

pub(super) async fn renew_after_deletion_is_not_found(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let record = ctx.short_record(&ctx.service("orders")?, "one")?;
    let service = record.key().service.clone();
    writer.register(&record).await?;
    ctx.lists_exactly(&reader, &service, &[&record]).await?;
    ctx.delete(record.key()).await?;
    is_reported_lost(ctx, &writer, &record, &[ErrorKind::NotFound]).await?;
    ctx.lists_exactly(&reader, &service, &[]).await?;
    Ok(())
}

pub(super) async fn renew_after_a_deregistration_by_another_is_not_found(ctx: &Ctx) -> CaseResult {
    let (writer, other) = ctx.clients().await?;
    let record = ctx.short_record(&ctx.service("orders")?, "one")?;
    writer.register(&record).await?;
    other.deregister(&record).await?;
    is_reported_lost(ctx, &writer, &record, &[ErrorKind::NotFound]).await?;
    ctx.lists_exactly(&other, &record.key().service, &[]).await?;
    Ok(())
}

/// Renews as a registrar would until the loss is told, which must be within five ttls.
pub(super) async fn is_reported_lost(
    ctx: &Ctx,
    owner: &Arc<dyn Backend>,
    record: &Record,
    kinds: &[ErrorKind],
) -> CaseResult {
    is_lost_or_back(ctx, owner, record, kinds, None).await.map(drop)
}

/// Renews as a registrar would until the loss is told, or `onlooker` sees the record again, which is the answer.
pub(super) async fn is_lost_or_back(
    ctx: &Ctx,
    owner: &Arc<dyn Backend>,
    record: &Record,
    kinds: &[ErrorKind],
    onlooker: Option<&Arc<dyn Backend>>,
) -> CaseResult<bool> {
    let ttl = record.ttl.get();
    let patience = ctx.patience(ttl * 5);
    loop {
        let mut lost = match owner.renew(record).await {
            Ok(receipt) => receipt.lost,
            Err(error) if kinds.contains(&error.kind()) => return Ok(false),
            Err(error) => fail!("the loss shows as another error: {}", chain(&error)),
        };
        if lost.fired().now_or_never().is_some() {
            return Ok(false);
        }
        if let Some(onlooker) = onlooker
            && is_exactly(&ctx.list(onlooker, &record.key().service).await?, &[record])
        {
            return Ok(true);
        }
        patience.pause(|| format!("neither `renew` nor `lost` told the loss, with a ttl of {ttl:?}")).await?;
        sleep(ttl / 4).await;
    }
}
