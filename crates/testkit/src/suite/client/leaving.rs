//! Leaving: announced, in time, and for good.

use std::time::Duration;

use callsign_client::{Departure, Patch, RegistrationState, Snapshot};
use callsign_core::{ErrorKind, Status};
use futures::StreamExt;
use tokio::time::{Instant, sleep};

use super::context::{ClientCtx, Owner};
use super::observe::{always, is_exactly, is_held, is_registered, is_routable, shows, tells};
use crate::suite::CaseResult;
use crate::suite::outcome::{ensure, ensure_eq, fail};

/// What a busy machine adds to a deadline.
pub(super) const BLUR: Duration = Duration::from_millis(500);
/// How long leaving may take where nothing stands in the way.
const AMPLE: Duration = Duration::from_secs(10);

fn is_gone(owner: &Owner) -> CaseResult {
    ensure!(
        matches!(owner.registration.state(), RegistrationState::Gone),
        "after it has left the registration is {}",
        owner.registration.state()
    );
    Ok(())
}

pub(super) async fn last_instance_that_leaves_is_gone_at_once(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.long()?).await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "the instance", |snapshot| is_exactly(snapshot, &["one"])).await?;
    always(&view, "who has said goodbye is not held", |snapshot| !is_held(snapshot), async {
        let departure = owner.registration.deregister(AMPLE).await;
        ensure!(departure.is_clean(), "leaving was not clean: {departure:?}");
        shows(&view, ctx.soon(), "an empty service", |snapshot| is_exactly(snapshot, &[])).await
    })
    .await?;
    is_gone(&owner)
}

pub(super) async fn drain_announces_waits_and_deletes(ctx: &ClientCtx) -> CaseResult {
    let notice = ctx.soon() + Duration::from_secs(1);
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.long()?).await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "the instance", |snapshot| is_routable(snapshot, "one")).await?;
    let start = Instant::now();
    let drain = async {
        let departure = owner.registration.drain(notice).await;
        ensure!(departure.is_clean(), "leaving was not clean: {departure:?}");
        let took = start.elapsed();
        ensure!(
            took >= notice && took <= notice + Duration::from_secs(2) + BLUR,
            "`drain` took {took:?}, the notice was {notice:?}"
        );
        CaseResult::Ok(())
    };
    let notice_is_given = async {
        let draining = |snapshot: &Snapshot| {
            snapshot.get("one").is_some_and(|one| one.status == Status::Draining && !one.routable())
        };
        shows(&view, ctx.soon(), "that it is draining", draining).await?;
        let gone = |snapshot: &Snapshot| snapshot.instances.is_empty();
        shows(&view, notice + ctx.soon() + Duration::from_secs(2), "an empty service", gone).await?;
        ensure!(start.elapsed() + BLUR >= notice, "it was gone after {:?} already", start.elapsed());
        CaseResult::Ok(())
    };
    let (drained, seen) = tokio::join!(drain, notice_is_given);
    drained?;
    seen?;
    match owner.registration.update(Patch::new().weight(1)).await {
        Err(error) if error.kind() == ErrorKind::Closed => is_gone(&owner),
        other => fail!("after it has left a change was answered with {other:?}"),
    }
}

pub(super) async fn deregister_hurries_a_drain(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.long()?).await?;
    let start = Instant::now();
    let (slow, fast) = tokio::join!(owner.registration.drain(Duration::from_secs(60)), async {
        sleep(Duration::from_secs(1)).await;
        owner.registration.deregister(Duration::from_secs(4)).await
    });
    ensure!(start.elapsed() <= Duration::from_secs(5) + BLUR, "leaving took {:?}", start.elapsed());
    ensure!(slow.is_clean() && fast.is_clean(), "leaving was not clean: {slow:?}, {fast:?}");
    ctx.lists(&service, "nobody is there", |listing| ctx.registry().living(listing).next().is_none()).await?;
    Ok(())
}

pub(super) async fn deregister_with_the_registry_down_returns_by_its_deadline_and_says_so(
    ctx: &ClientCtx,
) -> CaseResult {
    let deadline = Duration::from_secs(3);
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    let outage = ctx.registry().outage().await?;
    let start = Instant::now();
    let departure = owner.registration.deregister(deadline).await;
    says_so(ctx, &owner, departure, start.elapsed(), deadline)?;
    ctx.registry().heal(outage).await
}

pub(super) async fn drain_with_the_registry_down_returns_in_time_and_says_so(ctx: &ClientCtx) -> CaseResult {
    let notice = Duration::from_secs(3);
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    let outage = ctx.registry().outage().await?;
    let start = Instant::now();
    let departure = owner.registration.drain(notice).await;
    says_so(ctx, &owner, departure, start.elapsed(), notice + Duration::from_secs(2))?;
    ctx.registry().heal(outage).await
}

pub(super) async fn deregister_from_a_frozen_registry_returns_by_its_deadline_and_says_so(
    ctx: &ClientCtx,
) -> CaseResult {
    let deadline = Duration::from_secs(3);
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.medium()).await?;
    let freeze = ctx.registry().freeze().await?;
    let start = Instant::now();
    let departure = owner.registration.deregister(deadline).await;
    says_so(ctx, &owner, departure, start.elapsed(), deadline)?;
    ctx.registry().heal(freeze).await
}

fn says_so(
    ctx: &ClientCtx,
    owner: &Owner,
    departure: Departure,
    took: Duration,
    bound: Duration,
) -> CaseResult {
    ensure!(took <= bound + BLUR, "leaving took {took:?}, allowed are {bound:?}");
    ensure!(departure.announced.is_err() && departure.removed.is_err(), "it says {departure:?}");
    let ttl = ctx.medium().ttl.unwrap_or_default().get();
    let within = departure.expires_within;
    ensure!(within.is_some_and(|within| within <= ttl), "the lease is said to end within {within:?}");
    match departure.into_result() {
        Err(error) if error.counts_as_outage() => {}
        other => fail!("the result is {other:?}"),
    }
    is_gone(owner)
}

pub(super) async fn deregistered_instance_stays_gone_after_an_outage(ctx: &ClientCtx) -> CaseResult {
    stays_gone(ctx, async {
        let outage = ctx.registry().outage().await?;
        sleep(ctx.ttl() * 2).await;
        ctx.registry().heal(outage).await
    })
    .await
}

pub(super) async fn deregistered_instance_stays_gone_after_a_wipe(ctx: &ClientCtx) -> CaseResult {
    stays_gone(ctx, ctx.registry().wipe()).await
}

async fn stays_gone(ctx: &ClientCtx, hurt: impl Future<Output = CaseResult> + Send) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, tap) = ctx.tapped().await?;
    let left = ctx.owner(&client, &service, "one", ctx.short()).await?;
    let stays = ctx.owner(&client, &service, "two", ctx.short()).await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "both", |snapshot| is_exactly(snapshot, &["one", "two"])).await?;
    let departure = left.registration.deregister(AMPLE).await;
    ensure!(departure.is_clean(), "leaving was not clean: {departure:?}");
    shows(&view, ctx.soon(), "the other alone", |snapshot| is_exactly(snapshot, &["two"])).await?;
    sleep(Duration::from_millis(1)).await;
    let since = Instant::now();
    let reader = ctx.registry().client().await?;
    let absent = |snapshot: &Snapshot| snapshot.get("one").is_none();
    always(&view, "who has left is not shown again", absent, async {
        hurt.await?;
        is_registered(&stays.registration, ctx.repaired_within(ctx.ttl())).await?;
        sleep(ctx.ttl() * 3).await;
        let bound = ctx.repaired_within(ctx.ttl());
        shows(&view, bound, "the other, live", |snapshot| is_exactly(snapshot, &["two"])).await
    })
    .await?;
    let written = tap.writes_since(since);
    let ghost = written.iter().find(|write| write.key == left.process.instance().key);
    ensure!(ghost.is_none(), "who had left was written again: {ghost:?}");
    let listing = ctx.registry().list(&reader, &service).await?;
    ensure_eq!(listing.instances.len(), 1, "the registry lists other instances");
    Ok(())
}

pub(super) async fn deregistered_during_an_outage_is_never_registered_again(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, tap) = ctx.tapped().await?;
    let Owner { registration, process } = ctx.owner(&client, &service, "one", ctx.short()).await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "the instance", |snapshot| is_routable(snapshot, "one")).await?;
    let outage = ctx.registry().outage().await?;
    let departure = registration.deregister(Duration::from_secs(2)).await;
    ensure!(departure.removed.is_err(), "during an outage the record was removed: {departure:?}");
    drop(process);
    let since = Instant::now();
    ctx.registry().heal(outage).await?;
    let bound = ctx.gone_within(ctx.ttl()) + ctx.registry().recovery();
    shows(&view, bound, "an empty service", |snapshot| is_exactly(snapshot, &[])).await?;
    sleep(ctx.ttl() * 2).await;
    ctx.lists(&service, "nobody is there", |listing| ctx.registry().living(listing).next().is_none()).await?;
    let written = tap.writes_since(since);
    ensure!(written.is_empty(), "after it has left there were writes: {written:?}");
    Ok(())
}

pub(super) async fn registration_that_never_arrived_leaves_nothing(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, process) = (ctx.client().await?, ctx.process(&service, "one").await?);
    let outage = ctx.registry().outage().await?;
    let options = ctx.medium().with_wait(Duration::ZERO);
    let registration = client.register(process.instance().clone(), options).await?;
    let (deadline, start) = (Duration::from_secs(2), Instant::now());
    let _ = registration.deregister(deadline).await;
    ensure!(start.elapsed() <= deadline + BLUR, "leaving took {:?}", start.elapsed());
    ctx.registry().heal(outage).await?;
    let view = ctx.client().await?.service(service.clone());
    view.ready(ctx.registry().recovery()).await?;
    always(&view, "who had left before it was there is seen", |snapshot| is_exactly(snapshot, &[]), async {
        sleep(Duration::from_secs(10)).await;
        Ok(())
    })
    .await
}

pub(super) async fn ghost_of_a_deregistered_instance_is_not_shown(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, user) = (ctx.client().await?, ctx.client().await?);
    let owner = ctx.owner(&client, &service, "one", ctx.long()?).await?;
    let view = user.service(service.clone());
    let seen = shows(&view, ctx.soon(), "the instance", |snapshot| is_exactly(snapshot, &["one"])).await?;
    let departure = owner.registration.deregister(AMPLE).await;
    ensure!(departure.is_clean(), "leaving was not clean: {departure:?}");
    shows(&view, ctx.soon(), "an empty service", |snapshot| is_exactly(snapshot, &[])).await?;
    // A registry that was restored from yesterday's copy brings back what has left.
    let mut events = user.events();
    let writer = ctx.registry().client().await?;
    let ghost = ctx.registry().record_of(seen.instances[0].to_builder())?;
    let hidden = always(&view, "a ghost is shown", |snapshot| is_exactly(snapshot, &[]), async {
        writer.register(&ghost).await?;
        tells(&mut events, ctx.soon(), "the ghost", |event| {
            matches!(event, callsign_client::ClientEvent::GhostSuppressed { id, .. } if id == ghost.instance.id())
        })
        .await
    });
    hidden.await?;
    let again = ctx.owner(&client, &service, "one", ctx.long()?).await?;
    shows(&view, ctx.soon(), "the next life of the id", |snapshot| is_routable(snapshot, "one")).await?;
    drop(again);
    Ok(())
}

pub(super) async fn dropped_handle_takes_the_record_along(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let owner = ctx.owner(&client, &service, "one", ctx.long()?).await?;
    let view = ctx.view(&service).await?;
    shows(&view, ctx.soon(), "the instance", |snapshot| is_routable(snapshot, "one")).await?;
    drop(owner);
    ctx.lists(&service, "nobody is there", |listing| ctx.registry().living(listing).next().is_none()).await?;
    let bound = ctx.soon() + Duration::from_secs(10);
    shows(&view, bound, "an empty service", |snapshot| is_exactly(snapshot, &[])).await?;
    Ok(())
}

pub(super) async fn closing_a_client_deregisters_and_ends_its_streams(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let (one, two) = (
        ctx.owner(&client, &service, "one", ctx.long()?).await?,
        ctx.owner(&client, &service, "two", ctx.long()?).await?,
    );
    let (own, other) = (client.service(service.clone()), ctx.view(&service).await?);
    for view in [&own, &other] {
        shows(view, ctx.soon(), "both", |snapshot| is_exactly(snapshot, &["one", "two"])).await?;
    }
    let states = one.registration.states().collect::<Vec<_>>();
    let start = Instant::now();
    client.close(AMPLE).await?;
    ensure!(start.elapsed() <= AMPLE + Duration::from_secs(5), "closing took {:?}", start.elapsed());
    is_gone(&one)?;
    is_gone(&two)?;
    let Ok(states) = tokio::time::timeout(ctx.soon(), states).await else {
        fail!("the states of a registration that is gone do not end");
    };
    ensure!(matches!(states.last(), Some(RegistrationState::Gone)), "the last state is {:?}", states.last());
    shows(&other, ctx.soon(), "an empty service", |snapshot| is_exactly(snapshot, &[])).await?;

    let last = shows(&own, ctx.soon(), "its end", |snapshot| !snapshot.freshness.is_live()).await?;
    let process = ctx.process(&service, "three").await?;
    match client.register(process.instance().clone(), ctx.long()?).await {
        Err(error) if error.kind() == ErrorKind::Closed => {}
        other => fail!("a client that is closed registers: {other:?}"),
    }
    sleep(ctx.soon()).await;
    let now = own.snapshot();
    ensure!(!now.freshness.is_live(), "the view of a client that is closed says that it is live");
    ensure_eq!(now.instances, last.instances, "the view of a client that is closed has another answer");
    client.close(AMPLE).await?;
    Ok(())
}

pub(super) async fn views_keep_their_last_answer_after_the_client_is_closed(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let (client, user) = (ctx.client().await?, ctx.client().await?);
    let _owner = ctx.owner(&client, &service, "one", ctx.long()?).await?;
    let view = user.service(service);
    shows(&view, ctx.soon(), "the instance", |snapshot| is_routable(snapshot, "one")).await?;
    let kept = |snapshot: &Snapshot| is_exactly(snapshot, &["one"]);
    always(&view, "the last answer stays", kept, async {
        user.close(AMPLE).await?;
        let closed = |snapshot: &Snapshot| {
            snapshot.freshness.cause().is_some_and(|cause| cause.kind() == ErrorKind::Closed)
        };
        shows(&view, ctx.soon(), "that the client was closed", closed).await?;
        sleep(Duration::from_secs(1)).await;
        Ok(())
    })
    .await
}

pub(super) async fn closing_with_the_registry_down_returns_by_its_deadline(ctx: &ClientCtx) -> CaseResult {
    let service = ctx.service("orders")?;
    let client = ctx.client().await?;
    let mut owners = Vec::new();
    for n in 0..10 {
        owners.push(ctx.owner(&client, &service, &format!("id-{n}"), ctx.medium()).await?);
    }
    let outage = ctx.registry().outage().await?;
    let (deadline, start) = (Duration::from_secs(3), Instant::now());
    // What could not be closed is the backend's to say.
    let _ = client.close(deadline).await;
    let took = start.elapsed();
    ensure!(took <= deadline + Duration::from_secs(5) + BLUR, "closing took {took:?}");
    owners.iter().try_for_each(is_gone)?;
    ctx.registry().heal(outage).await
}
