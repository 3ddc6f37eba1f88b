//! Of two records of one id the higher pair wins, whoever comes first.

use std::sync::Arc;

use callsign_core::{Backend, ErrorKind, Pair, Record, Retry};

use crate::suite::outcome::{ensure, ensure_eq, fail};
use crate::suite::{CaseResult, Ctx};

pub(super) async fn higher_pair_overwrites(ctx: &Ctx) -> CaseResult {
    let (first, second) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    for (client, pair) in [(&first, (1, 1)), (&first, (1, 2)), (&second, (2, 1)), (&first, (3, 1))] {
        let record = ctx.record_at(&service, "one", pair)?;
        client.register(&record).await?;
        ctx.lists_exactly(&first, &service, &[&record]).await?;
    }
    Ok(())
}

pub(super) async fn lower_pair_is_a_conflict_with_the_holder(ctx: &Ctx) -> CaseResult {
    let (first, second) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let holder = ctx.record_at(&service, "one", (2, 5))?;
    first.register(&holder).await?;
    for client in [&second, &first] {
        for lower in [(2, 4), (1, 9)] {
            let record = ctx.record_at(&service, "one", lower)?;
            let Err(error) = client.register(&record).await else {
                fail!("{} overwrote {}", record.pair(), holder.pair());
            };
            ensure_eq!(error.kind(), ErrorKind::Conflict, "the refusal is another: {error}");
            ensure_eq!(error.holder(), Some(holder.pair()), "the error names another holder");
            ensure_eq!(error.retry(), Retry::Permanent, "a conflict does not pass by itself");
            ensure!(!error.outcome_unknown(), "a refused write has a known outcome");
        }
    }
    ctx.lists_exactly(&second, &service, &[&holder]).await?;
    first.renew(&holder).await?;
    Ok(())
}

pub(super) async fn deregister_never_removes_a_higher_pair(ctx: &Ctx) -> CaseResult {
    let (first, second) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let old = ctx.record_at(&service, "one", (1, 7))?;
    let new = ctx.record_at(&service, "one", (2, 1))?;
    first.register(&old).await?;
    second.register(&new).await?;
    let Err(error) = first.deregister(&old).await else {
        fail!("the delete of {} succeeded although {} stands there", old.pair(), new.pair());
    };
    ensure_eq!(error.kind(), ErrorKind::Conflict, "the refusal is another: {error}");
    ensure_eq!(error.holder(), Some(new.pair()), "the error names another holder");
    ctx.lists_exactly(&first, &service, &[&new]).await?;
    second.renew(&new).await?;
    Ok(())
}

pub(super) async fn deregister_removes_a_lower_pair(ctx: &Ctx) -> CaseResult {
    let (first, second) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    first.register(&ctx.record_at(&service, "one", (1, 1))?).await?;
    second.deregister(&ctx.record_at(&service, "one", (1, 2))?).await?;
    ctx.lists_exactly(&first, &service, &[]).await?;
    Ok(())
}

pub(super) async fn renew_after_overwrite_reports(ctx: &Ctx) -> CaseResult {
    let (first, second) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let old = ctx.short_record(&service, "one")?;
    let new = ctx.record_at(&service, "one", (2, 1))?;
    first.register(&old).await?;
    second.register(&new).await?;
    super::leases::is_reported_lost(ctx, &first, &old, &[ErrorKind::NotFound, ErrorKind::Conflict]).await?;
    ctx.lists_exactly(&second, &service, &[&new]).await?;
    Ok(())
}

pub(super) async fn pairs_survive_whole(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    // 2^53 + 1 is the first number that a double cannot hold.
    for (n, pair) in [(1, 0), ((1 << 53) + 1, (1 << 53) + 1), (u64::MAX, u64::MAX)].into_iter().enumerate() {
        let record = ctx.record_at(&service, &format!("id-{n}"), pair)?;
        survives(ctx, &writer, &reader, &record).await?;
    }
    Ok(())
}

async fn survives(
    ctx: &Ctx,
    writer: &Arc<dyn Backend>,
    reader: &Arc<dyn Backend>,
    record: &Record,
) -> CaseResult {
    writer.register(record).await?;
    let listing = ctx
        .lists(reader, &record.key().service, "the record is there", |listing| {
            listing.instances.iter().any(|found| found.key == *record.key())
        })
        .await?;
    let found = listing.instances.iter().find(|found| found.key == *record.key());
    ensure_eq!(found.map(|found| found.pair()), Some(record.pair()), "the pair was bent");
    ensure!(record.pair() != Pair::NONE, "the case is void");
    Ok(())
}
