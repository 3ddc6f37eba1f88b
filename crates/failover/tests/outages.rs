//! Members that are away: who starts, who is read, how soon, and what shows.

mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use callsign_core::{
    Authority, Backend, Discovery, ErrorKind, EventKind, MemberState, Probe, Read, Registry, SwitchReason,
    WatchEvent,
};
use callsign_failover::{Failover, Settings, Topology};
use callsign_memory::{Fault, Store};
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};
use world::{Odd, World, ids, kinds, listing, record, record_of, service};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn one_member_that_is_down_at_the_start_stops_nobody() {
    for topology in [Topology::Mirror, Topology::Standby, Topology::Union] {
        for down in [0, 1] {
            for fault in [Fault::Unavailable, Fault::Frozen] {
                let stores = [Store::new(), Store::new()];
                let _fault = stores[down].inject(fault);
                let start = Instant::now();
                let world = World::with(stores, Settings::default().with_topology(topology));
                assert!(start.elapsed().is_zero());
                let written = async {
                    while world.failover.register(&record("a", (1, 1))).await.is_err() {
                        sleep(250 * MS).await;
                    }
                };
                timeout(5 * SECOND, written).await.unwrap();
                let mut watch = world.failover.watch(&service());
                let seen = |one: &callsign_core::Listing| ids(one) == ["a"];
                listing(&mut watch, 5 * SECOND, seen).await;
                assert!(start.elapsed() <= 6 * SECOND, "{topology}, {down} {fault:?}: {:?}", start.elapsed());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_for_a_blackholed_member_no_longer_than_its_grace() {
    for down in [0, 1] {
        let world = World::new(Topology::Mirror);
        let _fault = world.stores[down].inject(Fault::Frozen);
        let start = Instant::now();
        let receipt = world.failover.register(&record("a", (1, 1))).await.unwrap();
        assert!(start.elapsed() <= 500 * MS, "{:?}", start.elapsed());
        assert!(receipt.committed && receipt.pending.len() == 1);
        assert_eq!(&*receipt.pending[0].0, ["main", "backup"][down]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_is_noticed_in_time_however_it_goes() {
    let cases = [
        (Fault::Unavailable, false, MemberState::Down, SECOND),
        (Fault::Unavailable, true, MemberState::Down, 2 * SECOND),
        (Fault::Frozen, true, MemberState::Down, 4 * SECOND),
        (Fault::Stale, true, MemberState::Degraded, 3 * SECOND),
    ];
    for (fault, mute, state, bound) in cases {
        for offset in 0..10 {
            let stores = [Store::new(), Store::new()];
            let main = if mute { Odd::muted(&stores[0], "main") } else { Odd::new(&stores[0], "main") };
            let members = [main, Odd::new(&stores[1], "backup")];
            let world = World::of(stores, members, Settings::default(), None);
            sleep(5 * SECOND + offset * 100 * MS).await;
            let _fault = world.stores[0].inject(fault);
            let took = world.reaches(0, state, 10 * SECOND).await;
            assert!(took <= bound, "{fault:?}, mute: {mute}: {took:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_freezes_before_it_has_recovered_is_noticed_in_time() {
    for offset in 0..10 {
        let world = World::new(Topology::Mirror);
        let outage = world.stores[0].inject(Fault::Unavailable);
        world.reaches(0, MemberState::Down, 10 * SECOND).await;
        outage.heal();
        world.reaches(0, MemberState::Recovering, 60 * SECOND).await;
        sleep(3 * SECOND + offset * 100 * MS).await;
        let _fault = world.stores[0].inject(Fault::Frozen);
        let took = world.reaches(0, MemberState::Down, 20 * SECOND).await;
        assert!(took <= 4 * SECOND, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_dies_again_and_again_is_noticed_as_soon_as_at_first() {
    let settings = Settings::default()
        .with_failback_dwell(SECOND)
        .with_failback_dwell_max(SECOND)
        .with_max_failbacks(100);
    let world = World::with([Store::new(), Store::new()], settings);
    for death in 0..20 {
        let fault = world.stores[0].inject(Fault::Unavailable);
        let took = world.reaches(0, MemberState::Down, 10 * SECOND).await;
        assert!(took <= SECOND, "death {death}: {took:?}");
        fault.heal();
        world.reaches(0, MemberState::Healthy, 60 * SECOND).await;
        sleep(SECOND).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_warm_switch_takes_no_time_and_comes_from_another_source_and_epoch() {
    let world = World::new(Topology::Mirror);
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    let mut watch = world.failover.watch(&service());
    let before = listing(&mut watch, SECOND, |one| ids(one) == ["a"]).await;
    assert_eq!(&*before.source, "dr/main");
    sleep(2 * SECOND).await;
    world.told();
    let _fault = world.stores[0].inject(Fault::Unavailable);
    world.reaches(0, MemberState::Down, 2 * SECOND).await;
    let down = Instant::now();
    let after = listing(&mut watch, 50 * MS, |one| &*one.source == "dr/backup").await;
    assert!(down.elapsed() <= 50 * MS && ids(&after) == ["a"]);
    assert!(after.epoch > before.epoch && after.revision > before.revision);
    let switched =
        EventKind::Switched { from: "main".into(), to: "backup".into(), reason: SwitchReason::Outage };
    let told = world.told();
    assert!(kinds(&told).contains(&switched), "{told:?}");
    let down =
        told.iter().find(|event| matches!(event.kind, EventKind::MemberState { to: MemberState::Down, .. }));
    assert!(down.unwrap().cause.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_preferred_member_that_flaps_is_returned_to_three_times_at_most() {
    let world = World::new(Topology::Mirror);
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    let mut watch = world.failover.watch(&service());
    let mut events = world.failover.events();
    let (mut failbacks, end) = (0, Instant::now() + 600 * SECOND);
    while Instant::now() < end {
        let fault = world.stores[0].inject(Fault::Unavailable);
        sleep(5 * SECOND).await;
        fault.heal();
        let renewed = world.failover.renew(&record("a", (1, 1))).await;
        assert!(renewed.is_ok(), "{renewed:?}");
        sleep(5 * SECOND).await;
        world.failover.renew(&record("a", (1, 1))).await.unwrap();
        while let Some(Some(item)) = futures::FutureExt::now_or_never(watch.next()) {
            if let Ok(WatchEvent::Listing(listing)) = item {
                assert_eq!(ids(&listing), ["a"]);
            }
        }
        assert_eq!(ids(&world.failover.list(&service(), Read::Quorum).await.unwrap()), ["a"]);
    }
    while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
        failbacks +=
            u32::from(matches!(event.kind, EventKind::Switched { reason: SwitchReason::Preferred, .. }));
    }
    assert!(failbacks <= 3, "{failbacks}");
    // Nothing is for ever: when it stays, it is returned to.
    let renewing = async {
        loop {
            world.failover.renew(&record("a", (1, 1))).await.unwrap();
            sleep(3 * SECOND).await;
        }
    };
    tokio::select! {
        () = renewing => {}
        _ = world.switches_to("main", 1300 * SECOND) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn while_frozen_by_hand_trouble_shows_and_nobody_switches() {
    let world = World::new(Topology::Mirror);
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    let mut watch = world.failover.watch(&service());
    listing(&mut watch, SECOND, |one| ids(one) == ["a"]).await;
    let control = world.failover.control();
    control.freeze();
    // Silent: no error comes by the watch itself.
    let fault = world.stores[0].inject(Fault::Frozen);
    let trouble = async {
        loop {
            match watch.next().await {
                Some(Err(error)) => return error,
                Some(Ok(_)) => {}
                None => panic!("the watch ended"),
            }
        }
    };
    let error = timeout(5 * SECOND, trouble).await.unwrap();
    assert!(error.counts_as_outage() && error.to_string().contains("main"), "{error}");
    assert_eq!(world.active(), "main");
    assert!(world.failover.list(&service(), Read::Quorum).await.is_err());
    control.release();
    world.switches_to("backup", SECOND).await;
    fault.heal();
    control.force("main").unwrap();
    assert_eq!(world.active(), "main");
    assert_eq!(control.force("nobody").unwrap_err().kind(), ErrorKind::InvalidInput);
    listing(&mut watch, 5 * SECOND, |one| &*one.source == "dr/main" && one.authority == Authority::Quorum)
        .await;
}

#[tokio::test(start_paused = true)]
async fn where_nobody_answers_each_member_is_named_with_its_reason() {
    let world = World::new(Topology::Mirror);
    let _faults = [0, 1].map(|member| world.stores[member].inject(Fault::Unavailable));
    for error in [
        world.failover.register(&record("a", (1, 1))).await.unwrap_err(),
        world.failover.list(&service(), Read::Quorum).await.unwrap_err(),
        world.failover.probe(Probe::Reachable).await.unwrap_err(),
    ] {
        assert!(error.counts_as_outage(), "{error}");
        for member in ["`main`: ", "`backup`: "] {
            assert!(error.to_string().contains(member), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn wrong_credentials_are_told_as_configuration_and_cause_no_storm() {
    let world = World::new(Topology::Mirror);
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    let mut watch = world.failover.watch(&service());
    listing(&mut watch, SECOND, |one| ids(one) == ["a"]).await;
    world.members[0].stranger.store(true, Ordering::SeqCst);
    world.reaches(0, MemberState::Down, 3 * SECOND).await;
    let told = world.told();
    let config = EventKind::ConfigError { member: "main".into() };
    assert_eq!(kinds(&told).iter().filter(|kind| **kind == config).count(), 1, "{told:?}");
    let before = world.members[0].calls.load(Ordering::SeqCst);
    for _ in 0..30 {
        world.failover.renew(&record("a", (1, 1))).await.unwrap();
        assert_eq!(ids(&world.failover.list(&service(), Read::Quorum).await.unwrap()), ["a"]);
        sleep(2 * SECOND).await;
    }
    let calls = world.members[0].calls.load(Ordering::SeqCst) - before;
    assert!(calls <= 14, "{calls} calls in a minute");
    assert!(!kinds(&world.told()).contains(&config), "it is told once");
    world.members[0].stranger.store(false, Ordering::SeqCst);
    world.reaches(0, MemberState::Recovering, 30 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_panics_is_down_and_harms_nobody() {
    let stores = [Store::new(), Store::new()];
    let members = [Odd::new(&stores[0], "main"), Odd::new(&stores[1], "backup")];
    members[0].panics.store(true, Ordering::SeqCst);
    let world = World::of(stores, members, Settings::default(), None);
    let receipt = world.failover.register(&record("a", (1, 1))).await.unwrap();
    assert_eq!(receipt.pending.len(), 1);
    let mut watch = world.failover.watch(&service());
    listing(&mut watch, 3 * SECOND, |one| ids(one) == ["a"]).await;
    world.members[0].panics.store(false, Ordering::SeqCst);
    world.reaches(0, MemberState::Recovering, 30 * SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_switch_on_standby_shows_on_what_was_there_until_it_is_registered_again() {
    let world = World::new(Topology::Standby);
    for id in ["a", "b"] {
        world.failover.register(&record(id, (1, 1))).await.unwrap();
    }
    assert!(world.ids(1).await.is_empty());
    // Somebody else's, who notices later.
    let other = World::with(world.stores.clone(), Settings::default().with_topology(Topology::Standby));
    other.failover.control().freeze();
    other.failover.register(&record("c", (1, 1))).await.unwrap();
    let mut watch = world.failover.watch(&service());
    listing(&mut watch, SECOND, |one| ids(one) == ["a", "b", "c"]).await;
    let _fault = world.stores[0].inject(Fault::Unavailable);
    world.switches_to("backup", 3 * SECOND).await;
    sleep(100 * MS).await;
    assert_eq!(world.ids(1).await, ["a", "b"], "what this process registered is registered again at once");
    let answer = world.failover.list(&service(), Read::Quorum).await.unwrap();
    assert_eq!(
        (ids(&answer), answer.authority),
        (vec!["a".into(), "b".into(), "c".into()], Authority::Stale)
    );
    other.failover.control().release();
    let after = listing(&mut watch, 5 * SECOND, |one| &*one.source == "dr/backup").await;
    assert_eq!((ids(&after).len(), after.authority), (3, Authority::Quorum));
}

#[tokio::test(start_paused = true)]
async fn all_watches_are_on_the_same_member_after_any_outage() {
    let world = World::new(Topology::Mirror);
    let services: Vec<_> =
        (0..20).map(|n| callsign_core::ServiceKey::new(format!("s-{n}")).unwrap()).collect();
    let mut records = Vec::new();
    for service in &services {
        records.push(record_of(service, "a", (1, 1)));
        world.failover.register(records.last().unwrap()).await.unwrap();
    }
    let mut watches: Vec<_> = services.iter().map(|service| world.failover.watch(service)).collect();
    for _ in 0..2 {
        let fault = world.stores[0].inject(Fault::Unavailable);
        for watch in &mut watches {
            listing(watch, 5 * SECOND, |one| &*one.source == "dr/backup").await;
        }
        fault.heal();
        let renewing = async {
            loop {
                for record in &records {
                    world.failover.renew(record).await.unwrap();
                }
                sleep(3 * SECOND).await;
            }
        };
        let returned = async {
            for watch in &mut watches {
                let live = |one: &callsign_core::Listing| {
                    &*one.source == "dr/main" && one.authority == Authority::Quorum && ids(one) == ["a"]
                };
                listing(watch, 120 * SECOND, live).await;
            }
        };
        tokio::select! {
            () = renewing => {}
            () = returned => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_nests_and_ends_its_tasks() {
    let alive = || Handle::current().metrics().num_alive_tasks();
    let before = alive();
    let stores = [Store::new(), Store::new(), Store::new()];
    let member = |nth: usize| std::sync::Arc::new(callsign_memory::Memory::new(stores[nth].clone(), "m"));
    let inner = Failover::builder("inner").member("a", member(0)).member("b", member(1)).build().unwrap();
    let outer = Failover::builder("outer")
        .member("inner", std::sync::Arc::new(inner))
        .member("c", member(2))
        .settings(Settings::default().with_topology(Topology::Union))
        .build()
        .unwrap();
    outer.register(&record("a", (1, 1))).await.unwrap();
    let mut watch = outer.watch(&service());
    listing(&mut watch, 5 * SECOND, |one| ids(one) == ["a"]).await;
    let _faults = [stores[0].inject(Fault::Unavailable), stores[2].inject(Fault::Frozen)];
    sleep(8 * SECOND).await;
    outer.renew(&record("a", (1, 1))).await.unwrap();
    assert_eq!(ids(&outer.list(&service(), Read::Quorum).await.unwrap()), ["a"]);
    outer.close().await.unwrap();
    let closed = async { while watch.next().await.is_some() {} };
    timeout(SECOND, closed).await.unwrap();
    drop((watch, outer));
    let world = World::new(Topology::Mirror);
    drop(world.failover.watch(&service()));
    drop(world);
    timeout(5 * SECOND, async {
        while alive() > before {
            sleep(MS).await;
        }
    })
    .await
    .unwrap();
}
