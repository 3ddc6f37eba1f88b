//! What the rules say, one at a time.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, MemberState, SwitchReason};
use tokio::time::Instant;

use super::{Evidence, Group, Machine, Told, Word};
use crate::Settings;

const SECOND: Duration = Duration::from_secs(1);

fn refused() -> Error {
    Error::unavailable("refused")
}

/// Until `machine` is down.
fn kill(machine: &mut Machine, settings: &Settings, now: &mut Instant) {
    while machine.state() != MemberState::Down {
        *now += settings.suspect_interval;
        machine.learn(Evidence::Unreachable(refused()), settings, *now);
    }
}

/// Until `machine` is healthy again.
fn revive(machine: &mut Machine, settings: &Settings, now: &mut Instant) {
    while machine.state() != MemberState::Healthy {
        *now += SECOND;
        machine.learn(Evidence::Probed, settings, *now);
        machine.learn(Evidence::Whole, settings, *now);
        machine.tick(settings, Duration::ZERO, *now);
    }
}

#[test]
fn each_departure_within_ten_minutes_doubles_the_time_that_a_member_has_to_stay() {
    let (settings, mut now) = (Settings::default(), Instant::now());
    let mut machine = Machine::new(now);
    for expected in [30, 60, 120] {
        kill(&mut machine, &settings, &mut now);
        assert_eq!(machine.dwell(&settings, Duration::ZERO, now), expected * SECOND);
        let begun = now;
        revive(&mut machine, &settings, &mut now);
        let took = now - begun;
        assert!((expected * SECOND..(expected + 10) * SECOND).contains(&took), "it was well after {took:?}");
    }
    now += 600 * SECOND;
    kill(&mut machine, &settings, &mut now);
    assert_eq!(
        machine.dwell(&settings, Duration::ZERO, now),
        30 * SECOND,
        "what was long ago does not count"
    );
    assert_eq!(machine.dwell(&settings, 60 * SECOND, now), 65 * SECOND, "leases may begin anew");
}

#[test]
fn nobody_is_returned_to_who_lists_too_few_of_those_that_are_shown() {
    let (settings, mut now) = (Arc::new(Settings::default()), Instant::now());
    let mut group = Group::new(2, settings.clone(), now);
    while group.choice().active() == 0 {
        now += settings.suspect_interval;
        group.learn(0, Evidence::Unreachable(refused()), now);
    }
    let stays = |group: &mut Group, coverage: f64, now: &mut Instant| {
        let mut told = Vec::new();
        for _ in 0..200 {
            *now += SECOND;
            for evidence in [Evidence::Probed, Evidence::Whole] {
                told.extend(group.learn(0, evidence, *now));
            }
            told.extend(group.says(0, Word { coverage, ..Word::default() }, *now));
            told.extend(group.tick(*now));
        }
        told.into_iter().find_map(|told| match told {
            Told::Switched { to, reason, .. } => Some((to, reason)),
            _ => None,
        })
    };
    assert_eq!(stays(&mut group, 0.89, &mut now), None);
    assert_eq!(group.members()[0].state(), MemberState::Healthy);
    assert_eq!(stays(&mut group, 0.9, &mut now), Some((0, SwitchReason::Preferred)));
}

#[test]
fn a_lost_quorum_is_noticed_whatever_fails_beside_the_probes() {
    let (settings, mut now) = (Settings::default(), Instant::now());
    let mut machine = Machine::new(now);
    for evidence in [
        Evidence::NoProof(refused()),
        Evidence::Trouble(refused()),
        Evidence::Answer,
        Evidence::NoProof(refused()),
    ] {
        now += SECOND;
        machine.learn(evidence, &settings, now);
    }
    assert_eq!(machine.state(), MemberState::Degraded);
}
