//! Single promises of a view; `schedules` has the rest.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callsign_core::{Authority, Error, Health, Instance, Listing, Pair, ServiceKey, Status, WatchEvent};
use tokio::time::Instant;

use super::machine::ViewMachine;
use super::step::Input;
use super::{Freshness, Protection};
use crate::prober::Probed;

fn machine() -> ViewMachine {
    ViewMachine::new(ServiceKey::new("orders").unwrap(), true)
}

fn listing(ids: std::ops::Range<u8>, revision: u64) -> Listing {
    let instance = |id: u8| {
        let builder = Instance::builder("orders").id(format!("{id:03}")).endpoint("http://127.0.0.1:1");
        let builder = builder.registered_at(SystemTime::UNIX_EPOCH).pair(Pair::new(1, 1));
        Arc::new(builder.build().unwrap())
    };
    Listing::new("main", Authority::Quorum, ids.map(instance).collect()).at(0, revision)
}

/// `listing`, in which a check of the registry's says that some fail.
fn failing(mut listing: Listing, ids: std::ops::Range<u8>) -> Listing {
    let failing = |instance: &Arc<Instance>| {
        let id: u8 = instance.id().as_str().parse().unwrap();
        let health = if ids.contains(&id) { Health::Critical } else { Health::Passing };
        Arc::new(instance.to_builder().health(health).build().unwrap())
    };
    listing.instances = listing.instances.iter().map(failing).collect();
    listing
}

fn routable(machine: &ViewMachine) -> usize {
    machine.shown().routable.len()
}

fn watch(listing: Listing) -> Input {
    Input::Watch(Ok(WatchEvent::Listing(listing)))
}

fn progress(authority: Authority) -> Input {
    Input::Watch(Ok(WatchEvent::Progress { authority, as_of: Instant::now() }))
}

#[test]
fn thirty_percent_within_ten_seconds_go_at_once_and_more_are_held() {
    let (mut machine, now) = (machine(), Instant::now());
    machine.step(watch(listing(0..100, 1)), now);
    machine.step(watch(listing(20..100, 2)), now);
    machine.step(watch(listing(30..100, 3)), now);
    assert_eq!((machine.shown().instances.len(), machine.shown().protection), (70, Protection::None));
    machine.step(watch(listing(31..100, 4)), now + Duration::from_secs(9));
    assert_eq!(machine.shown().held.len(), 1);
    // While one is held, the others are as well, however few.
    machine.step(watch(listing(41..100, 5)), now + Duration::from_secs(11));
    assert_eq!((machine.shown().instances.len(), machine.shown().held.len()), (70, 11));
}

#[test]
fn nobody_is_taken_for_dead_because_an_outage_has_ended_the_lease() {
    let (mut machine, now) = (machine(), Instant::now());
    machine.step(watch(listing(0..100, 1)), now);
    machine.step(Input::Watch(Err(Error::unavailable("reset"))), now);
    let healed = now + Duration::from_secs(3);
    machine.step(watch(listing(1..100, 2)), healed);
    assert_eq!(machine.shown().held.len(), 1);
    machine.step(watch(listing(0..100, 3)), healed);
    assert_eq!(machine.shown().held.len(), 0);
    machine.step(watch(listing(1..100, 4)), healed + Duration::from_secs(9));
    assert_eq!(machine.shown().held.len(), 1);
    machine.step(watch(listing(0..100, 5)), healed + Duration::from_secs(9));
    machine.step(watch(listing(1..100, 6)), healed + Duration::from_secs(10));
    assert_eq!(machine.shown().instances.len(), 99);
}

#[test]
fn an_announced_removal_goes_at_once_even_as_the_last_one() {
    let (mut machine, now) = (machine(), Instant::now());
    let mut draining = listing(0..1, 1);
    let instance = draining.instances[0].to_builder().status(Status::Draining).build().unwrap();
    draining.instances = [Arc::new(instance)].into();
    machine.step(watch(draining), now);
    machine.step(watch(listing(0..0, 2)), now);
    assert!(machine.shown().instances.is_empty() && machine.shown().freshness.is_live());
}

#[test]
fn a_sign_of_life_after_an_error_does_not_make_the_old_listing_live() {
    let (mut machine, now) = (machine(), Instant::now());
    machine.step(watch(listing(0..3, 1)), now);
    machine.step(Input::Watch(Err(Error::unavailable("reset"))), now);
    machine.step(progress(Authority::Quorum), now);
    assert!(!machine.shown().freshness.is_live());
    machine.step(watch(listing(0..3, 1)), now);
    assert!(machine.shown().freshness.is_live());
}

#[test]
fn a_quorum_that_was_away_and_is_back_makes_an_unchanged_view_live_again() {
    let (mut machine, now) = (machine(), Instant::now());
    machine.step(watch(listing(0..3, 1)), now);
    machine.step(progress(Authority::Stale), now);
    assert!(!machine.shown().freshness.is_live());
    machine.step(progress(Authority::Quorum), now);
    assert!(machine.shown().freshness.is_live());
}

#[test]
fn without_protection_every_listing_is_taken_at_its_word() {
    let now = Instant::now();
    let mut machine = ViewMachine::new(ServiceKey::new("orders").unwrap(), false);
    machine.step(watch(listing(0..100, 1)), now);
    machine.step(watch(listing(0..0, 2)), now);
    assert!(machine.shown().instances.is_empty());
}

#[test]
fn an_empty_listing_is_an_answer_and_silence_is_not() {
    let mut machine = machine();
    assert!(matches!(machine.shown().freshness, Freshness::Unknown { .. }));
    machine.step(watch(listing(0..0, 1)), Instant::now());
    assert!(machine.shown().freshness.is_live() && machine.shown().instances.is_empty());
}

#[test]
fn a_listing_without_change_wakes_nobody() {
    let (mut machine, now) = (machine(), Instant::now());
    let whole = listing(0..3, 1);
    machine.step(watch(whole.clone()), now);
    let seq = machine.shown().seq;
    machine.step(watch(whole), now);
    machine.step(progress(Authority::Quorum), now);
    assert_eq!(machine.shown().seq, seq);
}

#[test]
fn who_answers_is_held_for_five_minutes_and_who_cannot_be_asked_for_thirty_seconds() {
    for (probed, held_for) in [(Probed::Answering, 300), (Probed::Impossible, 30)] {
        let (mut machine, start) = (machine(), Instant::now());
        machine.step(watch(listing(0..1, 1)), start);
        machine.step(watch(listing(0..0, 2)), start);
        let id = machine.shown().held[0].clone();
        let mut now = start;
        while !machine.shown().instances.is_empty() {
            machine.step(Input::Probed(vec![(id.clone(), probed)]), now);
            now = machine.wake_at().unwrap();
            machine.step(Input::Tick, now);
        }
        assert_eq!((now - start).as_secs(), held_for, "{probed:?}");
        assert_eq!(machine.shown().protection, Protection::None);
    }
}

#[test]
fn who_turns_critical_gets_no_traffic_and_stays_listed() {
    let (mut machine, now) = (machine(), Instant::now());
    machine.step(watch(listing(0..100, 1)), now);
    machine.step(watch(failing(listing(0..100, 2), 0..30)), now);
    assert_eq!((routable(&machine), machine.shown().instances.len()), (70, 100));
    assert_eq!(machine.shown().protection, Protection::None);
    // What was critical is no loss when it goes, and is welcome when it is well.
    machine.step(watch(failing(listing(10..100, 3), 10..20)), now);
    assert_eq!((routable(&machine), machine.shown().instances.len()), (80, 90));
    assert_eq!(machine.shown().protection, Protection::None);
}

#[test]
fn more_than_thirty_percent_that_turn_critical_go_on_getting_traffic_until_probes_tell() {
    let (mut machine, now) = (machine(), Instant::now());
    machine.step(watch(listing(0..10, 1)), now);
    machine.step(watch(failing(listing(0..10, 2), 0..10)), now);
    assert_eq!((routable(&machine), machine.shown().held.len()), (10, 10));
    // Some have renewed, one is not listed any more, and the others are still critical when the registry is asked again.
    let again = failing(listing(1..10, 3), 1..5);
    machine.step(Input::Asked(Ok(again)), now);
    assert_eq!((routable(&machine), machine.shown().held.len()), (10, 5));
    let silent = machine.shown().held.iter().map(|id| (id.clone(), Probed::Silent)).collect();
    machine.step(Input::Probed(silent), now);
    assert_eq!((routable(&machine), machine.shown().instances.len()), (5, 9));
    assert_eq!(machine.shown().protection, Protection::None);
    machine.step(watch(failing(listing(1..10, 4), 1..1)), now);
    assert_eq!(routable(&machine), 9);
}

#[test]
fn who_is_critical_after_an_outage_is_held_few_as_they_are() {
    let (mut machine, now) = (machine(), Instant::now());
    machine.step(watch(listing(0..10, 1)), now);
    machine.step(Input::Watch(Err(Error::unavailable("reset"))), now);
    machine.step(watch(failing(listing(0..10, 2), 0..1)), now + Duration::from_secs(3));
    assert_eq!((routable(&machine), machine.shown().held.len()), (10, 1));
}

#[test]
fn what_the_owner_says_is_shown_of_who_is_held_for_failing_and_its_goodbye_is_taken() {
    let (mut machine, now) = (machine(), Instant::now());
    machine.step(watch(listing(0..1, 1)), now);
    let say = |revision, change: &dyn Fn(&Instance) -> Instance| {
        let mut listing = failing(listing(0..1, revision), 0..1);
        listing.instances = [Arc::new(change(&listing.instances[0]))].into();
        watch(listing)
    };
    let heavier =
        |instance: &Instance| instance.to_builder().weight(7u16).pair(Pair::new(1, 2)).build().unwrap();
    machine.step(say(2, &heavier), now);
    assert_eq!((routable(&machine), machine.shown().held.len()), (1, 1));
    assert_eq!(machine.shown().instances[0].weight.get(), 7);
    let seq = machine.shown().seq;
    machine.step(say(3, &heavier), now);
    assert_eq!(machine.shown().seq, seq, "nothing is new");
    let leaving = |instance: &Instance| {
        instance.to_builder().status(Status::Draining).pair(Pair::new(1, 3)).build().unwrap()
    };
    machine.step(say(4, &leaving), now);
    assert_eq!((routable(&machine), machine.shown().held.len()), (0, 0));
}

#[test]
fn a_stale_registry_turns_nobody_critical() {
    let (mut machine, now) = (machine(), Instant::now());
    machine.step(watch(listing(0..3, 1)), now);
    let mut stale = failing(listing(0..3, 2), 0..3);
    stale.authority = Authority::Stale;
    machine.step(watch(stale), now);
    assert_eq!((routable(&machine), machine.shown().held.len()), (3, 0));
}
