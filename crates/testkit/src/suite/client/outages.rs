//! Registries that are away, come back, and have forgotten everything.

use std::time::Duration;

use callsign_client::{ClientEvent, Patch, Registration, RegistrationState, ServiceView, Snapshot};
use callsign_core::Error;
use tokio::time::{Instant, sleep};

use super::context::ClientCtx;
use super::leaving::BLUR;
use super::observe::{
    always, is_exactly, is_live, is_registered, is_routable, is_stale, reaches, shows, states, told,
};
use crate::suite::CaseResult;
use crate::suite::outcome::{ensure, ensure_eq};

/// How long the watch driver takes to call silence an error, and what comes on top.
const SILENCE: Duration = Duration::from_secs(35);

fn is_lost(state: &RegistrationState) -> bool {
    matches!(state, RegistrationState::Lost { .. })
}

/// After healing: registered in time, seen, and no word of trouble.
async fn comes_back(
    ctx: &ClientCtx,
    registration: &Registration,
    view: &ServiceView,
    ids: &[&str],
) -> CaseResult {
    is_registered(registration, ctx.back_within(ctx.ttl())).await?;
    let bound = ctx.registry().recovery() + ctx.soon();
    shows(view, bound, "a live answer", |snapshot| is_live(snapshot, ids)).await?;
    Ok(())
}

pub(super) async fn outage_shorter_than_the_ttl_is_no_event(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, user) = (ctx.client().await?, ctx.client().await?);
    let owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    let view = user.service(service.clone());
    let unseen = !ctx.registry().harness().outage_removes();
    let one = |snapshot: &Snapshot| {
        if unseen { is_exactly(snapshot, &["one"]) } else { is_routable(snapshot, "one") }
    };
    let before = shows(&view, ctx.soon(), "the instance", one).await?;
    let (mut states_of_owner, mut events) = (client.events(), user.events());
    let ttl = ctx.medium().ttl.unwrap_or_default().get();
    always(&view, "a short outage takes nothing away", one, async {
        let outage = ctx.registry().outage().await?;
        // Long enough to miss a renewal.
        sleep(ttl / 3 + Duration::from_secs(1)).await;
        ctx.registry().heal(outage).await?;
        is_registered(&owner.registration, ctx.back_within(ttl)).await?;
        shows(&view, ctx.registry().recovery(), "a live answer", |snapshot| is_live(snapshot, &["one"]))
            .await?;
        sleep(ttl).await;
        Ok(())
    })
    .await?;
    let states = states(&told(&mut states_of_owner));
    ensure!(!states.contains(&"lost"), "the registration was lost: {states:?}");
    let held = told(&mut events).into_iter().find(|event| matches!(**event, ClientEvent::Held { .. }));
    ensure!(held.is_none() || !unseen, "removals were held: {held:?}");
    let after = view.snapshot();
    ensure_eq!(after.instances[0].pair(), before.instances[0].pair(), "the record was written anew");
    Ok(())
}

pub(super) async fn outage_longer_than_the_ttl_comes_back(ctx: &ClientCtx) -> CaseResult {
    long_outages(ctx, 1).await
}

pub(super) async fn two_outages_in_a_row_are_survived(ctx: &ClientCtx) -> CaseResult {
    long_outages(ctx, 2).await
}

async fn long_outages(ctx: &ClientCtx, count: u32) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.short()).await?;
    let view = ctx.view(&service).await?;
    let routable = |snapshot: &Snapshot| is_routable(snapshot, "one");
    let before = shows(&view, ctx.soon(), "the instance", routable).await?;
    always(&view, "the instance can be used throughout", routable, async {
        for _ in 0..count {
            let outage = ctx.registry().outage().await?;
            reaches(&owner.registration, ctx.ttl() * 2 + ctx.soon(), "lost", is_lost).await?;
            let stale = shows(&view, ctx.registry().recovery(), "trouble", is_stale).await?;
            let cause = stale.freshness.cause();
            ensure!(cause.is_some_and(Error::counts_as_outage), "the trouble's cause is {cause:?}");
            sleep(ctx.ttl()).await;
            ctx.registry().heal(outage).await?;
            comes_back(ctx, &owner.registration, &view, &["one"]).await?;
            sleep(Duration::from_secs(5)).await;
        }
        Ok(())
    })
    .await?;
    let listing = ctx.lists(&service, "one record", |listing| listing.instances.len() == 1).await?;
    let (now, then) = (&listing.instances[0], &before.instances[0]);
    ensure_eq!((&now.key, now.pair()), (&then.key, then.pair()), "another record came back");
    Ok(())
}

pub(super) async fn outage_whose_end_nobody_tells_of_is_survived(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, tap) = ctx.tapped().await?;
    tap.mute_events();
    let owner = ctx.owner(&client, &service, "one", ctx.short()).await?;
    let outage = ctx.registry().outage().await?;
    let begun = Instant::now();
    // Long enough for a registrar that counts its failures to have had enough of them.
    sleep(Duration::from_secs(30)).await;
    let tries = tap.writes_since(begun).len();
    ensure!(tries >= 5, "in 30 s of an outage there were {tries} tries");
    ctx.registry().heal(outage).await?;
    is_registered(&owner.registration, ctx.back_within(ctx.ttl())).await?;
    ctx.lists(&service, "the record", |listing| listing.instances.len() == 1).await?;
    Ok(())
}

pub(super) async fn end_of_an_outage_that_is_told_is_not_slept_through(ctx: &ClientCtx) -> CaseResult {
    /// A write and its answer; the back-off of a minute's outage is at up to 5 s.
    const AT_ONCE: Duration = Duration::from_secs(1);
    ctx.only_on_paused_time("how soon a backend learns of the end is its own business")?;
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let outage = ctx.registry().outage().await?;
    let mut owners = Vec::new();
    for n in 0..20 {
        let process = ctx.process(&service, &format!("id-{n}")).await?;
        let options = ctx.long()?.with_wait(Duration::ZERO);
        owners.push((client.register(process.instance().clone(), options).await?, process));
    }
    sleep(Duration::from_secs(60)).await;
    let healed = Instant::now();
    ctx.registry().heal(outage).await?;
    for (registration, _) in &owners {
        is_registered(registration, AT_ONCE).await?;
    }
    ensure!(healed.elapsed() <= AT_ONCE, "it took them {:?}", healed.elapsed());
    Ok(())
}

pub(super) async fn states_of_an_outage_are_told_in_order(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let mut events = client.events();
    let owner = ctx.owner(&client, &service, "one", ctx.short()).await?;
    let outage = ctx.registry().outage().await?;
    reaches(&owner.registration, ctx.ttl() * 2 + ctx.soon(), "lost", is_lost).await?;
    ctx.registry().heal(outage).await?;
    is_registered(&owner.registration, ctx.back_within(ctx.ttl())).await?;
    let departure = owner.registration.deregister(Duration::from_secs(5)).await;
    ensure!(departure.is_clean(), "leaving was not clean: {departure:?}");
    // A backend that learns of the loss by itself leaves no room for suspicion.
    let states: Vec<_> = states(&told(&mut events)).into_iter().filter(|state| *state != "suspect").collect();
    ensure_eq!(states, ["registered", "lost", "registered", "draining", "gone"], "the states are others");
    Ok(())
}

pub(super) async fn frozen_registry_delays_nobody_and_views_come_back(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.short()).await?;
    let late = ctx.process(&ctx.service("others")?, "two").await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "the instance", |snapshot| is_exactly(snapshot, &["one"])).await?;
    always(&view, "the instance can be used throughout", |snapshot| is_routable(snapshot, "one"), async {
        let freeze = ctx.registry().freeze().await?;
        let (wait, start) = (Duration::from_secs(2), Instant::now());
        let options = ctx.short().with_wait(wait);
        let registration = client.register(late.instance().clone(), options).await?;
        ensure!(start.elapsed() <= wait + BLUR, "`register` waited for {:?}", start.elapsed());
        ensure!(
            matches!(registration.state(), RegistrationState::Pending { .. }),
            "while the registry is frozen the registration is {}",
            registration.state()
        );
        let start = Instant::now();
        ensure!(owner.registration.update(Patch::new().weight(3)).await.is_err(), "a change got through");
        ensure!(
            start.elapsed() <= Duration::from_secs(5) + BLUR,
            "`update` waited for {:?}",
            start.elapsed()
        );
        shows(&view, SILENCE, "trouble", is_stale).await?;
        ctx.registry().heal(freeze).await?;
        comes_back(ctx, &owner.registration, &view, &["one"]).await?;
        is_registered(&registration, ctx.soon()).await?;
        Ok(())
    })
    .await
}

pub(super) async fn wiped_registry_is_filled_again(ctx: &ClientCtx) -> CaseResult {
    const IDS: [&str; 5] = ["id-0", "id-1", "id-2", "id-3", "id-4"];
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let mut owners = Vec::new();
    for id in IDS {
        owners.push(ctx.owner(&client, &service, id, ctx.short()).await?);
    }
    let view = ctx.view(&service).await?;
    let all = |snapshot: &Snapshot| IDS.iter().all(|id| is_routable(snapshot, id));
    shows(&view, ctx.soon(), "all instances", all).await?;
    always(&view, "nobody is missing while the registry is filled again", all, async {
        ctx.registry().wipe().await?;
        let reader = ctx.registry().client().await?;
        let patience = ctx.registry().patience(ctx.repaired_within(ctx.ttl()));
        while ctx.registry().list(&reader, &service).await?.instances.len() < IDS.len() {
            patience.pause(|| "the registry is not full again".to_owned()).await?;
        }
        let bound = ctx.registry().recovery() + ctx.soon();
        shows(&view, bound, "all instances, live and not held", |snapshot| is_live(snapshot, &IDS)).await?;
        Ok(())
    })
    .await?;
    for owner in &owners {
        is_registered(&owner.registration, ctx.repaired_within(ctx.ttl())).await?;
    }
    Ok(())
}

pub(super) async fn record_deleted_by_hand_is_repaired(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.short()).await?;
    let view = ctx.view(&service).await?;
    let routable = |snapshot: &Snapshot| is_routable(snapshot, "one");
    shows(&view, ctx.soon(), "the instance", routable).await?;
    always(&view, "an operator's mistake is not seen", routable, async {
        ctx.registry().delete(&owner.process.instance().key).await?;
        let reader = ctx.registry().client().await?;
        let patience = ctx.registry().patience(ctx.repaired_within(ctx.ttl()));
        sleep(Duration::from_millis(1)).await;
        while ctx.registry().list(&reader, &service).await?.instances.is_empty() {
            patience.pause(|| "the record is not there again".to_owned()).await?;
        }
        shows(&view, ctx.repaired_within(ctx.ttl()), "it, live and not held", |snapshot| {
            is_live(snapshot, &["one"])
        })
        .await
    })
    .await?;
    is_registered(&owner.registration, ctx.repaired_within(ctx.ttl())).await?;
    Ok(())
}

pub(super) async fn lost_signal_registers_again_without_waiting_for_the_renewal(
    ctx: &ClientCtx,
) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, tap) = ctx.tapped().await?;
    let _owner = ctx.owner(&client, &service, "one", ctx.long()?).await?;
    let reader = ctx.registry().client().await?;
    for _ in 0..2 {
        let listing =
            ctx.registry().lists(&reader, &service, "the record", |listing| listing.instances.len() == 1);
        let instance = listing.await?.instances[0].clone();
        let record = ctx.registry().record_of(instance.to_builder())?;
        reader.deregister(&record).await?;
        ctx.registry().lists(&reader, &service, "nobody", |listing| listing.instances.is_empty()).await?;
        tap.lose(Error::not_found("the session has ended"));
        ctx.registry().lists(&reader, &service, "the record", |listing| listing.instances.len() == 1).await?;
    }
    let renewals = tap.writes().iter().filter(|write| write.verb == "renew").count();
    ensure_eq!(renewals, 0, "the case took so long that a renewal was due");
    Ok(())
}

pub(super) async fn owner_that_is_cut_off_stays_in_the_views(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, control) = ctx.cuttable().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.short()).await?;
    let view = ctx.view(&service).await?;
    let routable = |snapshot: &Snapshot| is_routable(snapshot, "one");
    shows(&view, ctx.soon(), "the instance", routable).await?;
    always(&view, "who answers is not removed", routable, async {
        control.cut();
        ctx.lists_until_empty(&service).await?;
        shows(&view, ctx.soon(), "that it is held", |snapshot| snapshot.is_held("one")).await?;
        sleep(ctx.ttl() * 2).await;
        ensure!(is_lost(&owner.registration.state()), "the registration is {}", owner.registration.state());
        control.heal();
        comes_back(ctx, &owner.registration, &view, &["one"]).await
    })
    .await
}

pub(super) async fn herd_comes_back_without_a_stampede(ctx: &ClientCtx) -> CaseResult {
    const HERD: usize = 500;
    /// What is promised: a third of the ttl, at most 3 s.
    const SPREAD: Duration = Duration::from_secs(3);
    const SLICE: Duration = Duration::from_millis(100);
    ctx.only_on_paused_time("500 processes would have to listen, and the times of their writes be exact")?;
    let service = ctx.service("orders")?;
    let (client, tap) = ctx.tapped().await?;
    let mut owners = Vec::with_capacity(HERD);
    for n in 0..HERD {
        let process = ctx.process(&service, &format!("id-{n:03}")).await?;
        let options = ctx.medium().with_wait(Duration::ZERO);
        owners.push((client.register(process.instance().clone(), options).await?, process));
    }
    for (registration, _) in &owners {
        is_registered(registration, ctx.soon()).await?;
    }
    let ttl = ctx.medium().ttl.unwrap_or_default().get();
    let outage = ctx.registry().outage().await?;
    sleep(ttl * 2).await;
    let healed = Instant::now();
    ctx.registry().heal(outage).await?;
    for (registration, _) in &owners {
        is_registered(registration, ctx.back_within(ttl)).await?;
    }
    ensure!(healed.elapsed() <= ctx.back_within(ttl), "it took the herd {:?}", healed.elapsed());
    let mut slices = [0_usize; 100];
    for write in tap.writes_since(healed).iter().filter(|write| write.verb == "register") {
        let nth = (write.at - healed).as_millis() / SLICE.as_millis();
        if let Some(slice) = usize::try_from(nth).ok().and_then(|nth| slices.get_mut(nth)) {
            *slice += 1;
        }
    }
    let first_writes: usize = slices.iter().sum();
    // A few may have been on their way when the outage ended.
    ensure!(first_writes >= HERD * 9 / 10, "only {first_writes} of {HERD} were written again");
    ensure!(first_writes <= 2 * HERD, "{HERD} registrations took {first_writes} writes");
    let worst = slices.iter().max().copied().unwrap_or_default();
    // Evenly there would be 17 in each slice; who was about to try again anyway doubles the first ones.
    ensure!(worst <= HERD / 5, "{worst} of {HERD} came within {SLICE:?}, not spread over {SPREAD:?}");
    Ok(())
}
