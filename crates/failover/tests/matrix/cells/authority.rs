//! A registry that answers, and is not to be believed.

use std::time::Duration;

use callsign_failover::{MemberState, Topology};
use callsign_memory::Fault;
use tokio::time::{Instant, sleep};

use super::availability::RETURNED;
use crate::owner::TTL;
use crate::site::{BACKUP, MAIN};
use crate::support::Trouble;
use crate::world::{NOTICED, World, id, orders, payments};

const SECOND: Duration = Duration::from_secs(1);
/// How long a member may answer without a quorum and not be told from one with it.
const DEGRADED: Duration = Duration::from_millis(3_050);
const REGISTERED_AGAIN: Duration = Duration::from_secs(TTL.as_secs() / 3 + 5);

fn degraded(state: MemberState) -> bool {
    state == MemberState::Degraded
}

pub(crate) async fn quorum_lost(topology: Topology) {
    let mut world = World::begin(topology).await;
    let begin = Instant::now();
    world.trouble(MAIN, Trouble::Minority);
    world.until_member(MAIN, begin, DEGRADED, degraded).await;
    world.until_left(MAIN, begin, NOTICED).await;
    world.until_full(BACKUP, REGISTERED_AGAIN).await;
    world.churn().await;
    world.owners[&id("o-new")].site.way(MAIN).set(Trouble::Minority);
    world.churned().await;
    world.until("what has happened is seen", NOTICED + REGISTERED_AGAIN, World::views_agree).await;
    sleep(30 * SECOND).await;
    world.views_agree().unwrap();
    world.trouble(MAIN, Trouble::None);
    world.until_read(MAIN, RETURNED).await;
    world.end().await;
}

pub(crate) async fn minority(topology: Topology) {
    let mut world = World::begin(topology).await;
    let begin = Instant::now();
    // Two of the onlookers are cut off with one of the registry's servers.
    let cut_off = 0..2;
    for onlooker in &world.onlookers[cut_off.clone()] {
        onlooker.site.way(MAIN).set(Trouble::Minority);
    }
    let sees = |world: &World| {
        let late =
            world.onlookers[cut_off.clone()].iter().find(|one| one.first(MAIN, begin, degraded).is_none());
        late.map_or(Ok(()), |one| Err(format!("{} sees {:?}", one.name, one.look())))
    };
    world.until("degraded", DEGRADED, sees).await;
    for onlooker in &world.onlookers[cut_off.end..] {
        assert_eq!(onlooker.look().states[MAIN], MemberState::Healthy, "{}", onlooker.name);
    }
    world.churn().await;
    world.churned().await;
    if topology == Topology::Standby {
        // Nobody has registered where they read now; but nobody vanishes, either.
        sleep(NOTICED).await;
    } else {
        world.until("what has happened is seen", NOTICED, World::views_agree).await;
    }
    sleep(30 * SECOND).await;
    assert_eq!(world.onlookers[4].switches(begin), 0, "the majority is well");
    world.trouble(MAIN, Trouble::None);
    world.end_late(if topology == Topology::Standby { 60 * SECOND } else { 10 * SECOND }).await;
}

pub(crate) async fn restarted_empty(topology: Topology) {
    let world = World::begin(topology).await;
    let begin = Instant::now();
    let fault = world.fault(MAIN, Fault::Unavailable);
    sleep(3 * SECOND).await;
    world.stores[MAIN].wipe();
    fault.heal();
    let back = Instant::now();
    if topology != Topology::Standby {
        world.until_full(MAIN, REGISTERED_AGAIN + NOTICED).await;
    }
    if topology == Topology::Union {
        return world.end().await;
    }
    let read = |world: &World| {
        let reads = |member: usize| world.onlookers.iter().any(|one| one.look().active[member]);
        if reads(MAIN) { Ok(()) } else { Err("nobody reads it".to_owned()) }
    };
    world.until("it is read again", RETURNED, read).await;
    assert!(
        back.elapsed() >= 30 * SECOND,
        "read again after {:?}, before it has stayed well",
        back.elapsed()
    );
    let all = world.book.expected(&orders()).len() + world.book.expected(&payments()).len();
    let mut listed = 0;
    for service in [orders(), payments()] {
        listed += world.listed(MAIN, &service).await.len();
    }
    assert!(listed * 10 >= all * 9, "read again while it lists {listed} of {all}");
    world.until_read(MAIN, RETURNED).await;
    assert_eq!(world.switches(begin), 2, "there and back");
    world.end().await;
}
