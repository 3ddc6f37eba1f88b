//! Members that answer, and prove nothing.

mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use callsign_core::{Discovery, EventKind, MemberState, Registry};
use callsign_failover::Topology;
use callsign_memory::Fault;
use tokio::time::sleep;
use world::{World, ids, kinds, listing, record, service};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_degraded_member_gets_no_new_registrations_and_is_healed_before_it_is_healthy() {
    let world = World::new(Topology::Mirror);
    world.failover.register(&record("old", (1, 1))).await.unwrap();
    let fault = world.stores[0].inject(Fault::Stale);
    world.reaches(0, MemberState::Degraded, 5 * SECOND).await;
    let registers = world.members[0].registers.load(Ordering::SeqCst);
    world.failover.register(&record("new", (1, 1))).await.unwrap();
    for _ in 0..3 {
        for id in ["old", "new"] {
            world.failover.renew(&record(id, (1, 1))).await.unwrap();
        }
        sleep(2 * SECOND).await;
    }
    assert_eq!(world.members[0].registers.load(Ordering::SeqCst), registers);
    world.told();
    fault.heal();
    world.reaches(0, MemberState::Recovering, 10 * SECOND).await;
    for _ in 0..3 {
        for id in ["old", "new"] {
            world.failover.renew(&record(id, (1, 1))).await.unwrap();
        }
        sleep(SECOND).await;
    }
    assert_eq!(world.ids(0).await, ["new", "old"]);
    let reconciled =
        |event: &callsign_core::Event| matches!(event.kind, EventKind::Reconciled { added: 1, .. });
    let told = world.told();
    assert!(told.iter().any(reconciled), "{:?}", kinds(&told));
}

#[tokio::test(start_paused = true)]
async fn after_nobody_had_a_quorum_registrations_are_taken_as_soon_as_somebody_has_one() {
    for topology in [Topology::Mirror, Topology::Standby, Topology::Union] {
        let world = World::new(topology);
        world.failover.register(&record("old", (1, 1))).await.unwrap();
        let faults = [0, 1].map(|member| world.stores[member].inject(Fault::Stale));
        for member in [0, 1] {
            world.reaches(member, MemberState::Degraded, 10 * SECOND).await;
        }
        drop(faults);
        world.failover.register(&record("new", (1, 1))).await.unwrap();
        let expected = if topology == Topology::Standby { 1 } else { 2 };
        let ids = [world.ids(0).await, world.ids(1).await];
        let count = ids.iter().filter(|ids| ids.contains(&"new".to_owned())).count();
        assert_eq!(count, expected, "{topology}: {ids:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_from_a_member_without_a_quorum_although_nobody_is_there_yet() {
    let world = World::new(Topology::Standby);
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    let mut watch = world.failover.watch(&service());
    listing(&mut watch, SECOND, |one| ids(one) == ["a"]).await;
    sleep(SECOND).await;
    let _fault = world.stores[0].inject(Fault::Stale);
    world.switches_to("backup", 5 * SECOND).await;
    world.failover.register(&record("new", (1, 1))).await.unwrap();
    listing(&mut watch, 5 * SECOND, |one| &*one.source == "dr/backup" && ids(one) == ["a", "new"]).await;
}
