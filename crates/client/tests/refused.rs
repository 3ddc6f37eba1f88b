//! Registries that refuse, rivals that leave, and callers that close twice.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use callsign_client::{Client, Patch, Probed, Prober, RegisterOptions, RegistrationState};
use callsign_core::{
    Backend, BackendInfo, Discovery, Error, ErrorKind, EventStream, Group, Instance, InstanceKey, Listing,
    Namespace, Probe, Read, Receipt, Record, Registry, Result, ServiceKey, ServiceName, Ttl, WatchStream,
    async_trait,
};
use callsign_memory::{Memory, Store};
use tokio::time::{Instant, sleep};

const SOON: Duration = Duration::from_secs(10);

/// A registry whose records may not carry the metadata `large`.
#[derive(Debug)]
struct Narrow(Memory);

#[async_trait]
impl Registry for Narrow {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        if record.instance.metadata.get("large").is_some() {
            return Err(Error::limit_exceeded("the metadata is too large"));
        }
        self.0.register(record).await
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.0.renew(record).await
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        sleep(Duration::from_millis(200)).await;
        self.0.deregister(record).await
    }
}

#[async_trait]
impl Discovery for Narrow {
    async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        self.0.list(service, read).await
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        self.0.watch(service)
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        self.0.services(namespace, group).await
    }
}

#[async_trait]
impl Backend for Narrow {
    fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    fn events(&self) -> EventStream {
        self.0.events()
    }

    async fn probe(&self, level: Probe) -> Result<()> {
        self.0.probe(level).await
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}

#[derive(Debug)]
struct Alive;

#[async_trait]
impl Prober for Alive {
    async fn probe(&self, _: &Instance) -> Probed {
        Probed::Answering
    }
}

fn client(store: &Store) -> Client {
    let backend = Arc::new(Narrow(Memory::new(store.clone(), "main")));
    Client::builder(backend).prober(Alive).ttl(Ttl::from_secs(3).unwrap()).build().unwrap()
}

fn orders() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

fn instance(id: &str) -> Instance {
    Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_update_that_is_refused_says_so_at_once_and_costs_nothing() {
    let store = Store::new();
    let (owner, user) = (client(&store), client(&store));
    let view = user.service(orders());
    let registration = owner.register(instance("a"), RegisterOptions::new()).await.unwrap();
    view.wait_for(SOON, |snapshot| snapshot.routable().len() == 1).await.unwrap();

    let start = Instant::now();
    let error = registration.update(Patch::new().metadata("large", "x")).await.unwrap_err();
    assert_eq!((error.kind(), start.elapsed().as_secs()), (ErrorKind::LimitExceeded, 0));
    assert!(matches!(registration.state(), RegistrationState::Rejected(_)));
    for _ in 0..60 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(view.snapshot().routable().len(), 1);
    }
    registration.update(Patch::new().without_metadata("large").weight(7)).await.unwrap();
    assert!(registration.state().is_registered());
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_too_large_from_the_start_is_an_error() {
    let owner = client(&Store::new());
    let large = instance("a").to_builder().metadata("large", "x").build().unwrap();
    let error = owner.register(large, RegisterOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded);
}

#[tokio::test(start_paused = true)]
async fn an_owner_whose_later_rival_has_left_is_seen_again() {
    let store = Store::new();
    let (one, other, user) = (client(&store), client(&store), client(&store));
    let view = user.service(orders());
    let first = one.register(instance("a"), RegisterOptions::new()).await.unwrap();
    let rival = other.register(instance("a"), RegisterOptions::new()).await.unwrap();
    first.wait_for(|state| matches!(state, RegistrationState::Rejected(_))).await.unwrap();
    view.wait_for(SOON, |snapshot| snapshot.routable().len() == 1).await.unwrap();

    assert!(rival.deregister(Duration::from_secs(2)).await.is_clean());
    first.wait_for(RegistrationState::is_registered).await.unwrap();
    view.wait_for(SOON, |snapshot| snapshot.routable().len() == 1).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_twice_at_once_deregisters_everything_before_the_backend_is_closed() {
    let store = Store::new();
    let (owner, other) = (client(&store), client(&store));
    let registration = owner.register(instance("a"), RegisterOptions::new()).await.unwrap();
    let (first, second) = tokio::join!(owner.close(SOON), owner.close(SOON));
    assert!(first.is_ok() && second.is_ok());
    assert!(matches!(registration.state(), RegistrationState::Gone));
    let left = other.backend().list(&orders(), Read::Quorum).await.unwrap();
    assert!(left.instances.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_view_of_a_closed_client_says_closed_and_goes_on_saying_it() {
    let store = Store::new();
    let (owner, user) = (client(&store), client(&store));
    let view = user.service(orders());
    let registration = owner.register(instance("a"), RegisterOptions::new()).await.unwrap();
    view.wait_for(SOON, |snapshot| snapshot.routable().len() == 1).await.unwrap();
    // The last one vanishes: held, probed again and again.
    store.delete(&InstanceKey::new(orders(), registration.key().id.clone()));
    user.close(SOON).await.unwrap();
    for _ in 0..20 {
        sleep(Duration::from_secs(1)).await;
        let snapshot = view.snapshot();
        assert_eq!(snapshot.freshness.cause().map(Error::kind), Some(ErrorKind::Closed));
        assert_eq!(snapshot.routable().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_notice_without_end_can_be_hurried() {
    let owner = client(&Store::new());
    let registration = owner.register(instance("a"), RegisterOptions::new()).await.unwrap();
    let (drained, hurried) = tokio::join!(registration.drain(Duration::MAX), async {
        sleep(Duration::from_secs(1)).await;
        registration.deregister(Duration::from_secs(2)).await
    });
    assert!(drained.is_clean() && hurried.is_clean(), "{drained:?} {hurried:?}");
}
