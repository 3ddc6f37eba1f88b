//! One member that is down, hangs or panics is no reason for an application not to start: what it registers is there,
//! and what it looks for is seen.

#![expect(clippy::unwrap_used, reason = "a test")]

#[allow(dead_code, reason = "the matrix makes more of it")]
mod support;

use std::sync::Arc;
use std::time::Duration;

use callsign_client::{Client, RegisterOptions, RegistrationState};
use callsign_core::{Authority, Backend, Discovery, Instance, Read, Record, Registry, ServiceKey, Ttl};
use callsign_failover::{Failover, Settings, Topology};
use callsign_memory::{Memory, Store};
use support::{Through, Trouble, Way};
use tokio::time::{Instant, sleep, timeout};

const TOPOLOGIES: [Topology; 3] = [Topology::Mirror, Topology::Standby, Topology::Union];
/// What a member may be like while nothing can be had of it.
const OUT_OF_ORDER: [Trouble; 6] =
    [Trouble::Refused, Trouble::Silent, Trouble::Hanging, Trouble::Deaf, Trouble::Panicking, Trouble::Denied];
/// How long a member may be silent before it is left.
const NOTICED: Duration = Duration::from_secs(4);
/// What a test on paused time takes for itself.
const SLACK: Duration = Duration::from_millis(500);

/// Two registries, and what is between them and an application.
struct Stage {
    stores: [Store; 2],
    ways: [Way; 2],
    failover: Arc<Failover>,
}

impl Stage {
    fn new(topology: Topology) -> Self {
        let stores = [Store::new(), Store::new()];
        let names = ["main", "backup"];
        let ways = names.map(|name| Way::new(name.into()));
        let mut builder = Failover::builder("both").settings(Settings::default().with_topology(topology));
        for nth in 0..2 {
            let memory = Memory::new(stores[nth].clone(), names[nth]);
            builder = builder.member(names[nth], Arc::new(Through::new(Arc::new(memory), ways[nth].clone())));
        }
        Self { stores, ways, failover: Arc::new(builder.build().unwrap()) }
    }

    /// Somebody else, who was there before.
    async fn with_neighbour(self) -> Self {
        for store in &self.stores {
            let other = Memory::new(store.clone(), "other");
            let neighbour = Instance::builder("orders").id("neighbour").endpoint("http://127.0.0.1:2");
            let record = Record::new(neighbour.build().unwrap(), Ttl::from_secs(600).unwrap());
            other.register(&record).await.unwrap();
        }
        self
    }

    fn client(&self) -> Client {
        Client::new(self.failover.clone()).unwrap()
    }

    /// Whom a registry lists, asked past everything.
    async fn listed(&self, nth: usize) -> Vec<String> {
        let reader = Memory::new(self.stores[nth].clone(), "reader");
        let listing = reader.list(&orders(), Read::Quorum).await.unwrap();
        listing.instances.iter().map(|instance| instance.id().to_string()).collect()
    }
}

fn orders() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

fn instance(id: &str) -> Instance {
    Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").build().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_application_starts_registers_and_sees_whatever_one_member_is_like() {
    for topology in TOPOLOGIES {
        for trouble in OUT_OF_ORDER {
            for broken in [0, 1] {
                let what = format!("{topology:?}, {trouble:?}, member {broken}");
                let stage = Stage::new(topology).with_neighbour().await;
                stage.ways[broken].set(trouble);
                let begin = Instant::now();
                let client = stage.client();
                let view = client.service(orders());
                let registration = client.register(instance("me"), RegisterOptions::new()).await.unwrap();
                // `register` waits for 5 s at the most, and who has all members does not wait for the broken one.
                let waits_for_it = topology == Topology::Standby && broken == 0;
                let bound = if waits_for_it { NOTICED + Duration::from_secs(1) } else { SLACK };
                assert!(begin.elapsed() <= bound, "{what}: `register` took {:?}", begin.elapsed());
                let registered = registration.wait_for(RegistrationState::is_registered);
                let registered = timeout(NOTICED * 2, registered).await;
                assert!(registered.is_ok(), "{what}: the registration is {}", registration.state());
                let waits = view.wait_for(NOTICED * 2, |seen| seen.get("me").is_some()).await;
                let seen = waits.unwrap_or_else(|error| panic!("{what}: {error}"));
                assert!(seen.get("neighbour").is_some(), "{what}: the neighbour is not seen");
                assert!(seen.freshness.is_live(), "{what}: the view is {:?}", seen.freshness);
                assert_eq!(seen.authority, Some(Authority::Quorum), "{what}");
                assert!(begin.elapsed() <= NOTICED * 2, "{what}: took {:?}", begin.elapsed());
                assert!(stage.listed(1 - broken).await.contains(&"me".to_owned()), "{what}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_application_starts_while_every_member_is_out_of_order_and_registers_when_one_is_back() {
    for topology in TOPOLOGIES {
        for trouble in OUT_OF_ORDER {
            if matches!(trouble, Trouble::Hanging | Trouble::Panicking) {
                // Its calls never end, or its tasks: nothing is promised of one that was like that and is not any more.
                continue;
            }
            for back in [0, 1] {
                let what = format!("{topology:?}, {trouble:?}, member {back} is back first");
                let stage = Stage::new(topology).with_neighbour().await;
                stage.ways.iter().for_each(|way| way.set(trouble));
                let begin = Instant::now();
                let client = stage.client();
                let view = client.service(orders());
                let registration = client.register(instance("me"), RegisterOptions::new()).await.unwrap();
                assert!(begin.elapsed() <= Duration::from_secs(6), "{what}: {:?}", begin.elapsed());
                assert!(!registration.state().is_registered(), "{what}");
                sleep(Duration::from_secs(60)).await;
                assert!(!view.snapshot().freshness.is_live(), "{what}");

                stage.ways[back].set(Trouble::None);
                // The longest pause between two probes of one that is down, three of them, and the back-off of who writes.
                let back_within = Duration::from_secs(3 * 10 + 10);
                let registered = registration.wait_for(RegistrationState::is_registered);
                let registered = timeout(back_within, registered).await;
                assert!(registered.is_ok(), "{what}: the registration is {}", registration.state());
                let sees = view.wait_for(back_within, |seen| seen.get("neighbour").is_some()).await;
                sees.unwrap_or_else(|error| panic!("{what}: {error}"));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn building_asks_nobody() {
    for topology in TOPOLOGIES {
        let stage = Stage::new(topology);
        assert_eq!(stage.ways.each_ref().map(Way::calls), [0, 0], "{topology:?}");
    }
}

#[test]
fn building_needs_no_runtime_to_fail_without_one() {
    let memory: Arc<dyn Backend> = Arc::new(Memory::new(Store::new(), "main"));
    // It has tasks to own, or it has not; it does not panic.
    let _ = Failover::builder("both").member("main", memory).build();
}
