//! The server is well, and the way to it is not.

use std::time::Duration;

use callsign_client::Snapshot;
use callsign_core::{Backend, Discovery, EventKind, Read, WatchEvent};
use callsign_integration_tests::etcd::{Etcd, Options};
use callsign_integration_tests::proxy::{Direction, Mode, Proxy};
use callsign_testkit::suite::client::observe::{
    always, is_exactly, is_live, is_registered, is_routable, is_stale, shows,
};
use callsign_testkit::suite::{CaseResult, Stop, chain};
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, timeout};

use crate::ensure;
use crate::setup::Setup;
use crate::stage::{NOTICED, RECOVERY, SLACK, SOON, nothing_was_lost};

const TTL: Duration = Duration::from_secs(15);

fn proxy(etcd: &Etcd, member: usize) -> CaseResult<&Proxy> {
    etcd.member(member)?.clients().ok_or_else(|| Stop::failed("there is no proxy"))
}

/// One server: trouble is noticed in time, nobody is missed, and all is well when it is over.
async fn is_noticed(setup: &Setup, mode: Mode) -> CaseResult {
    let stage = setup.with(Options::with_client_proxies).stage().await?;
    let service = stage.service("orders")?;
    let client = stage.client()?;
    let owner = stage.owner(&client, &service, "one", Duration::from_secs(60)).await?;
    let view = stage.view(&client, &service).await?;
    let proxy = proxy(stage.etcd(), 0)?;
    always(&view, "nobody is missed", |snapshot| is_exactly(snapshot, &["one"]), async {
        proxy.set(mode).await;
        shows(&view, NOTICED + SLACK, "trouble", is_stale).await?;
        proxy.set(Mode::Pass).await;
        shows(&view, RECOVERY, "a live answer", |snapshot| is_live(snapshot, &["one"])).await?;
        is_registered(&owner.registration, RECOVERY).await?;
        Ok(())
    })
    .await
}

/// One of three: another one is taken in time, and nobody is lost.
async fn is_left(setup: &Setup, mode: Mode, within: Duration) -> CaseResult {
    let stage = setup.with(Options::with_client_proxies).stage().await?;
    let service = stage.service("orders")?;
    let client = stage.client()?;
    let mut events = client.events();
    let owner = stage.owner(&client, &service, "one", TTL).await?;
    let view = stage.view(&client, &service).await?;
    let direct = stage.direct_client()?;
    let pinned = proxy(stage.etcd(), stage.pinned().await?)?;
    always(&view, "nobody is missed", |snapshot| is_routable(snapshot, "one"), async {
        let began = Instant::now();
        pinned.set(mode).await;
        let _other = stage.owner(&direct, &service, "two", TTL).await?;
        let left = (within + SLACK).saturating_sub(began.elapsed());
        let both = |snapshot: &Snapshot| is_live(snapshot, &["one", "two"]);
        shows(&view, left, "what others have written, live", both).await?;
        sleep(TTL.saturating_sub(began.elapsed()) + Duration::from_secs(1)).await;
        is_registered(&owner.registration, SOON).await?;
        nothing_was_lost(&mut events)
    })
    .await?;
    pinned.set(Mode::Pass).await;
    Ok(())
}

pub(crate) async fn half_open_connection_is_noticed_within_9_s(setup: Setup) -> CaseResult {
    is_noticed(&setup, Mode::HalfOpen).await
}

pub(crate) async fn stalled_connection_is_noticed_within_9_s(setup: Setup) -> CaseResult {
    is_noticed(&setup, Mode::Stall).await
}

pub(crate) async fn answers_that_are_lost_are_noticed_within_9_s(setup: Setup) -> CaseResult {
    is_noticed(&setup, Mode::Drop(Direction::ToClient)).await
}

pub(crate) async fn questions_that_are_lost_are_noticed_within_9_s(setup: Setup) -> CaseResult {
    is_noticed(&setup, Mode::Drop(Direction::ToServer)).await
}

pub(crate) async fn member_behind_a_half_open_connection_is_left(setup: Setup) -> CaseResult {
    is_left(&setup, Mode::HalfOpen, NOTICED).await
}

pub(crate) async fn member_behind_a_stalled_connection_is_left(setup: Setup) -> CaseResult {
    is_left(&setup, Mode::Stall, NOTICED).await
}

pub(crate) async fn member_whose_answers_are_lost_is_left(setup: Setup) -> CaseResult {
    is_left(&setup, Mode::Drop(Direction::ToClient), NOTICED).await
}

pub(crate) async fn member_that_does_not_hear_is_left(setup: Setup) -> CaseResult {
    is_left(&setup, Mode::Drop(Direction::ToServer), NOTICED).await
}

pub(crate) async fn member_that_refuses_is_left_within_1_s(setup: Setup) -> CaseResult {
    is_left(&setup, Mode::Refuse, Duration::from_secs(1)).await
}

pub(crate) async fn calls_fail_at_once_while_a_connection_that_breaks_again_and_again_rests(
    setup: Setup,
) -> CaseResult {
    const AT_ONCE: Duration = Duration::from_secs(1);
    let stage = setup.with(Options::with_client_proxies).stage().await?;
    let service = stage.service("orders")?;
    let backend = stage.backend()?;
    let proxy = proxy(stage.etcd(), 0)?;
    let mut events = backend.events();
    backend.list(&service, Read::Quorum).await?;
    for _ in 0..6 {
        proxy.set(Mode::Refuse).await;
        for _ in 0..5 {
            let begun = Instant::now();
            let answer = backend.list(&service, Read::Quorum).await;
            let took = begun.elapsed();
            ensure!(answer.is_err() && took < AT_ONCE, "after {took:?} the answer is {answer:?}");
        }
        while events.next().now_or_never().is_some() {}
        proxy.set(Mode::Pass).await;
        let ready =
            async { while events.next().await.is_some_and(|event| event.kind != EventKind::Ready) {} };
        ensure!(timeout(RECOVERY, ready).await.is_ok(), "it does not connect again");
    }
    Ok(())
}

pub(crate) async fn idle_store_is_followed_over_one_connection(setup: Setup) -> CaseResult {
    const QUIET: Duration = Duration::from_secs(60);
    /// The contract, and what a busy machine adds.
    const PROGRESS: Duration = Duration::from_secs(12);
    let stage = setup.with(Options::with_client_proxies).stage().await?;
    let service = stage.service("orders")?;
    let backend = stage.backend()?;
    let mut watch = backend.watch(&service);
    let first = timeout(SOON, watch.next()).await;
    ensure!(matches!(first, Ok(Some(Ok(WatchEvent::Listing(_))))), "the first item is {first:?}");
    let proxy = proxy(stage.etcd(), 0)?;
    let connections = proxy.counts();
    let until = Instant::now() + QUIET;
    let mut told = 0;
    while Instant::now() < until {
        match timeout(PROGRESS, watch.next()).await {
            Ok(Some(Ok(WatchEvent::Progress { .. }))) => told += 1,
            Ok(Some(Ok(WatchEvent::Listing(listing)))) => {
                return Err(Stop::failed(format!("an idle store is listed anew: {listing:?}")));
            }
            Ok(Some(Err(error))) => {
                return Err(Stop::failed(format!("an idle watch breaks: {}", chain(&error))));
            }
            other => return Err(Stop::failed(format!("a quiet watch says nothing: {other:?}"))),
        }
    }
    ensure!(told >= 6, "in {QUIET:?} there were {told} signs of progress");
    ensure!(proxy.counts() == connections, "{connections:?} have become {:?}", proxy.counts());
    backend.list(&service, Read::Quorum).await?;
    ensure!(proxy.counts() == connections, "an idle connection was lost: {:?}", proxy.counts());
    Ok(())
}
