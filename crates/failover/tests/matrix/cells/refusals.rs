//! A registry that is there, and refuses.

use std::time::Duration;

use callsign_core::EventKind;
use callsign_failover::{MemberState, Topology};
use tokio::time::{Instant, sleep};

use super::availability::{RETURNED, tells};
use crate::onlooker::Onlooker;
use crate::site::{BACKUP, MAIN, NAMES};
use crate::support::Trouble;
use crate::world::{NOTICED, World};

const SECOND: Duration = Duration::from_secs(1);

/// How much was asked of a registry by an onlooker.
fn asked(onlooker: &Onlooker) -> usize {
    let way = onlooker.site.way(MAIN);
    way.calls() + way.watches()
}

pub(crate) async fn forbidden(topology: Topology) {
    let world = World::begin(topology).await;
    let begin = Instant::now();
    world.trouble(MAIN, Trouble::Denied);
    world.until_left(MAIN, begin, NOTICED).await;
    world.until_read(BACKUP, NOTICED).await;
    sleep(10 * SECOND).await;
    let before: Vec<_> = world.onlookers.iter().map(asked).collect();
    sleep(60 * SECOND).await;
    for (onlooker, before) in world.onlookers.iter().zip(before) {
        let more = asked(onlooker) - before;
        assert!(
            more <= 12,
            "{} has asked {more} times within a minute, where asking is no use",
            onlooker.name
        );
    }
    let misconfigured =
        |kind: &EventKind| matches!(kind, EventKind::ConfigError { member } if **member == *NAMES[MAIN]);
    tells(&world, begin, "main is misconfigured", misconfigured);
    world.trouble(MAIN, Trouble::None);
    world.until_read(MAIN, RETURNED).await;
    world.end().await;
}

pub(crate) async fn too_many_requests(topology: Topology) {
    let world = World::begin(topology).await;
    let begin = Instant::now();
    world.trouble(MAIN, Trouble::Limited);
    sleep(20 * SECOND).await;
    for onlooker in &world.onlookers {
        let down = onlooker.first(MAIN, begin, |state| state == MemberState::Down);
        assert!(down.is_none(), "{} thinks that who asks for less is down", onlooker.name);
        // Two services and a probe: no pause is shorter than what was asked for.
        let asked = asked(onlooker);
        assert!(asked <= 120, "{} has asked {asked} times within 20 s", onlooker.name);
    }
    assert_eq!(world.switches(begin), 0, "who asks for less is there");
    world.end().await;
}
