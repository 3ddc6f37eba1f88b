//! What is dropped leaves nothing running.

use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::suite::outcome::ensure_eq;
use crate::suite::{CaseResult, Ctx};

/// The longest that a call's own time-out may keep a task after its caller is gone.
const BOUND: Duration = Duration::from_secs(10);

fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Waits until no more than `before` tasks are alive.
async fn back_to(ctx: &Ctx, before: usize) -> CaseResult {
    let patience = ctx.patience(BOUND);
    loop {
        let now = alive();
        if now <= before {
            return Ok(());
        }
        patience.pause(|| format!("{now} tasks are alive, before there were {before}")).await?;
    }
}

pub(super) async fn dropped_watch_ends_its_tasks(ctx: &Ctx) -> CaseResult {
    let client = ctx.client().await?;
    let service = ctx.service("orders")?;
    // What the first watch opens for good, such as a connection, is not a watch's task.
    ctx.watch(&client, &service).listing().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = alive();
    let unpolled: Vec<_> = (0..10).map(|_| client.watch(&service)).collect();
    ensure_eq!(alive(), before, "a watch that nobody polls has tasks");
    drop(unpolled);
    for n in 0..10 {
        let service = ctx.service(&format!("orders-{n}"))?;
        let mut watch = ctx.watch(&client, &service);
        watch.listing().await?;
    }
    back_to(ctx, before).await
}

pub(super) async fn cancelled_register_leaves_no_task(ctx: &Ctx) -> CaseResult {
    let (client, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let first = ctx.record(&service, "one")?;
    client.register(&first).await?;
    ctx.lists_exactly(&reader, &service, &[&first]).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = alive();
    for seq in 2..=20 {
        let record = ctx.record_at(&service, "one", (1, seq))?;
        if seq % 2 == 0 {
            // Dropped after its first poll.
            let _ = client.register(&record).now_or_never();
        } else {
            let _ = timeout(Duration::from_micros(200), client.register(&record)).await;
        }
    }
    back_to(ctx, before).await?;
    // Whatever became of them: the owner's next write stands.
    let last = ctx.record_at(&service, "one", (1, 21))?;
    client.register(&last).await?;
    ctx.lists_exactly(&reader, &service, &[&last]).await?;
    client.deregister(&last).await?;
    ctx.lists_exactly(&reader, &service, &[]).await?;
    Ok(())
}

pub(super) async fn closed_client_leaves_no_task(ctx: &Ctx) -> CaseResult {
    let service = ctx.service("orders")?;
    let record = ctx.record(&service, "one")?;
    // What the harness itself keeps running is not the client's.
    let other = ctx.client().await?;
    other.register(&record).await?;
    ctx.watch(&other, &service).listing().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = alive();
    let client = ctx.harness().client().await?;
    client.register(&record).await?;
    let mut watch = ctx.watch(&client, &service);
    watch.listing().await?;
    drop(watch);
    client.close().await?;
    drop(client);
    back_to(ctx, before).await
}
