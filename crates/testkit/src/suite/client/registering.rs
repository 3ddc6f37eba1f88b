//! Getting registered, and changing what is.

use std::time::Duration;

use callsign_client::{Patch, RegistrationState};
use callsign_core::{ErrorKind, Health, Instance};
use futures::future::join_all;
use tokio::time::{Instant, sleep};

use super::context::ClientCtx;
use super::leaving::BLUR;
use super::observe::{always, is_exactly, is_live, is_registered, is_routable, reaches, shows};
use crate::suite::CaseResult;
use crate::suite::outcome::{chain, ensure, ensure_eq, fail};

pub(super) async fn register_then_seen_by_a_view(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let view = ctx.view(&service).await?;
    let client = ctx.client().await?;
    let process = ctx.process(&service, "one").await?;
    let wanted = process
        .instance()
        .to_builder()
        .weight(7)
        .metadata("colour", "green")
        .health(Health::Unknown)
        .build()?;
    let registration = client.register(wanted.clone(), ctx.medium()).await?;
    ensure!(
        matches!(registration.state(), RegistrationState::Registered { .. }),
        "`register` returned in `{}`",
        registration.state()
    );
    let seen = shows(&view, ctx.soon(), "the instance", |snapshot| is_live(snapshot, &["one"])).await?;
    let seen = &seen.instances[0];
    ensure!(!seen.pair().is_none(), "the instance has no pair");
    let same = |instance: &Instance| {
        (instance.key.clone(), instance.endpoints.clone(), instance.weight, instance.metadata.clone())
    };
    ensure_eq!(same(seen), same(&wanted), "what is seen is not what was registered");
    Ok(())
}

pub(super) async fn start_while_the_registry_is_down_registers_by_itself(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let outage = ctx.registry().outage().await?;
    let (client, process) = (ctx.client().await?, ctx.process(&service, "one").await?);
    let view = ctx.client().await?.service(service.clone());
    let (wait, start) = (Duration::from_secs(3), Instant::now());
    let registration = client.register(process.instance().clone(), ctx.medium().with_wait(wait)).await?;
    ensure!(start.elapsed() <= wait + BLUR, "`register` waited for {:?}", start.elapsed());
    match registration.state() {
        RegistrationState::Pending { attempt: 1.., cause: Some(cause) } if cause.counts_as_outage() => {}
        state => fail!("during an outage the registration is {state}"),
    }
    ctx.registry().heal(outage).await?;
    is_registered(&registration, ctx.back_within(ctx.medium().ttl.unwrap_or_default().get())).await?;
    let bound = ctx.registry().recovery() + ctx.soon();
    shows(&view, bound, "the instance", |snapshot| is_live(snapshot, &["one"])).await?;
    Ok(())
}

pub(super) async fn required_start_fails_with_the_cause(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let outage = ctx.registry().outage().await?;
    let (client, process) = (ctx.client().await?, ctx.process(&service, "one").await?);
    let (wait, start) = (Duration::from_secs(3), Instant::now());
    let options = ctx.short().required().with_wait(wait);
    let error = match client.register(process.instance().clone(), options).await {
        Ok(registration) => fail!("a required registration returned in `{}`", registration.state()),
        Err(error) => error,
    };
    ensure!(start.elapsed() <= wait + BLUR, "`register` waited for {:?}", start.elapsed());
    ensure!(std::error::Error::source(&error).is_some(), "the error has no cause: {}", chain(&error));
    ctx.registry().heal(outage).await?;
    let view = ctx.client().await?.service(service.clone());
    view.ready(ctx.registry().recovery()).await?;
    let nobody = |snapshot: &_| is_exactly(snapshot, &[]);
    always(&view, "what was given up is registered", nobody, async {
        sleep(ctx.ttl() * 2).await;
        Ok(())
    })
    .await
}

pub(super) async fn registration_given_up_leaves_nothing(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, view) = (ctx.client().await?, ctx.view(&service).await?);
    for n in 0..10 {
        let process = ctx.process(&service, &format!("id-{n}")).await?;
        let waiting = client.register(process.instance().clone(), ctx.long()?);
        let _ = tokio::time::timeout(Duration::from_micros(100) * n, waiting).await;
    }
    // One that was written before it was given up is held, probed, and gone, long before its lease would end.
    let bound = ctx.soon() + Duration::from_secs(15);
    shows(&view, bound, "an empty service", |snapshot| is_exactly(snapshot, &[])).await?;
    ctx.lists(&service, "nobody is registered", |listing| ctx.registry().living(listing).next().is_none())
        .await?;
    Ok(())
}

pub(super) async fn update_in_place_keeps_exactly_one_record(ctx: &ClientCtx) -> CaseResult {
    const CHANGES: u16 = 30;
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "the instance", |snapshot| is_exactly(snapshot, &["one"])).await?;
    let reader = ctx.registry().client().await?;
    let changing = async {
        for weight in 1..=CHANGES {
            owner.registration.update(Patch::new().weight(weight)).await?;
            let listing = ctx.registry().list(&reader, &service).await?;
            ensure_eq!(listing.instances.len(), 1, "the registry does not list exactly one record");
        }
        shows(&view, ctx.soon(), "the last change", |snapshot| {
            snapshot.get("one").is_some_and(|one| one.weight == CHANGES.into())
        })
        .await
    };
    let one = |snapshot: &_| is_exactly(snapshot, &["one"]);
    always(&view, "while a record is changed there is exactly one", one, changing).await?;
    Ok(())
}

pub(super) async fn concurrent_updates_are_all_in_the_last(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    let changes = (0..50).map(|n| owner.registration.update(Patch::new().metadata(format!("k{n:02}"), "v")));
    for changed in join_all(changes).await {
        changed?;
    }
    let view = ctx.view(&service).await?;
    let all = |snapshot: &callsign_client::Snapshot| {
        snapshot.get("one").is_some_and(|one| one.metadata.iter().count() == 50 && one.seq == 51)
    };
    shows(&view, ctx.soon(), "all 50 changes", all).await?;
    Ok(())
}

pub(super) async fn update_that_breaks_a_rule_changes_nothing(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    let view = ctx.view(&service).await?;
    let before = shows(&view, ctx.soon(), "the instance", |snapshot| is_exactly(snapshot, &["one"])).await?;
    for patch in [Patch::new().endpoints([]), Patch::new().weight(1).metadata("callsign.reserved", "x")] {
        match owner.registration.update(patch).await {
            Err(error) if error.kind() == ErrorKind::InvalidInput => {}
            other => fail!("a change that breaks a rule was answered with {other:?}"),
        }
    }
    // Had anything of it been written, the next change would not be the second.
    owner.registration.update(Patch::new().metadata("good", "yes")).await?;
    let after = shows(&view, ctx.soon(), "the good change", |snapshot| {
        snapshot.get("one").is_some_and(|one| one.metadata.get("good").is_some())
    })
    .await?;
    let (before, after) = (&before.instances[0], &after.instances[0]);
    ensure_eq!(after.seq, before.seq + 1, "a refused change was counted");
    ensure_eq!(after.weight, before.weight, "a part of a refused change was made");
    Ok(())
}

pub(super) async fn update_during_an_outage_is_what_is_registered_after_it(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "the instance", |snapshot| is_routable(snapshot, "one")).await?;
    let outage = ctx.registry().outage().await?;
    let start = Instant::now();
    let changes = (1..=3_u16).map(|weight| owner.registration.update(Patch::new().weight(weight)));
    for changed in join_all(changes).await {
        match changed {
            Err(error) if error.kind() == ErrorKind::Timeout && error.outcome_unknown() => {}
            other => fail!("during an outage a change was answered with {other:?}"),
        }
    }
    ensure!(start.elapsed() <= Duration::from_secs(5) + BLUR, "a change waited for {:?}", start.elapsed());
    let only_the_newest = |snapshot: &callsign_client::Snapshot| {
        snapshot.get("one").is_some_and(|one| one.weight == 100.into() || one.weight == 3.into())
    };
    always(&view, "only the newest change is registered", only_the_newest, async {
        ctx.registry().heal(outage).await?;
        let bound = ctx.registry().recovery() + ctx.soon();
        shows(&view, bound, "the newest change", |snapshot| {
            snapshot.get("one").is_some_and(|one| one.weight == 3.into())
        })
        .await
    })
    .await?;
    is_registered(&owner.registration, ctx.soon()).await?;
    Ok(())
}

pub(super) async fn instance_that_can_never_be_taken_is_an_error_at_once(ctx: &ClientCtx) -> CaseResult {
    let limit = ctx.registry().capabilities().max_metadata_bytes.unwrap_or_default();
    let service = ctx.service("orders")?;
    let (client, process) = (ctx.client().await?, ctx.process(&service, "one").await?);
    let too_much = process.instance().to_builder().metadata("k", "x".repeat(limit)).build()?;
    match client.register(too_much, ctx.medium()).await {
        Err(error) if error.kind() == ErrorKind::LimitExceeded => {}
        other => fail!("an instance beyond the limit was answered with {other:?}"),
    }
    // A registered one whose change is refused says so, and goes on when the change is taken back.
    let registration = client.register(process.instance().clone(), ctx.medium()).await?;
    let refused = registration.update(Patch::new().metadata("k", "x".repeat(limit))).await;
    ensure!(refused.is_err(), "a change beyond the limit was taken");
    reaches(&registration, ctx.soon(), "rejected", |state| {
        matches!(state, RegistrationState::Rejected(error) if error.kind() == ErrorKind::LimitExceeded)
    })
    .await?;
    // What the registry is not told in 5 s is told when it is tried again.
    let _ = registration.update(Patch::new().without_metadata("k").weight(3)).await;
    is_registered(&registration, Duration::from_secs(5) + ctx.soon()).await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "the change", |snapshot| {
        snapshot.get("one").is_some_and(|one| one.weight == 3.into())
    })
    .await?;
    Ok(())
}
