//! Removals that nobody announced.

use std::time::Duration;

use callsign_client::{Client, ClientEvent, HoldKind, Protection, Snapshot};
use callsign_core::ServiceKey;
use futures::future::join_all;
use tokio::time::sleep;

use super::context::{ClientCtx, Owner};
use super::observe::{always, is_exactly, is_held, is_live, is_routable, shows, told};
use crate::chaos::ChaosControl;
use crate::suite::outcome::{ensure, ensure_eq};
use crate::suite::{CaseResult, Stop};

/// Of a fleet of ten, eight are behind one cable.
const FLEET: [&str; 10] = ["id-0", "id-1", "id-2", "id-3", "id-4", "id-5", "id-6", "id-7", "id-8", "id-9"];
const BEHIND: usize = 8;
/// What may vanish unheld of ten within 10 s: 30 %.
const UNHELD: usize = 3;

struct Fleet {
    owners: Vec<Owner>,
    cable: ChaosControl,
}

async fn fleet(ctx: &ClientCtx, service: &ServiceKey) -> CaseResult<Fleet> {
    let ((behind, cable), others) = (ctx.cuttable().await?, ctx.client().await?);
    let mut owners = Vec::new();
    for (nth, id) in FLEET.iter().enumerate() {
        let client = if nth < BEHIND { &behind } else { &others };
        owners.push(ctx.owner(client, service, id, ctx.short()).await?);
    }
    Ok(Fleet { owners, cable })
}

pub(super) async fn last_instance_that_crashes_is_held_probed_and_then_gone(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, cable) = ctx.cuttable().await?;
    let Owner { registration, process } = ctx.owner(&client, &service, "one", ctx.short()).await?;
    let view = ctx.view(&service).await?;
    let routable = |snapshot: &Snapshot| is_routable(snapshot, "one");
    shows(&view, ctx.soon(), "the instance", routable).await?;
    always(&view, "who answers is kept", routable, async {
        cable.cut();
        let held = |snapshot: &Snapshot| {
            matches!(snapshot.protection, Protection::Held { kind: HoldKind::Empty, count: 1, .. })
        };
        shows(&view, ctx.expired_within(ctx.ttl()), "that it is held", held).await?;
        sleep(Duration::from_secs(5)).await;
        ensure!(view.snapshot().is_held("one"), "it is not held any more, though it answers");
        Ok(())
    })
    .await?;
    drop(process);
    let bound = ctx.soon() + Duration::from_secs(10);
    shows(&view, bound, "an empty service", |snapshot| is_live(snapshot, &[])).await?;
    drop(registration);
    Ok(())
}

pub(super) async fn mass_expiry_is_held_and_released_when_the_owners_are_back(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let fleet = fleet(ctx, &service).await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "the fleet", |snapshot| is_exactly(snapshot, &FLEET)).await?;
    let enough = |snapshot: &Snapshot| snapshot.routable().len() >= FLEET.len() - UNHELD;
    always(&view, "more than 30 % are removed though they answer", enough, async {
        fleet.cable.cut();
        shows(&view, ctx.expired_within(ctx.ttl()), "that removals are held", is_held).await?;
        sleep(ctx.ttl() + Duration::from_secs(5)).await;
        let Protection::Held { count, .. } = view.snapshot().protection else {
            return Err(Stop::failed("those who answer are not held any more"));
        };
        ensure!(count >= BEHIND - UNHELD, "{count} are held");
        fleet.cable.heal();
        let bound = ctx.back_within(ctx.ttl()) + ctx.soon();
        shows(&view, bound, "the fleet, live and not held", |snapshot| is_live(snapshot, &FLEET)).await
    })
    .await?;
    Ok(())
}

pub(super) async fn one_that_is_missing_after_a_wipe_is_held_too(ctx: &ClientCtx) -> CaseResult {
    if ctx.registry().harness().reconnecting_restores() {
        let reason = "a record of this registry is there again by itself, however its owner is cut off";
        return Err(Stop::Ignored(reason.to_owned()));
    }
    let service = ctx.service("orders")?;
    let ((alone, owners_way), (user, views_way)) = (ctx.cuttable().await?, ctx.cuttable().await?);
    let others = ctx.client().await?;
    let mut owners = vec![ctx.owner(&alone, &service, FLEET[0], ctx.short()).await?];
    for id in &FLEET[1..] {
        owners.push(ctx.owner(&others, &service, id, ctx.short()).await?);
    }
    let view = user.service(service.clone());
    shows(&view, ctx.soon(), "the fleet", |snapshot| is_exactly(snapshot, &FLEET)).await?;
    always(
        &view,
        "a registry that has forgotten is believed",
        |snapshot| is_routable(snapshot, FLEET[0]),
        async {
            views_way.cut();
            owners_way.cut();
            ctx.registry().wipe().await?;
            let reader = ctx.registry().client().await?;
            let patience = ctx.registry().patience(ctx.repaired_within(ctx.ttl()));
            while ctx.registry().list(&reader, &service).await?.instances.len() < FLEET.len() - 1 {
                patience.pause(|| "the registry is not filled again".to_owned()).await?;
            }
            views_way.heal();
            let held = |snapshot: &Snapshot| {
                snapshot.is_held(FLEET[0])
                    && matches!(
                        snapshot.protection,
                        Protection::Held { kind: HoldKind::NewOrigin, count: 1, .. }
                    )
            };
            shows(&view, ctx.registry().recovery(), "that it is held", held).await?;
            owners_way.heal();
            let bound = ctx.back_within(ctx.ttl()) + ctx.soon();
            shows(&view, bound, "the fleet, live and not held", |snapshot| is_live(snapshot, &FLEET)).await
        },
    )
    .await?;
    Ok(())
}

pub(super) async fn mass_expiry_of_dead_processes_is_applied_after_the_probes(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let mut fleet = fleet(ctx, &service).await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "the fleet", |snapshot| is_exactly(snapshot, &FLEET)).await?;
    fleet.cable.cut();
    fleet.owners.drain(..BEHIND);
    let alive = |snapshot: &Snapshot| FLEET[BEHIND..].iter().all(|id| is_routable(snapshot, id));
    always(&view, "who is alive is kept", alive, async {
        let bound = ctx.gone_within(ctx.ttl());
        shows(&view, bound, "those who are alive", |snapshot| is_live(snapshot, &FLEET[BEHIND..])).await
    })
    .await?;
    Ok(())
}

pub(super) async fn without_protection_mass_expiry_is_applied_at_once(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let fleet = fleet(ctx, &service).await?;
    let off = ctx.builder().await?.protection(false).build()?;
    let off_here = ctx.builder().await?.service_protection(service.clone(), false).build()?;
    let off_elsewhere = ctx.builder().await?.service_protection(ctx.service("others")?, false).build()?;
    let on = off_elsewhere.service(service.clone());
    for client in [&off, &off_here, &off_elsewhere] {
        let view = client.service(service.clone());
        shows(&view, ctx.soon(), "the fleet", |snapshot| is_exactly(snapshot, &FLEET)).await?;
    }
    let events: Vec<_> = [&off, &off_here].map(Client::events).into();
    fleet.cable.cut();
    let bound = ctx.expired_within(ctx.ttl()) + ctx.ttl();
    for (client, mut events) in [&off, &off_here].into_iter().zip(events) {
        let view = client.service(service.clone());
        shows(&view, bound, "those who are listed", |snapshot| is_exactly(snapshot, &FLEET[BEHIND..]))
            .await?;
        let held = told(&mut events).into_iter().find(|event| matches!(**event, ClientEvent::Held { .. }));
        ensure!(held.is_none(), "removals were held: {held:?}");
    }
    shows(&on, ctx.soon(), "that removals are held", is_held).await?;
    Ok(())
}

pub(super) async fn announced_mass_removal_is_applied_at_once(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let fleet = fleet(ctx, &service).await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "the fleet", |snapshot| is_exactly(snapshot, &FLEET)).await?;
    always(&view, "who has said goodbye is not held", |snapshot| !is_held(snapshot), async {
        let leaving =
            fleet.owners[1..].iter().map(|owner| owner.registration.deregister(Duration::from_secs(10)));
        let clean = join_all(leaving).await.iter().filter(|departure| departure.is_clean()).count();
        ensure_eq!(clean, FLEET.len() - 1, "some did not leave cleanly");
        shows(&view, ctx.soon(), "the one who stays", |snapshot| is_live(snapshot, &FLEET[..1])).await
    })
    .await?;
    Ok(())
}
