//! One id, several owners: the later one has it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callsign_client::{RegistrationState, Snapshot};
use callsign_core::{ErrorKind, Pair};
use tokio::time::sleep;

use super::context::ClientCtx;
use super::observe::{always, is_exactly, is_registered, reaches, shows, states, told};
use crate::suite::CaseResult;
use crate::suite::outcome::{ensure, ensure_eq};

fn pair_of(snapshot: &Snapshot) -> Pair {
    snapshot.get("one").map_or(Pair::NONE, |one| one.pair())
}

pub(super) async fn later_owner_takes_over_and_the_earlier_is_rejected(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (first, second) = (ctx.client().await?, ctx.client().await?);
    let mut events = first.events();
    let earlier = ctx.owner(&first, &service, "one", ctx.short()).await?;
    let view = ctx.view(&service).await?;
    let before = shows(&view, ctx.soon(), "the earlier", |snapshot| is_exactly(snapshot, &["one"])).await?;
    let later = ctx.owner(&second, &service, "one", ctx.short()).await?;
    let after =
        shows(&view, ctx.soon(), "the later", |snapshot| pair_of(snapshot) > pair_of(&before)).await?;
    reaches(
        &earlier.registration,
        ctx.repaired_within(ctx.ttl()),
        "rejected",
        |state| matches!(state, RegistrationState::Rejected(error) if error.kind() == ErrorKind::Conflict),
    )
    .await?;
    told(&mut events);
    let the_later = |snapshot: &Snapshot| {
        is_exactly(snapshot, &["one"]) && pair_of(snapshot).incarnation == pair_of(&after).incarnation
    };
    always(&view, "the later owner has the id", the_later, async {
        sleep(ctx.ttl() * 5).await;
        Ok(())
    })
    .await?;
    let states = states(&told(&mut events));
    ensure!(!states.contains(&"registered"), "the earlier owner came back: {states:?}");
    let state = later.registration.state();
    ensure!(matches!(state, RegistrationState::Registered { .. }), "the later owner is {state}");
    let departure = later.registration.deregister(Duration::from_secs(5)).await;
    ensure!(departure.is_clean(), "leaving was not clean: {departure:?}");
    // It was never given up: tried every third of its ttl, 5 s at most.
    is_registered(&earlier.registration, ctx.back_within(ctx.ttl())).await?;
    Ok(())
}

pub(super) async fn restarted_process_replaces_its_former_record(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, control) = ctx.cuttable().await?;
    let former = ctx.owner(&client, &service, "one", ctx.short()).await?;
    let view = ctx.view(&service).await?;
    let one = |snapshot: &Snapshot| is_exactly(snapshot, &["one"]);
    let before = shows(&view, ctx.soon(), "the instance", one).await?;
    control.cut();
    drop((former, client));
    always(&view, "through a restart there is exactly one record", one, async {
        let client = ctx.client().await?;
        let owner = ctx.owner(&client, &service, "one", ctx.short()).await?;
        shows(&view, ctx.soon(), "its next life", |snapshot| {
            pair_of(snapshot).incarnation > pair_of(&before).incarnation
        })
        .await?;
        // The end of the former lease is none of the new record's business.
        sleep(ctx.ttl() * 2 + ctx.registry().harness().expiry_slack()).await;
        let state = owner.registration.state();
        ensure!(state.is_registered(), "after the former lease has ended the registration is {state}");
        drop(client);
        shows(&view, ctx.soon(), "the instance", one).await?;
        Ok(owner)
    })
    .await?;
    Ok(())
}

pub(super) async fn clock_that_was_set_back_locks_no_owner_out(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    // The former life ran an hour ahead.
    let ahead = SystemTime::now() + Duration::from_secs(3600);
    let micros = ahead.duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
    let former = Pair::new(u64::try_from(micros).unwrap_or(u64::MAX / 2), 9);
    let writer = ctx.registry().client().await?;
    writer.register(&ctx.registry().record_at(&service, "one", (former.incarnation, former.seq))?).await?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    let above = |listing: &callsign_core::Listing| {
        listing.instances.len() == 1 && listing.instances[0].incarnation > former.incarnation
    };
    let listing = ctx.lists(&service, "the new life, above the former", above).await?;
    ensure_eq!(listing.instances[0].endpoints, owner.process.instance().endpoints, "the record is another");
    is_registered(&owner.registration, ctx.soon()).await?;
    Ok(())
}
