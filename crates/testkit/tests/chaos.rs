//! The chaotic backend does what its switches say, and by one seed always the same.

#![expect(clippy::unwrap_used, reason = "a test's own data is right, or the test is wrong")]

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{
    Authority, Backend, Discovery, ErrorKind, EventKind, Instance, Pair, Read, Record, Registry, ServiceKey,
    Ttl, WatchEvent,
};
use callsign_memory::{Memory, Store};
use callsign_testkit::chaos::{Chaos, Rates};
use futures::StreamExt;
use tokio::time::{Instant, timeout};

fn client(store: &Store, seed: u64, rates: Rates) -> Chaos {
    let chaos = Chaos::new(Arc::new(Memory::new(store.clone(), "main")), seed);
    chaos.control().set_rates(rates);
    chaos
}

fn record(id: &str, seq: u64) -> Record {
    let instance = Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").pair(Pair::new(1, seq));
    Record::new(instance.build().unwrap(), Ttl::new(Ttl::MAX).unwrap())
}

fn orders() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

async fn ids(backend: &dyn Backend) -> Vec<String> {
    let listing = backend.list(&orders(), Read::Quorum).await.unwrap();
    listing.instances.iter().map(|instance| instance.id().to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lost_acknowledgement_is_a_write_that_happened() {
    let store = Store::new();
    let chaos = client(&store, 1, Rates { lost_acknowledgement: 1.0, ..Rates::none() });
    let error = chaos.register(&record("one", 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.outcome_unknown());
    assert_eq!(error.to_string(), "main: register: timed out: the acknowledgement was lost");
    assert_eq!(ids(&chaos).await, ["one"]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_write_did_not_happen() {
    let store = Store::new();
    let chaos = client(&store, 1, Rates { refused: 1.0, ..Rates::none() });
    let error = chaos.register(&record("one", 1)).await.unwrap_err();
    assert_eq!((error.kind(), error.outcome_unknown()), (ErrorKind::Unavailable, false));
    chaos.control().set_rates(Rates::none());
    assert!(ids(&chaos).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_client_is_cut_off_and_the_others_are_not() {
    let store = Store::new();
    let (lonely, other) = (client(&store, 1, Rates::none()), client(&store, 2, Rates::none()));
    let control = lonely.control();
    let mut watch = lonely.watch(&orders());
    let mut events = lonely.events();
    watch.next().await.unwrap().unwrap();

    control.cut();
    assert_eq!(events.next().await.unwrap().kind, EventKind::Lost);
    let start = Instant::now();
    assert_eq!(lonely.list(&orders(), Read::Any).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(watch.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(start.elapsed(), Duration::ZERO);
    other.register(&record("one", 1)).await.unwrap();
    assert_eq!(ids(&other).await, ["one"]);
    // It goes on saying so, ever less often, and hears nothing.
    for _ in 0..20 {
        assert_eq!(watch.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert!(start.elapsed() > Duration::from_secs(20));

    control.heal();
    assert_eq!(events.next().await.unwrap().kind, EventKind::Ready);
    match watch.next().await {
        Some(Ok(WatchEvent::Listing(listing))) => assert_eq!(listing.instances.len(), 1),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_frozen_client_hears_nothing_and_gives_up() {
    let store = Store::new();
    let chaos = client(&store, 1, Rates::none());
    let control = chaos.control();
    let mut watch = chaos.watch(&orders());
    watch.next().await.unwrap().unwrap();
    control.freeze();
    let start = Instant::now();
    let error = chaos.register(&record("one", 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
    assert_eq!(watch.next().await.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    // Healed in time, a call goes through late.
    let late = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        control.heal();
    };
    let record = record("one", 1);
    let (answer, ()) = tokio::join!(chaos.register(&record), late);
    answer.unwrap();
    assert_eq!(ids(&chaos).await, ["one"]);
}

/// Everything that a client sees and hears while it registers, updates and removes, as text.
async fn story(seed: u64, rates: Rates) -> Vec<String> {
    let store = Store::new();
    let chaos = client(&store, seed, rates);
    let mut watch = chaos.watch(&orders());
    let mut told = Vec::new();
    for seq in 1..=40 {
        let id = ["one", "two", "three"][usize::try_from(seq).unwrap() % 3];
        let answer = if seq % 7 == 0 {
            chaos.deregister(&record(id, seq)).await
        } else {
            chaos.register(&record(id, seq)).await
        };
        told.push(answer.map_or_else(|error| error.to_string(), |_| "done".to_owned()));
        while let Ok(Some(item)) = timeout(Duration::from_millis(50), watch.next()).await {
            told.push(match item {
                Ok(WatchEvent::Listing(listing)) => format!("{:?} {:?}", listing.authority, listing.revision),
                Ok(_) => "progress".to_owned(),
                Err(error) => error.to_string(),
            });
        }
    }
    told
}

#[test]
fn one_seed_is_one_story() {
    let tell = |seed| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(story(seed, Rates::hostile()))
    };
    for seed in 0..20 {
        assert_eq!(tell(seed), tell(seed), "seed {seed}");
    }
    assert_ne!(tell(1), tell(2));
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_a_watch_ends_up_with_the_truth() {
    let (mut stale, mut errors) = (0, 0);
    for seed in 0..200 {
        let store = Store::new();
        let owner = Memory::new(store.clone(), "main");
        let chaos = client(&store, seed, Rates::hostile());
        let mut watch = chaos.watch(&orders());
        let changing = async {
            for seq in 1..=30 {
                owner.register(&record("one", seq)).await.unwrap();
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let following = async {
            loop {
                match watch.next().await.unwrap() {
                    Ok(WatchEvent::Listing(listing)) if listing.authority == Authority::Stale => stale += 1,
                    Ok(WatchEvent::Listing(listing)) => {
                        if listing.instances.iter().any(|instance| instance.seq == 30) {
                            break;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => errors += 1,
                }
            }
        };
        timeout(Duration::from_secs(60), futures::future::join(changing, following)).await.unwrap();
    }
    assert!(stale > 100 && errors > 100, "little mischief: {stale} stale listings, {errors} errors");
}
