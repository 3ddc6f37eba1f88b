//! The registry comes back with nothing.

use callsign_core::ErrorKind;

use super::leases::is_lost_or_back;
use crate::suite::outcome::ensure;
use crate::suite::{CaseResult, Ctx};

pub(super) async fn wiped_registry_starts_a_new_epoch(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    for seq in 1..=5 {
        writer.register(&ctx.record_at(&service, "one", (1, seq))?).await?;
    }
    let mut watch = ctx.watch(&reader, &service);
    let before = watch.until("the record", |listing| listing.instances.len() == 1).await?;
    ctx.wipe().await?;
    let after = watch
        .until_within(ctx.recovery(), "the empty registry", |listing| {
            listing.instances.is_empty()
                || ctx.harness().reconnecting_restores() && listing.epoch > before.epoch
        })
        .await?;
    ensure!(
        after.epoch > before.epoch,
        "the epoch went from {} to {}: a wiped registry starts a new one",
        before.epoch,
        after.epoch
    );
    Ok(())
}

pub(super) async fn wiped_record_is_reported_lost(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    // A restart may take longer than the shortest ttl, and who is not renewed within it is not brought back.
    let restores = ctx.harness().reconnecting_restores();
    let record = if restores { ctx.record(&service, "one")? } else { ctx.short_record(&service, "one")? };
    writer.register(&record).await?;
    ctx.lists_exactly(&reader, &service, &[&record]).await?;
    ctx.wipe().await?;
    for client in [&writer, &reader] {
        ctx.answers_again(client, &service).await?;
    }
    if restores {
        ctx.lists_exactly(&reader, &service, &[&record]).await?;
        writer.renew(&record).await?;
        return Ok(());
    }
    let onlooker = ctx.harness().renewing_restores().then_some(&reader);
    if is_lost_or_back(ctx, &writer, &record, &[ErrorKind::NotFound], onlooker).await? {
        return Ok(());
    }
    ctx.lists_exactly(&reader, &service, &[]).await?;
    writer.register(&record).await?;
    ctx.lists_exactly(&reader, &service, &[&record]).await?;
    Ok(())
}
