//! A registration and a view from birth to death, on the embedded registry.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use callsign_client::{Client, Freshness, Patch, RegisterOptions, RegistrationState};
use callsign_core::{Instance, ServiceKey, Status, Ttl};
use callsign_memory::{Fault, Memory, Store};
use futures::StreamExt;
use tokio::time::Instant;

const SOON: Duration = Duration::from_secs(10);

fn client(store: &Store) -> Client {
    Client::new(Arc::new(Memory::new(store.clone(), "main"))).unwrap()
}

fn orders() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

fn instance(id: &str) -> Instance {
    Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").build().unwrap()
}

fn short() -> RegisterOptions {
    RegisterOptions::new().with_ttl(Ttl::from_secs(3).unwrap())
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_registered_seen_changed_drained_and_gone() {
    let store = Store::new();
    let (owner, user) = (client(&store), client(&store));
    let registration = owner.register(instance("a"), short()).await.unwrap();
    assert!(registration.state().is_registered());

    let view = user.service(orders());
    let snapshot = view.ready(SOON).await.unwrap();
    assert!(snapshot.freshness.is_live());
    assert_eq!(snapshot.routable().len(), 1);

    registration.update(Patch::new().weight(0)).await.unwrap();
    view.wait_for(SOON, |snapshot| snapshot.routable().is_empty()).await.unwrap();

    let start = Instant::now();
    let departure = registration.drain(Duration::from_secs(4)).await;
    assert!(departure.is_clean(), "{departure:?}");
    assert_eq!(start.elapsed().as_secs(), 4);
    let snapshot = view.wait_for(SOON, |snapshot| snapshot.instances.is_empty()).await.unwrap();
    assert!(snapshot.freshness.is_live());
    assert!(matches!(registration.state(), RegistrationState::Gone));
}

#[tokio::test(start_paused = true)]
async fn a_registration_outlives_an_outage_longer_than_its_ttl() {
    let store = Store::new();
    let (owner, user) = (client(&store), client(&store));
    let registration = owner.register(instance("a"), short()).await.unwrap();
    let view = user.service(orders());
    view.ready(SOON).await.unwrap();

    let outage = store.inject(Fault::Unavailable);
    registration.wait_for(|state| matches!(state, RegistrationState::Suspect { .. })).await.unwrap();
    registration.wait_for(|state| matches!(state, RegistrationState::Lost { .. })).await.unwrap();
    let snapshot = view.snapshot();
    assert!(matches!(snapshot.freshness, Freshness::Stale { .. }));
    assert_eq!(snapshot.routable().len(), 1);

    outage.heal();
    let healed = Instant::now();
    registration.wait_for(RegistrationState::is_registered).await.unwrap();
    assert!(healed.elapsed() < Duration::from_secs(3));
    view.wait_for(SOON, |snapshot| snapshot.freshness.is_live()).await.unwrap();
    assert_eq!(view.snapshot().routable().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_application_starts_while_its_registry_is_down() {
    let store = Store::new();
    let outage = store.inject(Fault::Unavailable);
    let owner = client(&store);
    let registration = owner.register(instance("a"), short()).await.unwrap();
    assert!(matches!(registration.state(), RegistrationState::Pending { attempt: 1.., cause: Some(_) }));
    let error = owner.register(instance("b"), short().required()).await.unwrap_err();
    assert!(error.to_string().contains("was not registered within 5s"), "{error}");
    assert!(matches!(owner.service(orders()).snapshot().freshness, Freshness::Unknown { .. }));

    outage.heal();
    registration.wait_for(RegistrationState::is_registered).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn deregistering_returns_by_its_deadline_and_says_what_could_not_be_done() {
    let store = Store::new();
    let owner = client(&store);
    let registration = owner.register(instance("a"), short()).await.unwrap();
    for fault in [Fault::Unavailable, Fault::Frozen] {
        let other = owner.register(instance(&format!("{fault:?}")), short()).await.unwrap();
        let outage = store.inject(fault);
        let start = Instant::now();
        let departure = other.deregister(Duration::from_secs(2)).await;
        assert!(start.elapsed() <= Duration::from_millis(2001), "{:?}", start.elapsed());
        assert!(departure.removed.is_err() && departure.expires_within.is_some(), "{departure:?}");
        drop(outage);
    }
    assert!(registration.deregister(SOON).await.is_clean());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_deletes_the_record_and_ends_the_task() {
    let store = Store::new();
    let (owner, user) = (client(&store), client(&store));
    let view = user.service(orders());
    view.ready(SOON).await.unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let registration = owner.register(instance("a"), short()).await.unwrap();
    view.wait_for(SOON, |snapshot| snapshot.instances.len() == 1).await.unwrap();
    drop(registration);
    // Not announced, and the last one: held, probed, and found silent.
    view.wait_for(SOON, |snapshot| snapshot.instances.is_empty()).await.unwrap();
    assert_eq!(tasks(), before);
}

#[tokio::test(start_paused = true)]
async fn a_view_shares_one_watch_and_ends_30_seconds_after_its_last_user() {
    let client = client(&Store::new());
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let views: Vec<_> = (0..1000).map(|_| client.service(orders())).collect();
    views[0].ready(SOON).await.unwrap();
    assert_eq!(tasks(), before + 1);
    drop(views);
    tokio::time::sleep(Duration::from_secs(29)).await;
    assert_eq!(tasks(), before + 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(tasks(), before);
}

#[tokio::test(start_paused = true)]
async fn changes_follow_a_view_without_losing_any() {
    let store = Store::new();
    let (owner, user) = (client(&store), client(&store));
    let view = user.service(orders());
    view.ready(SOON).await.unwrap();
    let mut changes = view.changes();
    let registration = owner.register(instance("a"), short()).await.unwrap();
    assert_eq!(changes.next().await.unwrap().added.len(), 1);
    registration.update(Patch::new().metadata("k", "v")).await.unwrap();
    assert_eq!(changes.next().await.unwrap().updated[0].now.metadata.get("k"), Some("v"));
    let (departure, seen) = tokio::join!(registration.deregister(SOON), async {
        let draining = changes.next().await.unwrap();
        assert_eq!(draining.updated[0].now.status, Status::Draining);
        changes.next().await.unwrap()
    });
    assert!(departure.is_clean());
    assert_eq!(seen.removed.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_a_client_deregisters_what_it_registered() {
    let store = Store::new();
    let (owner, user) = (client(&store), client(&store));
    let registration = owner.register(instance("a"), short()).await.unwrap();
    let view = user.service(orders());
    view.ready(SOON).await.unwrap();
    owner.close(SOON).await.unwrap();
    assert!(matches!(registration.state(), RegistrationState::Gone));
    view.wait_for(SOON, |snapshot| snapshot.instances.is_empty()).await.unwrap();
    assert!(owner.register(instance("b"), short()).await.is_err());
}
