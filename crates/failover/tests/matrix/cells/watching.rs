//! Watches that miss something, and watches of very many.

use std::time::Duration;

use callsign_client::{Client, RegisterOptions};
use callsign_core::{Instance, ServiceKey};
use callsign_failover::Topology;
use tokio::time::{Instant, sleep};

use crate::site::{MAIN, Site};
use crate::support::Trouble;
use crate::world::World;

const SECOND: Duration = Duration::from_secs(1);
/// After which a watch that says nothing is opened again.
const SILENT: Duration = Duration::from_secs(30);

pub(crate) async fn silent_watch(topology: Topology) {
    let mut world = World::begin(topology).await;
    for onlooker in &world.onlookers {
        onlooker.site.way(MAIN).set(Trouble::Mute);
    }
    world.churn().await;
    world.churned().await;
    world.until("what has happened is seen", SILENT, World::views_agree).await;
    world.end_late(SILENT).await;
}

pub(crate) async fn changes_missed(topology: Topology) {
    let mut world = World::begin(topology).await;
    let begin = Instant::now();
    for onlooker in &world.onlookers {
        onlooker.site.way(MAIN).set(Trouble::Refused);
    }
    world.churn().await;
    sleep(SECOND / 4).await;
    for onlooker in &world.onlookers {
        onlooker.site.way(MAIN).set(Trouble::None);
    }
    world.churned().await;
    world.until("what has happened is seen", 5 * SECOND, World::views_agree).await;
    assert!(begin.elapsed() < 7 * SECOND);
    world.end().await;
}

/// How many are started again at once, by how many processes.
const MANY: usize = 1_000;
const PROCESSES: usize = 10;

pub(crate) async fn a_thousand_at_once(topology: Topology) {
    let world = World::begin(topology).await;
    let service = ServiceKey::new("crowd").unwrap();
    let reader = Site::new(topology, &world.stores, 1, None);
    let client = Client::builder(reader.backend()).prober(world.book.clone()).build().unwrap();
    let view = client.service(&service);
    for life in 0..2 {
        let begin = Instant::now();
        let before = view.snapshot().seq;
        let (mut sites, mut lives) = (Vec::new(), Vec::new());
        for process in 0..PROCESSES {
            let site = Site::new(topology, &world.stores, process as u64, None);
            let client = Client::new(site.backend()).unwrap();
            for nth in (process..MANY).step_by(PROCESSES) {
                let instance = Instance::builder(&service).id(format!("c-{nth:03}"));
                let instance = instance.endpoint("http://127.0.0.1:1").weight(life + 1).build().unwrap();
                let options = RegisterOptions::new().with_wait(Duration::ZERO);
                lives.push(client.register(instance, options).await.unwrap());
            }
            sites.push(site);
        }
        let seen = view.wait_for(10 * SECOND, |seen| {
            seen.instances.len() == MANY && seen.instances.iter().all(|one| one.weight.get() == life + 1)
        });
        let seen = seen.await.unwrap();
        let views = seen.seq - before;
        let allowed = 5 + u64::try_from(begin.elapsed().as_millis() / 50).unwrap();
        assert!(views <= allowed, "{views} snapshots in {:?}, one in 50 ms is allowed", begin.elapsed());
        // They die without a word: nobody hears the goodbye of their handles.
        for site in &sites {
            site.set_all(Trouble::Hanging);
        }
    }
    sleep(SECOND).await;
    world.end().await;
}
