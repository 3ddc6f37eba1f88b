//! A registry that does not answer, or not well.

use std::time::Duration;

use callsign_core::EventKind;
use callsign_failover::{MemberState, SwitchReason, Topology};
use callsign_memory::Fault;
use tokio::time::{Instant, sleep};

use crate::owner::TTL;
use crate::site::{BACKUP, MAIN, NAMES};
use crate::support::Trouble;
use crate::world::{NOTICED, World, id, orders};

const SECOND: Duration = Duration::from_secs(1);
/// How long a registry that is refused at once may be read from.
pub(crate) const REFUSED: Duration = Duration::from_millis(1_050);
/// How long until everybody is registered at the next member: a third of the ttl, and the back-off of who writes.
const REGISTERED_AGAIN: Duration = Duration::from_secs(TTL.as_secs() / 3 + 5);
/// Until a member that is well again is read again: it is probed, has to stay well, and to be whole.
pub(crate) const RETURNED: Duration = Duration::from_secs(120);

pub(crate) fn left(state: MemberState) -> bool {
    state != MemberState::Healthy
}

/// The registry is well again, and read again where one has to be chosen: there and back is all.
async fn returns(world: &World, begin: Instant) {
    world.until_read(MAIN, RETURNED).await;
    if world.topology == Topology::Union {
        // It reads whoever answers: it turns away from nobody, and returns to nobody.
        return;
    }
    let switches = world.switches(begin);
    assert_eq!(switches, 2, "{switches} switches, there and back are 2");
    tells(world, begin, "main to backup", |kind| is_switch(kind, MAIN, SwitchReason::Outage));
    tells(world, begin, "backup to main", |kind| is_switch(kind, BACKUP, SwitchReason::Preferred));
}

fn is_switch(kind: &EventKind, from_member: usize, because: SwitchReason) -> bool {
    matches!(kind, EventKind::Switched { from, reason, .. } if **from == *NAMES[from_member] && *reason == because)
}

/// Every onlooker has an event like this.
pub(crate) fn tells(world: &World, since: Instant, what: &str, matches: impl Fn(&EventKind) -> bool) {
    for onlooker in &world.onlookers {
        let told = onlooker.told(since, &matches);
        assert!(told, "{} does not tell `{what}`: {:?}", onlooker.name, onlooker.log().events);
    }
}

pub(crate) async fn killed(topology: Topology) {
    let world = World::begin(topology).await;
    let begin = Instant::now();
    let fault = world.fault(MAIN, Fault::Unavailable);
    world.until_member(MAIN, begin, REFUSED, left).await;
    world.until_left(MAIN, begin, REFUSED).await;
    world.until_full(BACKUP, REGISTERED_AGAIN).await;
    world.until("seen by all", REGISTERED_AGAIN, World::views_agree).await;
    sleep(30 * SECOND).await;
    fault.heal();
    returns(&world, begin).await;
    world.end().await;
}

pub(crate) async fn frozen(topology: Topology) {
    let world = World::begin(topology).await;
    let begin = Instant::now();
    let fault = world.fault(MAIN, Fault::Frozen);
    world.until_left(MAIN, begin, NOTICED).await;
    sleep((30 * SECOND).saturating_sub(begin.elapsed())).await;
    fault.heal();
    let thawed = Instant::now();
    if topology != Topology::Union {
        sleep(20 * SECOND).await;
        assert_eq!(world.switches(thawed), 0, "it is read again before it has stayed well");
    }
    returns(&world, begin).await;
    world.end().await;
}

pub(crate) async fn black_hole(topology: Topology) {
    let world = World::begin(topology).await;
    let begin = Instant::now();
    world.trouble(MAIN, Trouble::Silent);
    world.until_left(MAIN, begin, NOTICED).await;
    world.until_full(BACKUP, REGISTERED_AGAIN).await;
    sleep(30 * SECOND).await;
    world.trouble(MAIN, Trouble::None);
    returns(&world, begin).await;
    world.end().await;
}

pub(crate) async fn answers_lost(topology: Topology) {
    let mut world = World::begin(topology).await;
    let begin = Instant::now();
    world.trouble(MAIN, Trouble::Deaf);
    let newcomer = id("o-new");
    world.start(&newcomer, &orders()).await;
    world.owners[&newcomer].site.way(MAIN).set(Trouble::Deaf);
    let registered = |world: &World| match world.owners[&newcomer].registration.state() {
        state if state.is_registered() => Ok(()),
        state => Err(state.to_string()),
    };
    // Who writes to all does not wait for one.
    let bound = if topology == Topology::Standby { NOTICED + REGISTERED_AGAIN } else { SECOND / 2 };
    world.until("the newcomer is registered", bound, registered).await;
    world.until_left(MAIN, begin, NOTICED).await;
    sleep(20 * SECOND).await;
    world.trouble(MAIN, Trouble::None);
    returns(&world, begin).await;
    world.end().await;
}

pub(crate) async fn reset(topology: Topology) {
    let world = World::begin(topology).await;
    let begin = Instant::now();
    world.trouble(MAIN, Trouble::Refused);
    world.until_left(MAIN, begin, REFUSED).await;
    sleep(10 * SECOND).await;
    world.trouble(MAIN, Trouble::None);
    returns(&world, begin).await;
    world.end().await;
}

pub(crate) async fn slow_then_lossy(topology: Topology) {
    let world = World::begin(topology).await;
    let begin = Instant::now();
    world.trouble(MAIN, Trouble::Slow(2 * SECOND));
    world.until_member(MAIN, begin, NOTICED, left).await;
    sleep(20 * SECOND).await;
    world.trouble(MAIN, Trouble::Lossy(50));
    sleep(60 * SECOND).await;
    let switches = world.switches(begin);
    assert!(switches <= 3 || topology == Topology::Union, "{switches} switches: it flaps");
    world.end().await;
}

pub(crate) async fn rolling_restart(topology: Topology) {
    let world = World::begin(topology).await;
    let begin = Instant::now();
    for _ in 0..3 {
        // One of three members restarts: connections break, and the next one is there.
        world.trouble(MAIN, Trouble::Refused);
        sleep(SECOND / 10).await;
        world.trouble(MAIN, Trouble::None);
        sleep(5 * SECOND).await;
    }
    assert_eq!(world.switches(begin), 0, "no member was away");
    world.end().await;
}

pub(crate) async fn flapping(topology: Topology) {
    let world = World::begin(topology).await;
    let begin = Instant::now();
    for _ in 0..60 {
        world.trouble(MAIN, Trouble::Refused);
        sleep(5 * SECOND).await;
        world.trouble(MAIN, Trouble::None);
        sleep(5 * SECOND).await;
    }
    let switches = world.switches(begin);
    assert!((1..=3).contains(&switches), "{switches} switches in ten minutes");
    world.end().await;
}
