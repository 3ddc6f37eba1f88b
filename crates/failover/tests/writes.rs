//! What is written where, what is never written again, and who is told.

mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use callsign_core::{Discovery, ErrorKind, EventKind, MemberState, Pair, Read, Registry};
use callsign_failover::{Settings, Topology};
use callsign_memory::{Fault, Store};
use futures::FutureExt;
use tokio::time::{Instant, sleep, timeout};
use world::{Odd, World, ids, kinds, listing, record, record_of, service};

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn stores() -> [Store; 2] {
    [Store::new(), Store::new()]
}

fn world_at(stores: &[Store; 2], journal: Option<&std::path::Path>) -> World {
    let members = [Odd::new(&stores[0], "main"), Odd::new(&stores[1], "backup")];
    World::of(stores.clone(), members, Settings::default(), journal.map(std::path::Path::to_owned))
}

async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) {
    let reached = async {
        while !check().await {
            sleep(50 * MS).await;
        }
    };
    assert!(timeout(20 * SECOND, reached).await.is_ok(), "not within 20 s: {what}");
}

#[tokio::test(start_paused = true)]
async fn a_removal_during_an_outage_is_not_undone_by_the_return_of_the_registry() {
    let world = world_at(&stores(), None);
    // Longer than any lease lasts meanwhile.
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    let outage = world.stores[0].inject(Fault::Unavailable);
    world.reaches(0, MemberState::Down, 3 * SECOND).await;
    let receipt = world.failover.deregister(&record("a", (1, 1))).await.unwrap();
    assert_eq!(receipt.pending.len(), 1);
    assert_eq!(world.failover.control().members()[0].pending_deletes, 1);
    outage.heal();
    eventually("it is gone from `main`", async || world.ids(0).await.is_empty()).await;
    assert_eq!(world.failover.control().members()[0].pending_deletes, 0);
    assert!(world.ids(1).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_removal_is_not_undone_after_a_restart_of_the_process_either() {
    let (stores, folder) = (stores(), tempfile::tempdir().unwrap());
    let world = world_at(&stores, Some(folder.path()));
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    let outage = stores[0].inject(Fault::Unavailable);
    world.reaches(0, MemberState::Down, 3 * SECOND).await;
    world.failover.deregister(&record("a", (1, 1))).await.unwrap();
    drop(world);
    outage.heal();
    assert_eq!(
        ids(&callsign_memory::Memory::new(stores[0].clone(), "x")
            .list(&service(), Read::Quorum)
            .await
            .unwrap()),
        ["a"]
    );
    let mut world = world_at(&stores, Some(folder.path()));
    // A later life of the id is none of its business.
    world.failover.register(&record("b", (2, 1))).await.unwrap();
    eventually("it is gone from `main`", async || world.ids(0).await == ["b"]).await;
    drop(world);
    world = world_at(&stores, Some(folder.path()));
    sleep(SECOND).await;
    assert_eq!(world.failover.control().members()[0].pending_deletes, 0, "what was done is not done again");
    assert!(!kinds(&world.told()).contains(&EventKind::JournalTrouble));
}

#[tokio::test(start_paused = true)]
async fn a_removal_whose_caller_goes_away_is_remembered_and_done() {
    let (stores, folder) = (stores(), tempfile::tempdir().unwrap());
    let world = world_at(&stores, Some(folder.path()));
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    let outage = stores[0].inject(Fault::Frozen);
    // Dropped after its first poll.
    assert!(world.failover.deregister(&record("a", (1, 1))).now_or_never().is_none());
    eventually("it is gone from `backup`", async || world.ids(1).await.is_empty()).await;
    sleep(100 * MS).await;
    drop(world);
    outage.heal();
    let world = world_at(&stores, Some(folder.path()));
    eventually("it is gone from `main`", async || world.ids(0).await.is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn no_write_overtakes_a_removal_however_slow_a_member_is() {
    let world = world_at(&stores(), None);
    let held = &world.members[0].held;
    held.send_replace(true);
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    world.failover.renew(&record("a", (1, 1))).await.unwrap();
    world.failover.register(&record("a", (1, 2))).await.unwrap();
    world.failover.deregister(&record("a", (1, 2))).await.unwrap();
    held.send_replace(false);
    eventually("`main` has heard of the removal", async || {
        world.failover.control().members()[0].pending_deletes == 0
    })
    .await;
    sleep(20 * SECOND).await;
    assert!(world.ids(0).await.is_empty() && world.ids(1).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_refused_is_refused_alone() {
    let world = world_at(&stores(), None);
    world.members[0].forbidden.lock().unwrap().insert("bad".to_owned());
    let receipt = world.failover.register(&record("bad", (1, 1))).await.unwrap();
    assert_eq!(receipt.pending[0].1.kind(), ErrorKind::PermissionDenied);
    let receipt = world.failover.register(&record("good", (1, 1))).await.unwrap();
    assert!(receipt.pending.is_empty(), "{receipt:?}");
    assert_eq!(world.state(0), MemberState::Healthy);
    // Nor does it keep a member from being whole.
    let outage = world.stores[0].inject(Fault::Unavailable);
    world.reaches(0, MemberState::Down, 3 * SECOND).await;
    outage.heal();
    let renewing = async {
        loop {
            for id in ["bad", "good"] {
                world.failover.renew(&record(id, (1, 1))).await.unwrap();
            }
            sleep(3 * SECOND).await;
        }
    };
    tokio::select! {
        () = renewing => {}
        _ = world.reaches(0, MemberState::Healthy, 90 * SECOND) => {}
    }
    assert_eq!(world.ids(0).await, ["good"]);
}

#[tokio::test(start_paused = true)]
async fn who_missed_a_registration_gets_it_with_the_next_renewal() {
    let world = world_at(&stores(), None);
    let outage = world.stores[1].inject(Fault::Unavailable);
    let receipt = world.failover.register(&record("a", (1, 1))).await.unwrap();
    assert_eq!(receipt.pending.len(), 1);
    outage.heal();
    world.reaches(1, MemberState::Healthy, 60 * SECOND).await;
    assert!(world.ids(1).await.is_empty(), "nobody registers by himself");
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    world.stores[1].delete(record("a", (1, 1)).key());
    world.failover.renew(&record("a", (1, 1))).await.unwrap();
    eventually("`backup` has it again", async || world.ids(1).await == ["a"]).await;
    // Where nobody has it, it is lost, and not written by a renewal.
    world.stores.iter().for_each(|store| {
        store.delete(record("a", (1, 1)).key());
    });
    let error = world.failover.renew(&record("a", (1, 1))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    sleep(SECOND).await;
    assert!(world.ids(0).await.is_empty() && world.ids(1).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn of_two_owners_the_higher_one_wins_everywhere_and_the_other_is_told() {
    let stores = stores();
    let (earlier, later) = (world_at(&stores, None), world_at(&stores, None));
    let mut receipt = earlier.failover.register(&record("a", (1, 1))).await.unwrap();
    // The later owner reaches `backup` alone.
    later.members[0].held.send_replace(true);
    later.failover.register(&record("a", (2, 1))).await.unwrap();
    let start = Instant::now();
    let cause = timeout(2 * SECOND, receipt.lost.fired()).await.unwrap();
    assert!(cause.kind() == ErrorKind::Conflict && start.elapsed() <= 2 * SECOND);
    assert_eq!(cause.holder(), Some(Pair::new(2, 1)));
    eventually("the earlier one has withdrawn", async || earlier.ids(0).await.is_empty()).await;
    let fenced = EventKind::Fenced { key: record("a", (1, 1)).key().clone(), holder: Pair::new(2, 1) };
    assert!(kinds(&earlier.told()).contains(&fenced));
    for _ in 0..3 {
        let error = earlier.failover.register(&record("a", (1, 1))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        sleep(SECOND).await;
        assert!(earlier.ids(0).await.is_empty(), "it lives on where the later one has not been");
    }
    later.members[0].held.send_replace(false);
    later.failover.deregister(&record("a", (2, 1))).await.unwrap();
    eventually("nobody is in the way", async || {
        earlier.failover.register(&record("a", (1, 1))).await.is_ok()
    })
    .await;
    eventually("it is everywhere", async || earlier.ids(0).await == ["a"] && earlier.ids(1).await == ["a"])
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_member_had_is_believed_for_one_ttl() {
    let world = world_at(&stores(), None);
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    let registers = || world.members[0].registers.load(Ordering::SeqCst);
    let before = registers();
    sleep(11 * SECOND).await;
    // Both have let it expire: a renewal finds nothing, and writes nothing.
    let error = world.failover.renew(&record("a", (1, 1))).await.unwrap_err();
    assert_eq!((error.kind(), registers()), (ErrorKind::NotFound, before));
}

#[tokio::test(start_paused = true)]
async fn a_union_never_goes_back_when_a_member_is_wiped() {
    let world = World::new(Topology::Union);
    let services: Vec<_> =
        (0..5).map(|n| callsign_core::ServiceKey::new(format!("s-{n}")).unwrap()).collect();
    let mut watches: Vec<_> = services.iter().map(|service| world.failover.watch(service)).collect();
    let mut last = vec![(0, 0); services.len()];
    for round in 1..20_u64 {
        for (nth, service) in services.iter().enumerate() {
            world.failover.register(&record_of(service, "a", (1, round))).await.unwrap();
            let check = |last: &mut (u64, u64), listing: &callsign_core::Listing| {
                let now = (listing.epoch, listing.revision);
                assert!(now >= *last, "it went from {last:?} to {now:?}");
                *last = now;
            };
            while let Some(Some(item)) = futures::StreamExt::next(&mut watches[nth]).now_or_never() {
                if let Ok(callsign_core::WatchEvent::Listing(listing)) = item {
                    check(&mut last[nth], &listing);
                }
            }
            check(&mut last[nth], &world.failover.list(service, Read::Quorum).await.unwrap());
        }
        if round % 4 == 0 {
            world.stores[usize::try_from(round / 4).unwrap() % 2].wipe();
        }
        sleep(300 * MS).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_union_does_not_present_a_silent_members_word_as_of_now() {
    let world = World::new(Topology::Union);
    let legacy = callsign_memory::Memory::new(world.stores[1].clone(), "legacy");
    legacy.register(&record("old", (1, 1))).await.unwrap();
    world.failover.register(&record("new", (1, 1))).await.unwrap();
    let all = ["new".to_owned(), "old".to_owned()];
    let listing = world.failover.list(&service(), Read::Quorum).await.unwrap();
    assert_eq!((ids(&listing), listing.authority), (all.to_vec(), callsign_core::Authority::Quorum));
    let _fault = world.stores[1].inject(Fault::Frozen);
    let listing = world.failover.list(&service(), Read::Quorum).await.unwrap();
    assert!(listing.authority == callsign_core::Authority::Stale || ids(&listing) == ["new"], "{listing:?}");
}

#[tokio::test(start_paused = true)]
async fn a_union_has_no_gap_while_a_member_heals() {
    let world = World::new(Topology::Union);
    // One owner reaches `main` alone, one `backup` alone, and one both.
    let alone = [0, 1].map(|nth| callsign_memory::Memory::new(world.stores[nth].clone(), "alone"));
    let mut watch = world.failover.watch(&service());
    let renew = async || {
        for (nth, owner) in alone.iter().enumerate() {
            let record = record(&format!("only-{nth}"), (1, 1));
            let _ = timeout(100 * MS, owner.register(&record)).await;
        }
        let _ = world.failover.register(&record("both", (1, 1))).await;
    };
    renew().await;
    let all = ["both", "only-0", "only-1"];
    listing(&mut watch, SECOND, |one| ids(one) == all).await;
    for nth in [0, 1, 0, 1] {
        let fault = world.stores[nth].inject(if nth == 0 { Fault::Unavailable } else { Fault::Frozen });
        let mut healed = Some(fault);
        let start = Instant::now();
        while start.elapsed() < 15 * SECOND {
            if start.elapsed() > 5 * SECOND {
                drop(healed.take());
            }
            renew().await;
            while let Some(Some(item)) = futures::StreamExt::next(&mut watch).now_or_never() {
                if let Ok(callsign_core::WatchEvent::Listing(listing)) = item {
                    assert_eq!(ids(&listing), all, "after {:?}: {:?}", start.elapsed(), listing.authority);
                }
            }
            sleep(100 * MS).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_was_refused_is_offered_again_when_the_member_has_been_away() {
    let world = world_at(&stores(), None);
    world.members[0].forbidden.lock().unwrap().insert("a".to_owned());
    world.failover.register(&record("a", (1, 1))).await.unwrap();
    let outage = world.stores[0].inject(Fault::Unavailable);
    world.reaches(0, MemberState::Down, 3 * SECOND).await;
    world.members[0].forbidden.lock().unwrap().clear();
    outage.heal();
    world.reaches(0, MemberState::Recovering, 15 * SECOND).await;
    world.failover.renew(&record("a", (1, 1))).await.unwrap();
    sleep(SECOND).await;
    assert_eq!(world.ids(0).await, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_comes_back_is_filled_at_a_pace_that_it_can_take() {
    const COUNT: usize = 200;
    let world = world_at(&stores(), None);
    let outage = world.stores[0].inject(Fault::Unavailable);
    world.reaches(0, MemberState::Down, 3 * SECOND).await;
    let records: Vec<_> = (0..COUNT).map(|nth| record(&format!("id-{nth:03}"), (1, 1))).collect();
    for record in &records {
        world.failover.register(record).await.unwrap();
    }
    outage.heal();
    world.reaches(0, MemberState::Recovering, 15 * SECOND).await;
    let (start, before) = (Instant::now(), world.members[0].registers.load(Ordering::SeqCst));
    loop {
        for record in &records {
            world.failover.renew(record).await.unwrap();
        }
        let sent = world.members[0].registers.load(Ordering::SeqCst) - before;
        let most = 20 * (usize::try_from(start.elapsed().as_secs()).unwrap() + 1) + 20;
        assert!(sent <= most, "{sent} after {:?}", start.elapsed());
        if world.ids(0).await.len() == COUNT {
            break;
        }
        sleep(SECOND).await;
    }
    assert!(start.elapsed() >= 8 * SECOND && start.elapsed() <= 20 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_older_record_than_one_that_waits_for_silent_members_is_an_outage_and_no_conflict() {
    let world = world_at(&stores(), None);
    for member in &world.members {
        member.held.send_replace(true);
    }
    for pair in [(1, 1), (1, 2), (1, 1)] {
        let error = world.failover.register(&record("a", pair)).await.unwrap_err();
        assert!(error.counts_as_outage(), "{pair:?}: {error}");
    }
    for member in &world.members {
        member.held.send_replace(false);
    }
    sleep(SECOND).await;
    let there = world.failover.list(&service(), Read::Quorum).await.unwrap();
    assert_eq!(there.instances[0].pair(), Pair::new(1, 2), "what waited was not pushed aside");
}
