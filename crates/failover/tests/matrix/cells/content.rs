//! A registry that answers, and what it lists is wrong.

use std::time::Duration;

use callsign_core::{Instance, InstanceKey, Record, Registry, Ttl};
use callsign_failover::Topology;
use callsign_memory::Fault;
use tokio::time::sleep;

use crate::owner::TTL;
use crate::site::{BACKUP, MAIN, NAMES, Site};
use crate::support::Trouble;
use crate::world::{World, id, orders};

const SECOND: Duration = Duration::from_secs(1);
const REGISTERED_AGAIN: Duration = Duration::from_secs(TTL.as_secs() / 3 + 5);

pub(crate) async fn emptied(topology: Topology) {
    let world = World::begin(topology).await;
    // It lists a third of what it has, and says that this is all.
    let partial = world.fault(MAIN, Fault::Partial);
    sleep(20 * SECOND).await;
    world.nobody_is_missing().unwrap();
    partial.heal();
    world.until("well", REGISTERED_AGAIN, World::well).await;
    // An operator deletes everything.
    world.delete_all(MAIN, &orders());
    world.until_full(MAIN, REGISTERED_AGAIN).await;
    world.nobody_is_missing().unwrap();
    world.end().await;
}

pub(crate) async fn all_leases_ended(topology: Topology) {
    let world = World::begin(topology).await;
    // For longer than any lease nobody can renew, and then all leases have ended.
    let frozen = world.fault(MAIN, Fault::Frozen);
    sleep(TTL + 4 * SECOND).await;
    world.until_full(BACKUP, Duration::ZERO).await;
    world.nobody_is_missing().unwrap();
    frozen.heal();
    assert!(world.listed(MAIN, &orders()).await.is_empty(), "no lease has ended");
    sleep(TTL).await;
    world.nobody_is_missing().unwrap();
    world.end().await;
}

pub(crate) async fn half_written(topology: Topology) {
    let mut world = World::begin(topology).await;
    world.trouble(BACKUP, Trouble::WritesFail);
    world.start(&id("o-new"), &orders()).await;
    world.owners[&id("o-new")].site.way(BACKUP).set(Trouble::WritesFail);
    world.owners[&id("o-01")].update(7);
    world.until("seen", SECOND, World::views_agree).await;

    // What a receipt says, asked by somebody whom nobody looks up.
    let site = Site::new(topology, &world.stores, 0, None);
    site.way(BACKUP).set(Trouble::WritesFail);
    let instance = Instance::builder("half").id("h").endpoint("http://127.0.0.1:1").build().unwrap();
    let record = Record::new(instance, Ttl::from_secs(3600).unwrap());
    let receipt = site.failover.register(&record).await.unwrap();
    let pending: Vec<_> = receipt.pending.iter().map(|(name, _)| &**name).collect();
    assert_eq!(pending, [NAMES[BACKUP]], "who has not taken it");
    assert!(receipt.committed);

    sleep(60 * SECOND).await;
    assert!(!world.listed(BACKUP, &orders()).await.contains_key(&id("o-new")), "nothing was refused");
    world.trouble(BACKUP, Trouble::None);
    site.way(BACKUP).set(Trouble::None);
    world.until_full(BACKUP, REGISTERED_AGAIN).await;
    let service = record.key().service.clone();
    let repaired = async {
        while world.listed(BACKUP, &service).await.is_empty()
            || !site.failover.renew(&record).await.unwrap().pending.is_empty()
        {
            site.failover.renew(&record).await.unwrap();
            sleep(SECOND / 10).await;
        }
    };
    let repaired = tokio::time::timeout(TTL, repaired).await;
    assert!(repaired.is_ok(), "no renewal repairs what was refused");
    world.end().await;
}

pub(crate) async fn undecodable(topology: Topology) {
    let world = World::begin(topology).await;
    let victim = id("o-00");
    world.stores[MAIN].garbage(&InstanceKey::new(orders(), victim.clone()));
    let reported = |world: &World| {
        let mut views = world.onlookers.iter().map(|one| one.view(&orders()).snapshot());
        // A union has it from the other member.
        let skips = views.all(|seen| seen.skipped.iter().any(|skipped| *skipped.id == *victim.as_str()));
        if skips || topology == Topology::Union { Ok(()) } else { Err("nobody reports it".to_owned()) }
    };
    world.until("reported", SECOND, reported).await;
    world.nobody_is_missing().unwrap();
    world.end().await;
}
