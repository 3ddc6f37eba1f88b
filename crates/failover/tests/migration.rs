//! The guide "move from one registry to another without downtime", as a test.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use callsign_client::{Client, Registration, ServiceView};
use callsign_core::{Backend, Discovery, Instance, Read, ServiceKey};
use callsign_failover::{Failover, Settings, Topology};
use callsign_memory::{Memory, Store};
use tokio::time::{Instant, sleep};

const IDS: [&str; 3] = ["a", "b", "c"];

struct Process {
    id: &'static str,
    client: Client,
    _registration: Registration,
    view: ServiceView,
}

impl Process {
    async fn start(id: &'static str, backend: Arc<dyn Backend>) -> Self {
        let client = Client::builder(backend).build().unwrap();
        let instance = Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").build().unwrap();
        let registration = client.register(instance, callsign_client::RegisterOptions::new()).await.unwrap();
        let view = client.service(ServiceKey::new("orders").unwrap());
        view.ready(Duration::from_secs(5)).await.unwrap();
        Self { id, client, _registration: registration, view }
    }

    fn sees_all(&self) -> bool {
        let snapshot = self.view.snapshot();
        let listed: Vec<_> = snapshot.instances.iter().map(|one| one.id().as_str().to_owned()).collect();
        let mut once = listed.clone();
        once.dedup();
        assert_eq!(listed, once, "no instance twice");
        IDS.iter().all(|id| listed.iter().any(|one| one == id))
    }
}

/// Restarts the processes one after the other over what `backend` makes; nobody who runs goes missing meanwhile.
async fn roll(fleet: &mut [Process], backend: impl Fn() -> Arc<dyn Backend>) {
    for id in IDS {
        // The new one runs before the old one goes, as in any rolling deployment.
        let next = Process::start(id, backend()).await;
        let old = fleet.iter().position(|one| one.id == id).unwrap();
        drop(std::mem::replace(&mut fleet[old], next));
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(10) {
            sleep(Duration::from_millis(100)).await;
            for process in fleet.iter() {
                let fresh = process.id == id && start.elapsed() < Duration::from_secs(2);
                assert!(
                    fresh || process.sees_all(),
                    "`{}` misses somebody: {:?}",
                    process.id,
                    process.view.snapshot()
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_moves_from_one_registry_to_another_without_missing_anybody() {
    let (old, new) = (Store::new(), Store::new());
    let memory =
        |store: &Store, name: &str| -> Arc<dyn Backend> { Arc::new(Memory::new(store.clone(), name)) };
    let union = |first: (&str, &Store), second: (&str, &Store)| -> Arc<dyn Backend> {
        let failover = Failover::builder("moving")
            .member(first.0, memory(first.1, first.0))
            .member(second.0, memory(second.1, second.0))
            .settings(Settings::default().with_topology(Topology::Union))
            .build();
        Arc::new(failover.unwrap())
    };
    let mut fleet = Vec::new();
    for id in IDS {
        fleet.push(Process::start(id, memory(&old, "old")).await);
    }
    sleep(Duration::from_secs(1)).await;
    roll(&mut fleet, || union(("old", &old), ("new", &new))).await;
    roll(&mut fleet, || union(("new", &new), ("old", &old))).await;
    roll(&mut fleet, || memory(&new, "new")).await;
    for process in &fleet {
        process.client.backend().probe(callsign_core::Probe::Authority).await.unwrap();
    }
    sleep(Duration::from_secs(20)).await;
    let orders = ServiceKey::new("orders").unwrap();
    let listed = async |store: &Store| {
        memory(store, "look").list(&orders, Read::Quorum).await.unwrap().instances.len()
    };
    assert_eq!((listed(&old).await, listed(&new).await), (0, 3));
}
