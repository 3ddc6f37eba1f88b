//! Owners that come and go while a registry is away.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callsign_client::RegistrationState;
use callsign_core::{Instance, InstanceId, Pair, Record, Registry, ServiceKey, Ttl};
use callsign_failover::Topology;
use callsign_memory::{Fault, Memory};
use tokio::time::{Instant, sleep};

use super::availability::{REFUSED, RETURNED};
use crate::owner::TTL;
use crate::site::{BACKUP, MAIN};
use crate::world::{World, id, orders};

const SECOND: Duration = Duration::from_secs(1);
const REGISTERED_AGAIN: Duration = Duration::from_secs(TTL.as_secs() / 3 + 5);
/// How long one that has crashed may be shown.
const GONE: Duration = Duration::from_secs(TTL.as_secs() + 2);

/// The registry has a record that its owner would not write: what is left of a former life of his, with a fresh lease,
/// as after a restart that begins all leases anew.
async fn left_over(world: &World, member: usize, id: &InstanceId, pair: Pair) {
    let instance =
        Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").pair(pair).build().unwrap();
    let store = Memory::new(world.stores[member].clone(), "past");
    store.register(&Record::new(instance, Ttl::new(TTL).unwrap())).await.unwrap();
}

fn pair_of(world: &World, id: &InstanceId) -> Pair {
    world.book.expected(&orders())[id]
}

fn shown_by_anybody(world: &World, service: &ServiceKey, id: &InstanceId) -> Result<(), String> {
    let shows = world.onlookers.iter().find(|one| one.shown(service).contains_key(id));
    shows.map_or(Ok(()), |one| Err(format!("{} shows {id}", one.name)))
}

/// For a minute nobody shows it.
async fn stays_away(world: &World, id: &InstanceId) {
    let begin = Instant::now();
    while begin.elapsed() < 60 * SECOND {
        shown_by_anybody(world, &orders(), id).unwrap();
        sleep(SECOND / 20).await;
    }
}

pub(crate) async fn crashed_in_the_outage(topology: Topology) {
    let mut world = World::begin(topology).await;
    let victim = id("o-00");
    let begin = Instant::now();
    let outage = world.fault(MAIN, Fault::Unavailable);
    world.until_left(MAIN, begin, REFUSED).await;
    world.until_full(BACKUP, REGISTERED_AGAIN).await;
    let pair = pair_of(&world, &victim);
    world.take(&victim).crash();
    world.until("gone", GONE, |world| shown_by_anybody(world, &orders(), &victim)).await;
    // The restart of the registry has begun all leases anew.
    outage.heal();
    left_over(&world, MAIN, &victim, pair).await;
    stays_away(&world, &victim).await;
    world.end().await;
}

pub(crate) async fn left_in_the_outage(topology: Topology) {
    let mut world = World::begin(topology).await;
    let victim = id("o-00");
    let begin = Instant::now();
    let outage = world.fault(MAIN, Fault::Unavailable);
    world.until_left(MAIN, begin, REFUSED).await;
    world.until_full(BACKUP, REGISTERED_AGAIN).await;
    let pair = pair_of(&world, &victim);
    let departure = world.take(&victim).leave().await;
    assert!(departure.is_clean(), "one of two registries was there: {departure:?}");
    outage.heal();
    left_over(&world, MAIN, &victim, pair).await;
    stays_away(&world, &victim).await;
    assert!(!world.listed(MAIN, &orders()).await.contains_key(&victim), "its lease has ended");
    world.until_read(MAIN, RETURNED).await;
    world.end().await;
}

pub(crate) async fn restarted_in_the_outage(topology: Topology) {
    let mut world = World::begin(topology).await;
    let victim = id("o-00");
    let begin = Instant::now();
    let outage = world.fault(MAIN, Fault::Unavailable);
    world.until_left(MAIN, begin, REFUSED).await;
    world.until_full(BACKUP, REGISTERED_AGAIN).await;
    let pair = pair_of(&world, &victim);
    world.take(&victim).crash();
    world.start(&victim, &orders()).await;
    world.until("seen again", REGISTERED_AGAIN, World::views_agree).await;
    assert!(pair_of(&world, &victim).incarnation > pair.incarnation);
    outage.heal();
    left_over(&world, MAIN, &victim, pair).await;
    world.until_read(MAIN, RETURNED).await;
    world.end().await;
}

pub(crate) async fn two_of_one_id(topology: Topology) {
    let mut world = World::begin(topology).await;
    let loser = world.take(&id("o-00"));
    loser.is_of_no_account();
    world.start(&id("o-00"), &orders()).await;
    let begin = Instant::now();
    while !matches!(loser.registration.state(), RegistrationState::Rejected(_)) {
        let state = loser.registration.state();
        assert!(begin.elapsed() < 2 * SECOND, "who has lost its id is {state} after {:?}", begin.elapsed());
        sleep(SECOND / 100).await;
    }
    world.until("the winner is seen", REGISTERED_AGAIN, World::well).await;
    let winner = pair_of(&world, &id("o-00"));
    sleep(2 * TTL).await;
    // It says goodbye, which is none of the winner's.
    drop(loser);
    sleep(TTL).await;
    world.well().unwrap();
    assert_eq!(pair_of(&world, &id("o-00")), winner, "the winner had to write again");
    world.end().await;
}

pub(crate) async fn clock_set_back(topology: Topology) {
    let mut world = World::begin(topology).await;
    let victim = id("o-00");
    world.take(&victim).crash();
    // When it last ran its clock was ahead by an hour, and its record is there still.
    let ahead = SystemTime::now() + Duration::from_secs(3600);
    let micros = ahead.duration_since(UNIX_EPOCH).unwrap().as_micros();
    let former = Pair::new(u64::try_from(micros).unwrap(), 3);
    for member in [MAIN, BACKUP] {
        left_over(&world, member, &victim, former).await;
    }
    sleep(SECOND).await;
    world.start(&victim, &orders()).await;
    world.until("seen again", REGISTERED_AGAIN, World::well).await;
    assert!(pair_of(&world, &victim) > former, "the former life outranks the present one");
    world.end().await;
}
