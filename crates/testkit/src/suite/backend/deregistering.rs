//! Taking records away.

use callsign_core::ErrorKind;

use crate::suite::outcome::{chain, ensure_eq, fail};
use crate::suite::{CaseResult, Ctx};

pub(super) async fn deregister_removes(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let (one, two) = (ctx.record(&service, "one")?, ctx.record(&service, "two")?);
    writer.register(&one).await?;
    writer.register(&two).await?;
    ctx.lists_exactly(&reader, &service, &[&one, &two]).await?;
    writer.deregister(&one).await?;
    ctx.lists_exactly(&reader, &service, &[&two]).await?;
    let Err(error) = writer.renew(&one).await else {
        fail!("a record that its owner has removed was renewed");
    };
    ensure_eq!(error.kind(), ErrorKind::NotFound, "the answer is another: {}", chain(&error));
    Ok(())
}

pub(super) async fn deregister_is_idempotent(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let record = ctx.record(&ctx.service("orders")?, "one")?;
    writer.register(&record).await?;
    for _ in 0..3 {
        writer.deregister(&record).await?;
    }
    ctx.lists_exactly(&reader, &record.key().service, &[]).await?;
    Ok(())
}

pub(super) async fn deregister_of_an_unknown_record_is_success(ctx: &Ctx) -> CaseResult {
    let writer = ctx.client().await?;
    writer.deregister(&ctx.record(&ctx.service("orders")?, "one")?).await?;
    Ok(())
}

pub(super) async fn deregistered_id_can_come_back(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    for incarnation in 1..=5 {
        let record = ctx.record_at(&service, "one", (incarnation, 1))?;
        writer.register(&record).await?;
        ctx.lists_exactly(&reader, &service, &[&record]).await?;
        writer.deregister(&record).await?;
        ctx.lists_exactly(&reader, &service, &[]).await?;
    }
    Ok(())
}
