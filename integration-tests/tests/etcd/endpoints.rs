//! Lists of endpoints that are not as they should be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Backend, EventKind, Listing, Read, WatchEvent};
use callsign_integration_tests::Address;
use callsign_integration_tests::etcd::Options;
use callsign_integration_tests::proxy::Mode;
use callsign_testkit::suite::{CaseResult, Stop, chain};
use futures::StreamExt;
use tokio::time::{Instant, timeout};

use crate::ensure;
use crate::setup::Setup;
use crate::stage::{RECOVERY, SOON, Stage, backend, record};

const TTL: Duration = Duration::from_secs(120);

/// No call fails: `count` of them through each of `backends`.
async fn all_succeed(stage: &Stage, backends: &[Arc<dyn Backend>], count: usize) -> CaseResult {
    let service = stage.service("orders")?;
    for (number, backend) in backends.iter().enumerate() {
        for call in 0..count {
            let record = record(&service, &format!("id-{number}"), 1 + call as u64, TTL)?;
            let answer = if call % 2 == 0 {
                backend.register(&record).await.map(drop)
            } else {
                backend.list(&service, Read::Quorum).await.map(drop)
            };
            if let Err(error) = answer {
                return Err(Stop::failed(format!("call {call} of client {number} fails: {}", chain(&error))));
            }
        }
    }
    Ok(())
}

pub(crate) async fn dead_endpoint_in_the_list_costs_no_call(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let nobody = Address::reserve()?;
    let alive = stage.etcd().endpoints();
    let scheme =
        alive.first().map_or("http", |first| first.split_once("://").map_or("http", |(scheme, _)| scheme));
    let mut endpoints = vec![format!("{scheme}://{}", nobody.at(2379))];
    endpoints.extend(alive);
    // Each begins somewhere else in the list.
    let backends: Vec<_> = std::iter::repeat_with(|| backend(&stage.config().with_endpoints(&endpoints)))
        .take(10)
        .collect::<CaseResult<_>>()?;
    all_succeed(&stage, &backends, 20).await
}

pub(crate) async fn member_that_refuses_costs_no_call(setup: Setup) -> CaseResult {
    let stage = setup.with(Options::with_client_proxies).stage().await?;
    let refusing = stage.etcd().member(1)?;
    let proxy = refusing.clients().ok_or_else(|| Stop::failed("there is no proxy"))?;
    proxy.set(Mode::Refuse).await;
    let backends: Vec<_> = std::iter::repeat_with(|| stage.backend()).take(10).collect::<CaseResult<_>>()?;
    let answers = all_succeed(&stage, &backends, 20).await;
    proxy.set(Mode::Pass).await;
    answers
}

/// The ids that a listing has.
fn ids(listing: &Listing) -> BTreeSet<&str> {
    listing.instances.iter().map(|one| one.id().as_str()).collect()
}

pub(crate) async fn two_clusters_behind_one_list_are_never_mixed(setup: Setup) -> CaseResult {
    let proxied = setup.with(Options::with_client_proxies);
    let (first, second) = (proxied.stage().await?, proxied.stage().await?);
    let service = first.service("orders")?;
    let sides = [("first", &first), ("second", &second)];
    for (name, side) in sides {
        let direct = backend(&side.direct_config())?;
        for number in 0..5 {
            direct.register(&record(&service, &format!("{name}-{number}"), 1, TTL)?).await?;
        }
    }
    let endpoints = [first.etcd().endpoints(), second.etcd().endpoints()].concat();
    let both = backend(&first.config().with_endpoints(endpoints))?;
    let mut events = both.events();
    let mut watch = both.watch(&service);
    let side_of = |listing: &Listing| {
        let ids = ids(listing);
        let all_of = |name: &str| ids.len() == 5 && ids.iter().all(|id| id.starts_with(name));
        sides.iter().position(|(name, _)| all_of(name)).ok_or_else(|| Stop::failed(format!("mixed: {ids:?}")))
    };
    let listed = both.list(&service, Read::Quorum).await?;
    let (home, epoch) = (side_of(&listed)?, listed.epoch);
    let proxy = |side: usize| {
        let member = sides[side].1.etcd().member(0)?;
        member.clients().ok_or_else(|| Stop::failed("there is no proxy"))
    };

    // As long as it is there it is found again, however often the connection is lost.
    for _ in 0..5 {
        proxy(home)?.cut().await;
        let until = Instant::now() + RECOVERY;
        let listed = loop {
            match both.list(&service, Read::Quorum).await {
                Ok(listed) => break listed,
                Err(error) => ensure!(Instant::now() < until, "it does not come back: {}", chain(&error)),
            }
        };
        ensure!((side_of(&listed)?, listed.epoch) == (home, epoch), "it has changed sides: {listed:?}");
    }

    // When it is not, the other is another registry.
    proxy(home)?.set(Mode::Refuse).await;
    let until = Instant::now() + RECOVERY;
    let mut seen = Vec::new();
    let moved = loop {
        ensure!(Instant::now() < until, "the other cluster is not found: {seen:?}");
        match timeout(RECOVERY, watch.next()).await {
            Ok(Some(Ok(WatchEvent::Listing(listing)))) => {
                let side = side_of(&listing)?;
                seen.push((side, listing.epoch));
                ensure!(
                    (side == home) == (listing.epoch == epoch),
                    "sides and epochs do not go together: {seen:?}"
                );
                if side != home {
                    break listing;
                }
            }
            Ok(Some(_)) => {}
            other => return Err(Stop::failed(format!("the watch says nothing: {other:?}"))),
        }
    };
    ensure!(moved.epoch > epoch, "the epoch does not grow: {seen:?}");
    let reset = async { while events.next().await.is_some_and(|event| event.kind != EventKind::Reset) {} };
    ensure!(timeout(SOON, reset).await.is_ok(), "nobody tells that the registry was replaced");
    proxy(home)?.set(Mode::Pass).await;
    let listed = both.list(&service, Read::Quorum).await?;
    ensure!(side_of(&listed)? != home, "it has changed sides without a reason");
    Ok(())
}
