//! Each fault does what its documentation says, to every handle, and is over when its guard is dropped.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{
    Authority, Backend, Discovery, ErrorKind, EventKind, Instance, Listing, Probe, Read, Record, Registry,
    Result, ServiceKey, Ttl, WatchEvent,
};
use callsign_memory::{Fault, Memory, Store};
use futures::{FutureExt, StreamExt};
use tokio::time::timeout;

fn orders() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

fn record(id: &str) -> Record {
    let instance = Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").build().unwrap();
    Record::new(instance, Ttl::default())
}

async fn two_registered() -> (Store, Memory) {
    let store = Store::new();
    let memory = Memory::new(store.clone(), "main");
    for id in ["a", "b"] {
        memory.register(&record(id)).await.unwrap();
    }
    (store, memory)
}

fn listing(item: Option<Result<WatchEvent>>) -> Listing {
    match item {
        Some(Ok(WatchEvent::Listing(listing))) => listing,
        other => panic!("not a listing: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn unavailable_fails_at_once_and_the_same_watch_goes_on_after_it() {
    let (store, memory) = two_registered().await;
    let mut watch = memory.watch(&orders());
    let mut events = memory.events();
    assert_eq!(listing(watch.next().await).instances.len(), 2);

    let outage = store.inject(Fault::Unavailable);
    let error = memory.list(&orders(), Read::Any).now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(watch.next().await.unwrap().unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(events.next().await.unwrap().kind, EventKind::Lost);

    outage.heal();
    assert_eq!(events.next().await.unwrap().kind, EventKind::Ready);
    assert_eq!(listing(watch.next().await).instances.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn frozen_hangs_and_goes_on_where_it_stopped() {
    let (store, memory) = two_registered().await;
    let freeze = store.inject(Fault::Frozen);
    let third = record("c");
    let call = memory.register(&third);
    tokio::pin!(call);
    assert!(timeout(Duration::from_secs(5), &mut call).await.is_err());
    freeze.heal();
    call.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn stale_shows_the_past_and_says_so() {
    let (store, memory) = two_registered().await;
    let stale = store.inject(Fault::Stale);
    memory.register(&record("c")).await.unwrap();
    let seen = memory.list(&orders(), Read::Quorum).await.unwrap();
    assert_eq!((seen.instances.len(), seen.authority), (2, Authority::Stale));
    assert!(memory.probe(Probe::Reachable).await.is_ok());
    assert!(memory.probe(Probe::Authority).await.is_err());

    // Leases of the present end meanwhile; the watch of the past stays quiet and alive.
    let mut watch = memory.watch(&orders());
    assert_eq!(listing(watch.next().await).instances.len(), 2);
    for _ in 0..10 {
        assert!(matches!(
            watch.next().await,
            Some(Ok(WatchEvent::Progress { authority: Authority::Stale, .. }))
        ));
    }
    stale.heal();
    assert_eq!(listing(watch.next().await).authority, Authority::Quorum);
}

#[tokio::test(start_paused = true)]
async fn the_past_is_never_newer_than_the_present_of_an_unchanged_service() {
    let (store, memory) = two_registered().await;
    let other = Instance::builder("payments").id("x").endpoint("http://127.0.0.1:2").build().unwrap();
    memory.register(&Record::new(other, Ttl::default())).await.unwrap();
    let nowhere = ServiceKey::new("nowhere").unwrap();
    for service in [orders(), nowhere] {
        let before = memory.list(&service, Read::Quorum).await.unwrap().revision;
        let stale = store.inject(Fault::Stale);
        let during = memory.list(&service, Read::Quorum).await.unwrap().revision;
        stale.heal();
        let after = memory.list(&service, Read::Quorum).await.unwrap().revision;
        assert_eq!((during, after), (before, before), "{service}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_acknowledgement_hides_a_write_that_happened() {
    let (store, memory) = two_registered().await;
    let lost = store.inject(Fault::LostAcknowledgement);
    let error = memory.register(&record("c")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Timeout && error.outcome_unknown());
    lost.heal();
    assert_eq!(memory.list(&orders(), Read::Any).await.unwrap().instances.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn partial_hides_most_and_claims_to_be_whole() {
    let (store, memory) = two_registered().await;
    let _partial = store.inject(Fault::Partial);
    let seen = memory.list(&orders(), Read::Quorum).await.unwrap();
    assert_eq!((seen.instances.len(), seen.authority), (1, Authority::Quorum));
}

#[tokio::test(start_paused = true)]
async fn a_wipe_begins_a_new_epoch_and_fires_the_signals() {
    let (store, memory) = two_registered().await;
    let mut receipt = memory.register(&record("c")).await.unwrap();
    let before = memory.list(&orders(), Read::Any).await.unwrap().epoch;
    store.wipe();
    assert_eq!(receipt.lost.fired().await.kind(), ErrorKind::NotFound);
    let after = memory.list(&orders(), Read::Any).await.unwrap();
    assert!(after.epoch > before && after.instances.is_empty());
}

#[tokio::test(start_paused = true)]
async fn handles_that_name_the_same_store_share_it_while_one_lives() {
    let one = Memory::new(Store::named("shared"), "one");
    one.register(&record("a")).await.unwrap();
    let other: Arc<dyn Backend> = Arc::new(Memory::new(Store::named("shared"), "other"));
    assert_eq!(other.list(&orders(), Read::Any).await.unwrap().instances.len(), 1);
    drop((one, other));
    let fresh = Memory::new(Store::named("shared"), "fresh");
    assert!(fresh.list(&orders(), Read::Any).await.unwrap().instances.is_empty());
}
