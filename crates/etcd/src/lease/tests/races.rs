//! Answers that cross each other.

use std::time::Duration;

use callsign_core::{Error, ErrorKind, LostSignal, Pair, Record, Result, Ttl};
use futures::FutureExt;

use super::super::ledger::{Outcome, Output};
use super::super::member::{Action, Stored};
use super::callers::{key_of, record, value_of};
use super::desk::Desk;
use crate::session::Verb;

const TTL: Duration = Duration::from_secs(2);
const ALMOST_TTL: Duration = Duration::from_millis(1999);
const MILLI: Duration = Duration::from_millis(1);

fn own(n: usize, seq: u64) -> Record {
    record(n, Pair::new(10, seq), 1, 2)
}

fn long(n: usize, seq: u64) -> Record {
    record(n, Pair::new(10, seq), 1, 4)
}

fn stored(record: &Record, lease: i64, mod_revision: i64) -> Stored {
    Stored { mod_revision, lease, value: value_of(record), pair: record.pair() }
}

fn gone() -> Error {
    Error::not_found("requested lease not found")
}

fn is_lost(lost: &LostSignal) -> bool {
    lost.clone().fired().now_or_never().is_some()
}

/// A ledger whose record's lease 7 was lost while it was being renewed, and which has lease 8 now.
fn renewal_of_a_former_lease() -> Desk {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.now += TTL / 4;
    desk.ask(Verb::Renew, &own(0, 1));
    assert_eq!(desk.asks_for_renewal(), Some(7));
    desk.ask(Verb::Register, &own(0, 2));
    let (shard, items) = desk.asks_to_write().unwrap();
    desk.ledger.wrote(shard, items, false, Err(gone()), desk.now);
    assert_eq!(desk.answers().remove(0).unwrap_err().kind(), ErrorKind::NotFound);
    desk.grants(8);
    desk.writes(|| Outcome::Applied { mod_revision: 6 });
    desk.receipt();
    desk.now += TTL / 4;
    desk.ask(Verb::Renew, &own(0, 2));
    assert!(desk.asks_for_renewal().is_none(), "one at a time");
    desk
}

#[test]
fn what_becomes_of_a_former_lease_is_no_answer_for_the_next_one() {
    for result in [Ok(()), Err(Error::unavailable("no")), Err(gone())] {
        let mut desk = renewal_of_a_former_lease();
        desk.renewed(7, result);
        assert!(desk.answers().is_empty());
        assert_eq!(desk.asks_for_renewal(), Some(8));
        desk.renewed(8, Ok(()));
        assert_eq!(desk.receipt().ttl, TTL);
    }
}

#[test]
fn what_was_put_on_a_lease_that_has_been_lost_since_is_put_again() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.now += TTL / 4;
    desk.ask(Verb::Renew, &own(0, 1));
    desk.ask(Verb::Register, &own(0, 2));
    let (shard, items) = desk.asks_to_write().unwrap();
    desk.renewed(7, Err(gone()));
    assert!(desk.answers().remove(0).is_err());
    desk.wrote(shard, items, || Outcome::Applied { mod_revision: 6 });
    assert!(desk.answers().is_empty());
    desk.grants(8);
    let (shard, items) = desk.asks_to_write().unwrap();
    assert_eq!((items[0].lease, items[0].expected), (8, 0));
    desk.wrote(shard, items, || Outcome::Applied { mod_revision: 8 });
    desk.receipt();
}

#[test]
fn after_a_lost_lease_its_records_are_expected_to_be_gone() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.now += TTL / 4;
    desk.ask(Verb::Renew, &own(0, 1));
    desk.renewed(7, Err(gone()));
    desk.answers();
    desk.ask(Verb::Register, &own(0, 1));
    desk.grants(8);
    let (_, items) = desk.asks_to_write().unwrap();
    assert_eq!(items[0].expected, 0, "or each would be written in vain, once");
}

#[test]
fn a_lease_lasts_from_when_its_renewal_was_sent() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.ask(Verb::Register, &own(2, 1));
    desk.writes(|| Outcome::Applied { mod_revision: 6 });
    desk.now += TTL / 2;
    let sent_at = desk.now;
    desk.answers();
    desk.ask(Verb::Renew, &own(0, 1));
    desk.now += TTL / 4;
    desk.ask(Verb::Renew, &own(2, 1));
    desk.ledger.kept_alive(0, 7, sent_at, Ok(()), desk.now);
    let lasts: Vec<_> = desk.answers().into_iter().map(|answer| answer.unwrap().ttl).collect();
    assert_eq!(lasts, [TTL / 4 * 3; 2], "for who has joined, too");
}

#[test]
fn who_has_moved_instead_of_being_removed_is_removed_from_where_it_is() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.now += TTL;
    desk.ledger.tick(desk.now);
    let (shard, items) = desk.asks_to_write().unwrap();
    desk.ledger.wrote(shard, items, false, Err(Error::unavailable("no")), desk.now);
    desk.registers(&long(0, 2), 8, 6);
    desk.now += TTL * 2;
    desk.ledger.tick(desk.now);
    let (_, items) = desk.asks_to_write().unwrap();
    assert!(matches!(items[0].action, Action::Evict { lease: 8 }), "{items:?}");
}

#[test]
fn a_receipt_says_no_more_than_the_ttl_although_the_lease_is_longer() {
    let ttl = Duration::from_millis(2500);
    let record = Record::new(own(0, 1).instance, Ttl::new(ttl).unwrap());
    let mut desk = Desk::new();
    assert_eq!(desk.registers(&record, 7, 5).ttl, ttl);
    desk.now += ttl;
    desk.ledger.tick(desk.now);
    assert!(desk.asks_to_write().is_some_and(|(_, items)| matches!(items[0].action, Action::Evict { .. })));
}

#[test]
fn a_renewal_of_an_older_record_is_a_conflict_with_the_newer() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 2), 7, 5);
    desk.ask(Verb::Renew, &own(0, 1));
    let error = desk.answers().remove(0).unwrap_err();
    assert_eq!((error.kind(), error.holder()), (ErrorKind::Conflict, Some(Pair::new(10, 2))));
}

#[test]
fn a_try_whose_answer_was_lost_is_not_written_again() {
    let mut desk = Desk::new();
    desk.ask(Verb::Register, &own(0, 1));
    desk.grants(7);
    desk.writes(|| Outcome::Refused(Some(stored(&own(0, 1), 7, 5))));
    desk.receipt();
    assert!(desk.asks_to_write().is_none());
}

#[test]
fn the_same_record_on_another_lease_is_written_again() {
    let mut desk = Desk::new();
    desk.ask(Verb::Register, &own(0, 1));
    desk.grants(7);
    desk.writes(|| Outcome::Refused(Some(stored(&own(0, 1), 3, 5))));
    assert!(desk.answers().is_empty() && desk.asks_to_write().is_some());
}

#[test]
fn a_look_that_was_overtaken_by_a_write_tells_no_loss() {
    // By one that is under way, and by one that was made meanwhile.
    for made in [false, true] {
        let mut desk = Desk::new();
        let first = desk.registers(&own(0, 1), 7, 5).lost;
        desk.now += TTL * 3;
        desk.ask(Verb::Renew, &own(0, 1));
        let look = desk.asks_for_a_look().unwrap();
        desk.ask(Verb::Register, &own(0, 2));
        let (shard, items) = desk.asks_to_write().unwrap();
        let found = if made {
            desk.wrote(shard, items.clone(), || Outcome::Refused(None));
            desk.writes(|| Outcome::Applied { mod_revision: 6 });
            None
        } else {
            Some(stored(&own(0, 2), 7, 6))
        };
        desk.ledger.proved(0, &look, Ok(vec![Outcome::Refused(found)]), desk.now);
        desk.renewed(7, Ok(()));
        if !made {
            desk.wrote(shard, items, || Outcome::Applied { mod_revision: 6 });
        }
        let last = desk.answers().pop().unwrap().unwrap();
        assert!(!is_lost(&last.lost) && is_lost(&first) == made);
    }
}

#[test]
fn what_the_watch_shows_during_a_write_counts_when_the_write_fails() {
    let mut desk = Desk::new();
    let lost = desk.registers(&own(0, 1), 7, 5).lost;
    desk.ask(Verb::Register, &own(0, 2));
    let (shard, items) = desk.asks_to_write().unwrap();
    desk.ledger.saw(&key_of(&own(0, 1)), 9, None);
    assert!(!is_lost(&lost), "the write may have come after it");
    desk.ledger.wrote(shard, items, false, Err(Error::unavailable("no")), desk.now);
    assert!(is_lost(&lost));
}

#[test]
fn what_the_watch_shows_late_is_not_believed() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.ask(Verb::Register, &own(0, 2));
    desk.writes(|| Outcome::Applied { mod_revision: 6 });
    let lost = desk.receipt().lost;
    let key = key_of(&own(0, 1));
    desk.ledger.saw(&key, 4, None);
    desk.ledger.saw(&key, 5, Some(stored(&own(0, 1), 7, 5)));
    desk.ledger.saw(&key, 6, Some(stored(&own(0, 2), 7, 6)));
    assert!(!is_lost(&lost));
    desk.ledger.saw(&key, 7, Some(stored(&own(0, 2), 3, 7)));
    assert!(is_lost(&lost), "on another lease it would end with that");
}

#[test]
fn a_removal_that_waits_gives_way_to_a_registration() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.now += TTL / 2;
    desk.ask(Verb::Register, &own(2, 1));
    let (shard, items) = desk.asks_to_write().unwrap();
    desk.now += TTL / 2;
    desk.ledger.tick(desk.now);
    desk.ask(Verb::Register, &own(0, 1));
    desk.wrote(shard, items, || Outcome::Applied { mod_revision: 6 });
    let (_, items) = desk.asks_to_write().unwrap();
    assert!(matches!(items[0].action, Action::Put { .. }), "{items:?}");
}

#[test]
fn a_record_that_moves_is_written_once_at_a_time() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.now += TTL / 2;
    desk.ask(Verb::Register, &own(2, 1));
    let (old, items) = desk.asks_to_write().unwrap();
    desk.now += TTL / 2;
    // Its removal waits for the write of its neighbour; then it is to move, and then to be deleted.
    desk.ledger.tick(desk.now);
    desk.ask(Verb::Register, &long(0, 2));
    desk.grants(8);
    let (new, moving) = desk.asks_to_write().unwrap();
    desk.ask(Verb::Deregister, &long(0, 2));
    desk.wrote(old, items, || Outcome::Applied { mod_revision: 6 });
    assert!(desk.asks_to_write().is_none());
    desk.wrote(new, moving, || Outcome::Applied { mod_revision: 7 });
    desk.writes(|| Outcome::Applied { mod_revision: 8 });
    let answers = desk.answers();
    assert!(answers.len() == 2 && answers.iter().all(Result::is_ok), "{answers:?}");
}

#[test]
fn a_record_that_has_moved_leaves_nothing_behind() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.ask(Verb::Register, &long(0, 2));
    desk.grants(8);
    desk.writes(|| Outcome::Applied { mod_revision: 6 });
    desk.now += TTL;
    desk.ledger.tick(desk.now);
    assert_eq!(desk.ledger.shards.len(), 1);
}

#[test]
fn a_record_that_never_gets_to_another_lease_leaves_nothing_behind() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    for _ in 0..2 {
        desk.ask(Verb::Register, &long(0, 2));
        desk.refuses_a_lease();
        desk.ask(Verb::Register, &own(0, 1));
        let (shard, items) = desk.asks_to_write().unwrap();
        assert_eq!(items[0].lease, 7);
        desk.ledger.wrote(shard, items, false, Err(Error::unavailable("no")), desk.now);
    }
    desk.ask(Verb::Deregister, &own(0, 1));
    desk.writes(|| Outcome::Applied { mod_revision: 6 });
    desk.now += TTL;
    desk.ledger.tick(desk.now);
    assert!(desk.ledger.is_empty(), "{:?}", desk.ledger);
}

#[test]
fn a_lease_that_nobody_is_on_is_used_again_while_it_lasts() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.ask(Verb::Deregister, &own(0, 1));
    desk.writes(|| Outcome::Applied { mod_revision: 6 });
    desk.now += ALMOST_TTL;
    desk.ledger.tick(desk.now);
    desk.ask(Verb::Register, &own(2, 1));
    assert_eq!(desk.asks_to_write().unwrap().1[0].lease, 7);
}

#[test]
fn removals_from_two_leases_begin_at_the_same_time() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.registers(&own(1, 1), 8, 6);
    desk.now += TTL;
    desk.ledger.tick(desk.now);
    assert!(desk.asks_to_write().is_some() && desk.asks_to_write().is_some());
}

#[test]
fn a_registration_renews_also_when_nobody_waits_for_it_any_more() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.now += TTL / 4;
    let gone = desk.ask(Verb::Register, &own(0, 2));
    desk.now += TTL / 4;
    gone.set(true);
    desk.writes(|| Outcome::Applied { mod_revision: 6 });
    desk.now += ALMOST_TTL;
    desk.ledger.tick(desk.now);
    assert!(desk.asks_to_write().is_none());
    desk.now += MILLI;
    desk.ledger.tick(desk.now);
    assert!(desk.asks_to_write().is_some());
}

#[test]
fn the_time_without_a_connection_is_not_the_owners_silence() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.now += TTL * 9;
    desk.ledger.reconnected(TTL * 8, desk.now);
    desk.now -= MILLI;
    desk.ledger.tick(desk.now);
    assert!(desk.asks_to_write().is_none());
    desk.now += MILLI;
    desk.ledger.tick(desk.now);
    assert!(desk.asks_to_write().is_some(), "but the time before and after is");
}

#[test]
fn a_look_at_a_former_lease_does_not_put_off_the_look_at_the_next_one() {
    let mut desk = Desk::new();
    let inspects = |output: &Output| match output {
        Output::Inspect { lease, .. } => Some(*lease),
        _ => None,
    };
    let doubtful = |desk: &mut Desk, record: &Record| {
        desk.ask(Verb::Register, record);
        let (shard, items) = desk.asks_to_write().unwrap();
        let lost = Err(Error::timeout("no answer").with_outcome_unknown());
        desk.ledger.wrote(shard, items, true, lost, desk.now);
        desk.answers();
    };
    desk.registers(&own(0, 1), 7, 5);
    doubtful(&mut desk, &own(2, 1));
    desk.ledger.tick(desk.now);
    assert_eq!(desk.asks(inspects), Some(7));
    desk.now += TTL / 4;
    desk.ask(Verb::Renew, &own(0, 1));
    desk.renewed(7, Err(gone()));
    desk.answers();
    desk.ask(Verb::Register, &own(0, 1));
    desk.grants(8);
    desk.writes(|| Outcome::Applied { mod_revision: 9 });
    doubtful(&mut desk, &own(2, 1));
    desk.ledger.inspected(0, 7, Ok(Vec::new()), desk.now);
    desk.ledger.tick(desk.now);
    assert_eq!(desk.asks(inspects), Some(8));
}
