//! A fleet of which each half reaches another registry.

use std::time::Duration;

use callsign_failover::Topology;
use tokio::time::sleep;

use super::availability::RETURNED;
use crate::site::{BACKUP, MAIN};
use crate::support::Trouble;
use crate::world::World;

/// Within the time for which a view keeps who is no longer listed and answers: 5 min.
const LASTS: Duration = Duration::from_secs(120);

pub(crate) async fn each_half_reaches_another(topology: Topology) {
    let world = World::begin(topology).await;
    let sites = world.owners.values().map(|owner| &owner.site);
    for (nth, site) in sites.chain(world.onlookers.iter().map(|one| &one.site)).enumerate() {
        site.way(if nth % 2 == 0 { MAIN } else { BACKUP }).set(Trouble::Silent);
    }
    sleep(LASTS).await;
    world.nobody_is_missing().unwrap();
    if topology == Topology::Standby {
        // Who was written and read apart is so until all have returned to the same one: a documented limit.
        world.trouble(MAIN, Trouble::None);
        world.trouble(BACKUP, Trouble::None);
        world.until("all together again", RETURNED, World::well).await;
    }
    world.end().await;
}
