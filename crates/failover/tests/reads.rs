//! Which member is read while all of them answer, and what becomes of a question that nobody waits for.

mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use callsign_core::{
    Authority, Discovery, EventKind, MemberState, Read, Registry, SwitchReason, WatchEvent, WatchStream,
};
use callsign_failover::Topology;
use callsign_memory::{Fault, Memory};
use futures::StreamExt;
use tokio::time::{sleep, timeout};
use world::{World, ids, kinds, listing, record, service};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_member_whose_watches_fail_while_it_answers_is_left_for_one_that_says_what_is_shown() {
    let world = World::new(Topology::Mirror);
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    let mut watch = world.failover.watch(&service());
    listing(&mut watch, SECOND, |one| &*one.source == "dr/main").await;
    sleep(2 * SECOND).await;
    world.told();
    world.members[0].unwatched.store(true, Ordering::SeqCst);
    let mut renewed = 0;
    let left = async {
        while world.active() == "main" {
            world.failover.renew(&record("a", (1, 1))).await.unwrap();
            renewed += 1;
            sleep(SECOND).await;
        }
    };
    timeout(40 * SECOND, left).await.unwrap();
    assert!(renewed >= 10, "left after {renewed} s");
    listing(&mut watch, SECOND, |one| &*one.source == "dr/backup" && ids(one) == ["a"]).await;
    let switched =
        EventKind::Switched { from: "main".into(), to: "backup".into(), reason: SwitchReason::Degraded };
    assert!(kinds(&world.told()).contains(&switched));
    assert_ne!(world.state(0), MemberState::Down, "it answers");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_lets_nobody_read_is_left_for_one_that_does() {
    let world = World::new(Topology::Mirror);
    world.members[0].unreadable.store(true, Ordering::SeqCst);
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    let mut watch = world.failover.watch(&service());
    let renew = async |seconds: u32| {
        for _ in 0..seconds / 2 {
            world.failover.renew(&record("a", (1, 1))).await.unwrap();
            sleep(2 * SECOND).await;
        }
    };
    // A watch is read by who polls it.
    let polled = listing(&mut watch, 15 * SECOND, |one| &*one.source == "dr/backup" && ids(one) == ["a"]);
    tokio::join!(polled, renew(14));
    renew(120).await;
    assert_eq!(world.active(), "backup", "it is returned to while it still lets nobody read");
    world.members[0].unreadable.store(false, Ordering::SeqCst);
    // So that there is something to be said.
    world.failover.register(&record("b", (1, 1))).await.unwrap();
    renew(120).await;
    assert_eq!(world.active(), "main");
}

#[tokio::test(start_paused = true)]
async fn a_union_that_is_frozen_by_hand_is_a_union_all_the_same() {
    let world = World::new(Topology::Union);
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    world.failover.control().freeze();
    let _outage = world.stores[0].inject(Fault::Unavailable);
    assert_eq!(ids(&world.failover.list(&service(), Read::Quorum).await.unwrap()), ["a"]);
    let name = service().name;
    let service = service();
    assert_eq!(world.failover.services(&service.namespace, &service.group).await.unwrap(), [name]);
}

#[tokio::test(start_paused = true)]
async fn a_member_whose_watch_has_hung_is_not_believed_when_it_is_switched_to() {
    let world = World::new(Topology::Mirror);
    for id in ["leaves", "stays"] {
        world.failover.register(&record(id, (1, 1))).await.unwrap();
    }
    let mut watch = world.failover.watch(&service());
    listing(&mut watch, SECOND, |one| ids(one) == ["leaves", "stays"]).await;
    sleep(SECOND).await;
    world.members[1].hushed.store(true, Ordering::SeqCst);
    world.failover.deregister(&record("leaves", (1, 1))).await.unwrap();
    listing(&mut watch, SECOND, |one| ids(one) == ["stays"]).await;
    for _ in 0..4 {
        sleep(5 * SECOND).await;
        world.failover.renew(&record("stays", (1, 1))).await.unwrap();
    }
    let _outage = world.stores[0].inject(Fault::Unavailable);
    world.switches_to("backup", 5 * SECOND).await;
    let seen = listing(&mut watch, SECOND, |one| &*one.source == "dr/backup").await;
    assert!(ids(&seen) == ["stays"] || seen.authority == Authority::Stale, "{seen:?}");
}

/// Reads `watch` to its end; each listing has to have exactly these.
async fn lists_only(watch: &mut WatchStream, expected: &[&str]) {
    while let Some(item) = watch.next().await {
        if let Ok(WatchEvent::Listing(listing)) = item {
            assert_eq!(ids(&listing), expected, "{listing:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_makes_no_sense_at_one_member_of_a_union_is_not_gone() {
    let world = World::new(Topology::Union);
    for id in ["a", "b"] {
        world.failover.register(&record(id, (1, 1))).await.unwrap();
    }
    let mut watch = world.failover.watch(&service());
    listing(&mut watch, SECOND, |one| ids(one) == ["a", "b"]).await;
    world.members[0].away.store(true, Ordering::SeqCst);
    let living = async {
        sleep(3 * SECOND).await;
        world.stores[1].garbage(record("a", (1, 1)).key());
        sleep(3 * SECOND).await;
        world.members[0].away.store(false, Ordering::SeqCst);
        sleep(3 * SECOND).await;
    };
    tokio::select! {
        () = lists_only(&mut watch, &["a", "b"]) => panic!("the watch has ended"),
        () = living => {}
    }
    let seen = world.failover.list(&service(), Read::Quorum).await.unwrap();
    assert_eq!(ids(&seen), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn who_left_a_union_while_a_member_was_away_is_not_back_with_that_member() {
    let world = World::new(Topology::Union);
    let [main, backup] = [0, 1].map(|nth: usize| Memory::new(world.stores[nth].clone(), "owner"));
    main.register(&record("stays", (1, 1))).await.unwrap();
    let mut watch = world.failover.watch(&service());
    listing(&mut watch, SECOND, |one| ids(one) == ["stays"]).await;
    let outage = world.stores[1].inject(Fault::Unavailable);
    sleep(5 * SECOND).await;
    main.register(&record("leaves", (1, 1))).await.unwrap();
    listing(&mut watch, SECOND, |one| ids(one) == ["leaves", "stays"]).await;
    main.deregister(&record("leaves", (1, 1))).await.unwrap();
    listing(&mut watch, SECOND, |one| ids(one) == ["stays"]).await;
    // As a registry that was frozen does with what was sent to it before.
    drop(outage);
    main.renew(&record("stays", (1, 1))).await.unwrap();
    backup.register(&record("leaves", (1, 1))).await.unwrap();
    assert!(timeout(9 * SECOND, lists_only(&mut watch, &["stays"])).await.is_err(), "the watch has ended");
    assert_ne!(world.state(1), MemberState::Down, "it is back");
    // Another life of the same id.
    main.renew(&record("stays", (1, 1))).await.unwrap();
    main.register(&record("leaves", (2, 1))).await.unwrap();
    listing(&mut watch, SECOND, |one| ids(one) == ["leaves", "stays"]).await;
}

#[tokio::test(start_paused = true)]
async fn who_is_alone_at_the_standby_returns_to_where_the_others_are_at_once() {
    let world = World::new(Topology::Standby);
    // Others, whose way to `main` is well all the time.
    let others = Memory::new(world.stores[0].clone(), "others");
    let ids_of_all = ["a", "b", "own"];
    for id in ["a", "b"] {
        others.register(&record(id, (1, 1))).await.unwrap();
    }
    let renewing = async {
        loop {
            for id in ["a", "b"] {
                others.renew(&record(id, (1, 1))).await.unwrap();
            }
            let own = record("own", (1, 1));
            if world.failover.renew(&own).await.is_err() {
                let _ = world.failover.register(&own).await;
            }
            sleep(SECOND).await;
        }
    };
    let living = async {
        let mut watch = world.failover.watch(&service());
        listing(&mut watch, 5 * SECOND, |one| ids(one) == ids_of_all).await;
        world.members[0].away.store(true, Ordering::SeqCst);
        world.switches_to("backup", 5 * SECOND).await;
        // Whom the standby lacks is shown on for half a minute, and then no more.
        listing(&mut watch, 60 * SECOND, |one| ids(one) == ["own"]).await;
        world.told();
        world.members[0].away.store(false, Ordering::SeqCst);
        // Down members are looked at within 10 s; the way back would be closed for 30 s and more.
        let took = world.switches_to("main", 20 * SECOND).await;
        assert!(took <= 15 * SECOND, "{took:?}");
        listing(&mut watch, SECOND, |one| ids(one) == ids_of_all).await;
        let switched =
            EventKind::Switched { from: "backup".into(), to: "main".into(), reason: SwitchReason::Deserted };
        assert!(kinds(&world.told()).contains(&switched));
    };
    tokio::select! {
        () = living => {}
        () = renewing => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_that_takes_too_long_is_not_broken_off() {
    let world = World::new(Topology::Mirror);
    for member in &world.members {
        member.held.send_replace(true);
    }
    assert!(world.failover.list(&service(), Read::Quorum).await.is_err());
    let listed = || world.members.iter().map(|member| member.listed.load(Ordering::SeqCst)).sum::<usize>();
    assert_eq!(listed(), 0);
    for member in &world.members {
        member.held.send_replace(false);
    }
    sleep(SECOND).await;
    assert_eq!(listed(), 2, "both have been asked, and answer");
}
