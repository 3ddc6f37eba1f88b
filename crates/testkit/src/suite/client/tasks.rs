//! What is dropped leaves nothing running.

use std::time::Duration;

use callsign_client::Client;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::context::ClientCtx;
use super::observe::shows;
use crate::suite::CaseResult;
use crate::suite::outcome::ensure;

/// The one delete of a dropped registration takes 2 s at most.
const BOUND: Duration = Duration::from_secs(10);

fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

pub(super) async fn dropped_handles_end_every_task(ctx: &ClientCtx) -> CaseResult {
    // What a backend keeps running for good is not the client's: it is begun before the count.
    let backend = ctx.registry().client().await?;
    one_life(ctx, ctx.client_over(backend.clone())?, "warm").await?;
    sleep(BOUND).await;
    let before = alive();
    for round in 0..3 {
        one_life(ctx, ctx.client_over(backend.clone())?, &format!("round-{round}")).await?;
    }
    let patience = ctx.registry().patience(BOUND);
    while alive() > before {
        let complaint = || format!("{} tasks are alive, before there were {before}", alive());
        patience.pause(complaint).await?;
    }
    Ok(())
}

/// Everything that a client can start, and its end.
async fn one_life(ctx: &ClientCtx, client: Client, name: &str) -> CaseResult {
    let service = ctx.service(name)?;
    let mut owners = Vec::new();
    for n in 0..5 {
        owners.push(ctx.owner(&client, &service, &format!("id-{n}"), ctx.long()?).await?);
    }
    let view = client.service(service);
    shows(&view, ctx.soon(), "all instances", |snapshot| snapshot.routable().len() == 5).await?;
    let (_changes, _snapshots, _picker) = (view.changes(), view.snapshots(), view.round_robin());
    ensure!(alive() >= 6, "nothing is running: the count proves nothing");
    Ok(())
}
