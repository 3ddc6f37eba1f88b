//! What a view shows, to how many, and how it tells of it.

use std::collections::BTreeMap;
use std::sync::Weak;
use std::time::Duration;

use callsign_client::{ClientEvent, Freshness, HoldKind, Patch, Snapshot};
use callsign_core::{ErrorKind, InstanceId, Pair};
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, timeout};

use super::context::ClientCtx;
use super::leaving::BLUR;
use super::observe::{always, is_exactly, is_held, is_live, is_routable, is_stale, shows, tells};
use crate::suite::CaseResult;
use crate::suite::outcome::{chain, ensure, ensure_eq, fail};

pub(super) async fn view_before_the_service_exists(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let view = ctx.client().await?.service(service.clone());
    ensure!(
        matches!(view.snapshot().freshness, Freshness::Unknown { cause: None }),
        "before the first answer the view is {}",
        view.snapshot().freshness.as_str()
    );
    shows(&view, ctx.soon(), "an empty service", |snapshot| is_live(snapshot, &[])).await?;
    let client = ctx.client().await?;
    let _owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    shows(&view, ctx.soon(), "the instance", |snapshot| is_live(snapshot, &["one"])).await?;
    Ok(())
}

pub(super) async fn ready_on_an_unreachable_registry_times_out_with_the_cause(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let outage = ctx.registry().outage().await?;
    let view = ctx.client().await?.service(service);
    let (deadline, start) = (Duration::from_secs(3), Instant::now());
    let error = match view.ready(deadline).await {
        Ok(snapshot) => fail!("during an outage the view is ready: {}", snapshot.freshness.as_str()),
        Err(error) => error,
    };
    ensure!(start.elapsed() <= deadline + BLUR, "`ready` took {:?}", start.elapsed());
    ensure_eq!(error.kind(), ErrorKind::Timeout, "the error is another: {}", chain(&error));
    ensure!(std::error::Error::source(&error).is_some(), "the error has no cause: {}", chain(&error));
    ensure!(
        matches!(view.snapshot().freshness, Freshness::Unknown { cause: Some(_) }),
        "who has heard nothing is {}",
        view.snapshot().freshness.as_str()
    );
    ctx.registry().heal(outage).await?;
    let bound = ctx.registry().recovery() + ctx.soon();
    shows(&view, bound, "an empty service", |snapshot| is_live(snapshot, &[])).await?;
    Ok(())
}

/// Names that a careless layer bends, cuts, or takes for one another.
const ODD: &[&str] =
    &["hello", "helloworld", "hello/world", "a%2Fb", "a/b", "a b", "*", "订单", "..", "a:b", "A", "a"];

pub(super) async fn odd_names_are_kept_apart_or_refused(ctx: &ClientCtx) -> CaseResult {
    let (client, user) = (ctx.client().await?, ctx.client().await?);
    let mut kept = Vec::new();
    for name in ODD {
        let service = ctx.service(name)?;
        let process = ctx.process(&service, name).await?;
        match client.register(process.instance().clone(), ctx.medium().required()).await {
            Ok(registration) => kept.push((name, user.service(service), registration, process)),
            Err(error) if matches!(error.kind(), ErrorKind::LimitExceeded | ErrorKind::Unsupported) => {}
            Err(error) => fail!("`{name}` is refused otherwise: {}", chain(&error)),
        }
    }
    ensure!(!kept.is_empty(), "every name was refused");
    for (name, view, ..) in &kept {
        shows(view, ctx.soon(), "its instance alone", |snapshot| is_live(snapshot, &[**name])).await?;
    }
    Ok(())
}

pub(super) async fn garbage_among_good_ones_keeps_the_former_value(ctx: &ClientCtx) -> CaseResult {
    let (registry, service) = (ctx.registry(), ctx.service("orders")?);
    let (client, writer) = (ctx.client().await?, registry.client().await?);
    let mut owners = Vec::new();
    for id in ["a", "b", "c"] {
        owners.push(ctx.owner(&client, &service, id, ctx.short()).await?);
    }
    // Nobody keeps this one, so nobody repairs it.
    let ownerless = registry.record(&service, "d")?;
    writer.register(&ownerless).await?;
    let view = ctx.view(&service).await?;
    let all = |snapshot: &Snapshot| is_exactly(snapshot, &["a", "b", "c", "d"]);
    shows(&view, ctx.soon(), "all instances", all).await?;
    always(&view, "what cannot be read keeps its former value", all, async {
        registry.garbage(ownerless.key()).await?;
        let skips = |snapshot: &Snapshot, id: &str| snapshot.skipped.iter().any(|skipped| &*skipped.id == id);
        shows(&view, ctx.soon(), "that a record was skipped", |snapshot| skips(snapshot, "d")).await?;
        // An owner that hears of it at once may have repaired it before a view has seen it.
        registry.garbage(&owners[1].process.instance().key).await?;
        let patience = registry.patience(ctx.repaired_within(ctx.ttl()));
        while registry.list(&writer, &service).await?.skipped.iter().any(|skipped| &*skipped.id == "b") {
            patience.pause(|| "the owner does not repair its record".to_owned()).await?;
        }
        shows(&view, ctx.soon(), "that its owner has repaired it", |snapshot| !skips(snapshot, "b")).await
    })
    .await?;
    Ok(())
}

pub(super) async fn slow_reader_skips_and_nobody_waits(ctx: &ClientCtx) -> CaseResult {
    let count = if ctx.registry().is_paused() { 500 } else { 100 };
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "the instance", |snapshot| is_exactly(snapshot, &["one"])).await?;
    let (mut slow, mut changes) = (view.clone(), view.changes());
    let mut former: Vec<Weak<Snapshot>> = Vec::new();
    for n in 1..=count {
        owner.registration.update(Patch::new().metadata("n", n.to_string())).await?;
        former.push(std::sync::Arc::downgrade(&view.snapshot()));
    }
    let last = count.to_string();
    let is_last = |snapshot: &Snapshot| {
        snapshot.get("one").is_some_and(|one| one.metadata.get("n") == Some(last.as_str()))
    };
    shows(&view, ctx.soon(), "the last change", is_last).await?;
    let Ok(latest) = timeout(ctx.soon(), slow.changed()).await else {
        fail!("a reader that slept is not told of {count} changes");
    };
    ensure!(is_last(&latest), "a reader that slept is shown an old answer");
    let Ok(Some(difference)) = timeout(ctx.soon(), changes.next()).await else {
        fail!("a reader of changes that slept is not told of {count} changes");
    };
    ensure!(
        difference.updated.len() == 1 && difference.added.is_empty() && difference.removed.is_empty(),
        "{count} changes of one instance are {difference:?}"
    );
    ensure!(changes.next().now_or_never().is_none(), "a reader of changes is told twice");
    drop(latest);
    let kept = former.iter().filter(|snapshot| snapshot.strong_count() > 0).count();
    // The last one may have been noted several times.
    let current = view.snapshot();
    let current =
        former.iter().filter(|snapshot| std::ptr::eq(snapshot.as_ptr(), &raw const *current)).count();
    ensure!(kept <= current + 1, "{kept} answers of {count} are kept for readers that sleep");
    Ok(())
}

pub(super) async fn changes_add_up_to_the_snapshot(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let view = ctx.view(&service).await?;
    let mut changes = view.changes();
    let mut owners = BTreeMap::new();
    let mut known: BTreeMap<InstanceId, Pair> = BTreeMap::new();
    let mut dice = fastrand::Rng::with_seed(1);
    for _ in 0..40 {
        let id = format!("id-{}", dice.u8(..6));
        match owners.remove(&id) {
            None => {
                let owner = ctx.owner(&client, &service, &id, ctx.long()?).await?;
                owners.insert(id, owner);
            }
            Some(owner) if dice.bool() => {
                owner.registration.update(Patch::new().weight(dice.u16(1..))).await?;
                owners.insert(id, owner);
            }
            // Announced for so short that no view need see it: some are held and probed, and go then.
            Some(owner) => {
                let departure = owner.registration.drain(Duration::from_millis(100)).await;
                ensure!(departure.removed.is_ok(), "leaving was not clean: {departure:?}");
            }
        }
        while let Some(Some(difference)) = changes.next().now_or_never() {
            add_up(&mut known, &difference)?;
        }
    }
    let ids: Vec<&str> = owners.keys().map(String::as_str).collect();
    let bound = ctx.soon() + Duration::from_secs(10);
    let last = shows(&view, bound, "who is registered", |snapshot| is_exactly(snapshot, &ids)).await?;
    let wanted: BTreeMap<_, _> =
        last.instances.iter().map(|instance| (instance.id().clone(), instance.pair())).collect();
    while known != wanted {
        match timeout(ctx.soon(), changes.next()).await {
            Ok(Some(difference)) => add_up(&mut known, &difference)?,
            _ => fail!("the changes add up to {known:?}\n  the snapshot is {wanted:?}"),
        }
    }
    Ok(())
}

fn add_up(known: &mut BTreeMap<InstanceId, Pair>, difference: &callsign_client::Changes) -> CaseResult {
    ensure!(!difference.is_empty(), "a change without a change");
    for added in &difference.added {
        let before = known.insert(added.id().clone(), added.pair());
        ensure!(before.is_none(), "`{}` was added twice", added.id());
    }
    for updated in &difference.updated {
        let before = known.insert(updated.now.id().clone(), updated.now.pair());
        ensure_eq!(before, Some(updated.before.pair()), "`{}` was another before", updated.now.id());
    }
    for removed in &difference.removed {
        let before = known.remove(removed.id());
        ensure!(before.is_some(), "`{}` was removed before it was added", removed.id());
    }
    Ok(())
}

pub(super) async fn thousand_views_share_one_watch(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (user, tap) = ctx.tapped().await?;
    let views: Vec<_> = (0..1000).map(|_| user.service(service.clone())).collect();
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    for view in &views {
        shows(view, ctx.soon(), "the instance", |snapshot| is_live(snapshot, &["one"])).await?;
    }
    ensure_eq!(tap.watches(), (1, 1), "1000 views have opened, and keep open, so many watches");
    if ctx.registry().is_paused() {
        drop(views);
        sleep(Duration::from_secs(25)).await;
        drop(user.service(service.clone()));
        sleep(Duration::from_secs(25)).await;
        ensure_eq!(tap.watches(), (1, 1), "a service that is asked for now and then is watched anew");
        sleep(Duration::from_secs(10)).await;
        ensure_eq!(tap.watches(), (1, 0), "30 s after its last user a watch is still open");
        let again = user.service(service);
        shows(&again, ctx.soon(), "the instance", |snapshot| is_live(snapshot, &["one"])).await?;
        owner.registration.update(Patch::new().weight(3)).await?;
        let changed = |snapshot: &Snapshot| snapshot.get("one").is_some_and(|one| one.weight == 3.into());
        shows(&again, ctx.soon(), "a change, after it has begun anew", changed).await?;
    }
    Ok(())
}

pub(super) async fn freshness_and_protection_are_published_as_events(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let ((client, owners_way), (user, views_way)) = (ctx.cuttable().await?, ctx.cuttable().await?);
    let owner = ctx.owner(&client, &service, "one", ctx.short()).await?;
    let mut events = user.events();
    let view = user.service(service.clone());
    let freshness = |wanted: &'static str| move |event: &ClientEvent| matches!(event, ClientEvent::Freshness { freshness, .. } if freshness.as_str() == wanted);
    tells(&mut events, ctx.soon(), "the first answer", freshness("live")).await?;
    shows(&view, ctx.soon(), "the instance", |snapshot| is_exactly(snapshot, &["one"])).await?;
    views_way.cut();
    let event = tells(&mut events, ctx.soon(), "trouble", freshness("stale")).await?;
    ensure!(
        matches!(&*event, ClientEvent::Freshness { freshness, .. } if freshness.cause().is_some()),
        "trouble is told without its cause: {event:?}"
    );
    views_way.heal();
    tells(&mut events, ctx.registry().recovery(), "the end of trouble", freshness("live")).await?;

    owners_way.cut();
    let held = |event: &ClientEvent| matches!(event, ClientEvent::Held { kind: HoldKind::Empty, count: 1, service: held } if *held == service);
    tells(&mut events, ctx.expired_within(ctx.ttl()), "an instance that is held", held).await?;
    owners_way.heal();
    let returned = |event: &ClientEvent| matches!(event, ClientEvent::Released { removed: 0, returned: 1, service: of } if *of == service);
    tells(&mut events, ctx.back_within(ctx.ttl()) + ctx.soon(), "its return", returned).await?;

    owners_way.cut();
    drop(owner);
    tells(&mut events, ctx.expired_within(ctx.ttl()), "an instance that is held", held).await?;
    let removed = |event: &ClientEvent| matches!(event, ClientEvent::Released { removed: 1, returned: 0, service: of } if *of == service);
    tells(&mut events, ctx.gone_within(ctx.ttl()), "its removal", removed).await?;
    Ok(())
}

pub(super) async fn age_of_an_answer_is_the_callers_to_judge(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, (user, way)) = (ctx.client().await?, ctx.cuttable().await?);
    let _owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    let view = user.service(service);
    shows(&view, ctx.soon(), "the instance", |snapshot| is_live(snapshot, &["one"])).await?;
    way.cut();
    shows(&view, ctx.soon(), "trouble", is_stale).await?;
    sleep(Duration::from_secs(15)).await;
    let snapshot = view.snapshot();
    let age = snapshot.age().unwrap_or_default();
    // A quiet watch proves its answer every 10 s.
    ensure!((14..=27).contains(&age.as_secs()), "after 15 s of trouble the answer is {age:?} old");
    ensure!(
        snapshot.not_older_than(Duration::from_secs(60)).is_ok(),
        "an answer of {age:?} is too old for 60 s"
    );
    match snapshot.not_older_than(Duration::from_secs(10)) {
        Err(error) if std::error::Error::source(&error).is_some() => {}
        other => fail!("an answer of {age:?} is not too old for 10 s: {other:?}"),
    }
    ensure!(is_routable(&snapshot, "one") && !is_held(&snapshot), "trouble took the answer away");
    way.heal();
    let fresh = |snapshot: &Snapshot| snapshot.age().is_some_and(|age| age < Duration::from_secs(10));
    shows(&view, ctx.registry().recovery(), "a fresh answer", fresh).await?;
    Ok(())
}
