//! The steps of `docs/guides/migrate.md`, taken by a fleet, process by process, while everybody looks everybody up.

#![cfg(all(feature = "failover", feature = "memory"))]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::time::Duration;

use callsign::core::{Discovery, Figment, Read};
use callsign::{Callsign, RegisterOptions, Registration, ServiceView};
use callsign_memory::{Memory, Store};
use figment::providers::{Format, Toml};
use tokio::time::{Instant, sleep};

const GUIDE: &str = include_str!("../../../docs/guides/migrate.md");
const FLEET: usize = 6;
const SOON: Duration = Duration::from_secs(5);
/// Between two looks of everybody at everybody.
const PACE: Duration = Duration::from_millis(10);

/// The configurations of the guide, in order, with registries that are here: what is told apart is told apart by name.
fn configurations() -> Vec<Figment> {
    let blocks = GUIDE.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.map(|block| Figment::from(Toml::string(&at_hand(block)))).collect()
}

fn at_hand(block: &str) -> String {
    let mut lines = Vec::new();
    let mut kept = true;
    for line in block.lines() {
        if line.starts_with('[') {
            kept = !matches!(line, "[registries.old]" | "[registries.new]");
            lines.push(line.to_owned());
            if let Some(name) = line.strip_prefix("[registries.").filter(|_| !kept) {
                lines
                    .push(format!("type = \"memory\"\nstore = \"migration-{}\"", name.trim_end_matches(']')));
            }
        } else if kept {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n")
}

/// A process of the fleet: it registers itself, and looks the others up.
struct Process {
    id: String,
    view: ServiceView,
    registration: Registration,
    _callsign: Callsign,
}

impl Process {
    async fn start(id: String, configuration: &Figment) -> Self {
        let callsign = Callsign::builder().figment(configuration.clone()).build().unwrap();
        let view = callsign.service("orders").unwrap();
        view.ready(SOON).await.unwrap();
        let me = callsign.instance("orders").id(&*id).endpoint("http://127.0.0.1:1").build().unwrap();
        let registration = callsign.register_with(me, RegisterOptions::new().required()).await.unwrap();
        Self { id, view, registration, _callsign: callsign }
    }

    fn lacks<'a>(&self, settled: impl IntoIterator<Item = &'a String>) -> Option<&'a String> {
        let seen = self.view.snapshot();
        settled.into_iter().find(|id| seen.get(id).is_none())
    }
}

/// The processes that run, and who has to be seen by all of them.
#[derive(Default)]
struct Fleet {
    running: Vec<Process>,
    settled: BTreeSet<String>,
    looks: usize,
}

impl Fleet {
    /// For so long everybody looks everybody up, and nobody who is settled is missing.
    async fn look_for(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            for process in &self.running {
                let missing = process.lacks(&self.settled);
                assert!(missing.is_none(), "{} does not see {missing:?}", process.id);
                self.looks += 1;
            }
            sleep(PACE).await;
        }
    }

    async fn start(&mut self, id: String, configuration: &Figment) {
        let process = Process::start(id.clone(), configuration).await;
        let others = self.settled.iter().cloned().collect::<Vec<_>>();
        // A process takes calls when it sees the others.
        process.view.wait_for(SOON, |seen| others.iter().all(|id| seen.get(id).is_some())).await.unwrap();
        self.running.push(process);
        let begin = Instant::now();
        while self.running.iter().any(|process| process.lacks([&id]).is_some()) {
            assert!(begin.elapsed() < SOON, "not everybody sees {id} within {SOON:?}");
            self.look_for(PACE).await;
        }
        self.settled.insert(id);
    }

    async fn stop(&mut self, nth: usize) {
        let process = self.running.remove(nth);
        self.settled.remove(&process.id);
        process.registration.drain(Duration::from_secs(1)).await.into_result().unwrap();
    }

    /// Everybody is replaced by a process with this configuration, one after the other.
    async fn roll_out(&mut self, step: usize, configuration: &Figment) {
        for nth in 0..FLEET {
            self.start(format!("orders-{nth}-of-step-{step}"), configuration).await;
            self.stop(0).await;
            self.look_for(Duration::from_secs(1)).await;
        }
    }
}

async fn listed(store: &str) -> BTreeSet<String> {
    let reader = Memory::new(Store::named(store), "reader");
    let orders = callsign::ServiceKey::new("orders").unwrap();
    let listing = reader.list(&orders, Read::Quorum).await.unwrap();
    listing.instances.iter().map(|instance| instance.id().to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_fleet_moves_from_one_registry_to_another_as_the_guide_says_and_nobody_is_missed_meanwhile() {
    let [before, moving, after] = configurations().try_into().expect("three configurations");
    // Here for as long as the test, whoever uses them.
    let _stores = ["migration-old", "migration-new"].map(Store::named);
    let mut fleet = Fleet::default();
    for nth in 0..FLEET {
        fleet.start(format!("orders-{nth}"), &before).await;
    }
    assert_eq!((listed("migration-old").await.len(), listed("migration-new").await.len()), (FLEET, 0));

    fleet.roll_out(1, &moving).await;
    assert_eq!(listed("migration-old").await, fleet.settled);
    assert_eq!(listed("migration-new").await, fleet.settled);

    // And back, and on again: each step can be undone.
    fleet.roll_out(2, &before).await;
    fleet.roll_out(3, &moving).await;
    fleet.look_for(Duration::from_secs(60)).await;

    fleet.roll_out(4, &after).await;
    assert_eq!(listed("migration-new").await, fleet.settled);
    fleet.look_for(Duration::from_secs(60)).await;
    assert!(listed("migration-old").await.is_empty(), "somebody is left behind");
    assert!(fleet.looks > 10_000);
}
