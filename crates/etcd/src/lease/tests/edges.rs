//! One promise at a time, where a schedule would come by only now and then.

use std::collections::HashSet;
use std::time::Duration;

use callsign_core::{Error, ErrorKind, LostSignal, Pair, Receipt, Record, Ttl};
use futures::FutureExt;
use tokio::time::Instant;

use super::super::ledger::{Caller, Ledger, Outcome, Output};
use super::super::member::Stored;
use super::callers::{Call, key_of, record, value_of};
use super::desk::Desk;
use super::trouble::Mood;
use super::world::{TICK, World};
use crate::session::Verb;

const TTL: Duration = Duration::from_secs(2);
/// Two roundtrips.
const SOON: Duration = Duration::from_millis(900);

impl World {
    /// Asks, and waits for the answer.
    fn get(&mut self, verb: Verb, record: &Record) -> Result<Receipt, Error> {
        let call = self.ask(verb, record);
        for _ in 0..500 {
            if let Some(answer) = &self.calls[call].answer {
                return answer.clone();
            }
            self.pass(Duration::from_millis(10));
        }
        panic!("nobody answers {:?}", self.calls[call]);
    }

    fn register(&mut self, record: &Record) -> Receipt {
        self.get(Verb::Register, record).expect("registered")
    }

    /// Lets time pass in which `records` are renewed.
    fn renewing(&mut self, records: &[&Record], time: Duration) {
        let end = self.now + time;
        while self.now < end {
            for record in records {
                self.ask(Verb::Renew, record);
            }
            self.pass(TICK);
        }
    }

    fn lease_of(&self, record: &Record) -> Option<i64> {
        self.registry.keys.get(&key_of(record)).map(|held| held.stored.lease)
    }

    fn has(&self, record: &Record) -> bool {
        self.registry.keys.get(&key_of(record)).is_some_and(|held| held.stored.value == value_of(record))
    }

    fn under_way(&self, fits: impl Fn(&Output) -> bool) -> usize {
        self.requests.values().filter(|request| fits(&request.output)).count()
    }
}

fn own(n: usize, seq: u64) -> Record {
    record(n, Pair::new(10, seq), 1, 2)
}

fn cause(mut lost: LostSignal) -> Option<Error> {
    lost.fired().now_or_never()
}

#[test]
fn a_late_duplicate_of_a_deregistered_record_does_not_live_on_its_neighbours() {
    let mut back = 0;
    for seed in 0..20 {
        let mut world = World::new(seed);
        let (neighbour, record) = (own(0, 1), own(2, 1));
        world.register(&neighbour);
        world.set_mood(Mood::Rotates);
        world.register(&record);
        world.set_mood(Mood::Fine);
        world.get(Verb::Deregister, &record).unwrap();
        let deregistered_at = world.now;
        world.renewing(&[&neighbour], Duration::from_secs(40));
        let there = |stored: Option<&Stored>| stored.is_some();
        let came_back = world.registry.first_held(&key_of(&record), deregistered_at, there);
        back += usize::from(came_back.is_some());
        assert!(!world.has(&record) && world.has(&neighbour));
    }
    assert!(back > 5, "in {back} of 20 schedules it came back at all");
}

#[test]
fn who_is_not_renewed_is_removed_although_neighbours_are_renewed() {
    let mut world = World::new(1);
    let (kept, left) = (own(0, 1), own(2, 1));
    world.register(&kept);
    let lost = world.register(&left).lost;
    assert_eq!(world.lease_of(&kept), world.lease_of(&left));
    world.renewing(&[&kept], TTL + TICK * 2 + SOON);
    assert!(world.has(&kept) && !world.has(&left));
    assert_eq!(cause(lost).unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(world.get(Verb::Renew, &left).unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_registration_that_was_given_up_while_it_was_made_does_not_live_on_its_neighbours() {
    let mut world = World::new(1);
    let (kept, left) = (own(0, 1), own(2, 1));
    world.register(&kept);
    let call = world.ask(Verb::Register, &left);
    world.give_up(call);
    world.renewing(&[&kept], SOON);
    assert!(world.has(&left), "it was on its way");
    world.renewing(&[&kept], TTL + TICK * 2);
    assert!(!world.has(&left));
}

#[test]
fn a_registration_that_was_given_up_before_it_was_sent_is_not_sent() {
    let mut world = World::new(1);
    let call = world.ask(Verb::Register, &own(0, 1));
    world.give_up(call);
    world.pass(TTL * 4);
    assert!(!world.registry.held(&key_of(&own(0, 1)), world.calls[0].asked_at, |stored| stored.is_some()));
    assert!(world.ledger.is_empty());
}

#[test]
fn what_could_not_be_removed_is_removed_later_whatever_else_has_failed_meanwhile() {
    for verb in [Verb::Register, Verb::Deregister] {
        let mut world = World::new(1);
        let (kept, left) = (own(0, 1), own(2, 1));
        world.register(&kept);
        world.register(&left);
        world.renewing(&[&kept], TTL / 2);
        world.set_mood(Mood::Refuses);
        world.pass(TICK * 2);
        let call = world.ask(verb, &left);
        world.pass(Duration::from_millis(10));
        assert!(world.calls[call].answer.as_ref().is_some_and(Result::is_err));
        world.set_mood(Mood::Fine);
        world.renewing(&[&kept], TTL + TICK * 2 + SOON);
        assert!(world.has(&kept) && !world.has(&left), "{verb:?}");
    }
}

#[test]
fn who_registers_again_during_its_removal_gets_a_signal_of_its_own() {
    let mut world = World::new(1);
    let (kept, record) = (own(0, 1), own(2, 1));
    world.register(&kept);
    world.register(&record);
    let removal = |output: &Output| matches!(output, Output::Write { .. });
    for _ in 0..3000 {
        world.ask(Verb::Renew, &kept);
        world.pass(Duration::from_millis(1));
        if world.under_way(removal) > 0 {
            break;
        }
    }
    assert_eq!(world.under_way(removal), 1);
    let receipt = world.register(&record);
    assert!(cause(receipt.lost).is_none());
    world.renewing(&[&kept, &record], TTL * 2);
    assert!(world.has(&record));
}

#[test]
fn another_ttl_means_another_lease() {
    let mut world = World::new(1);
    let (neighbour, short) = (own(0, 1), own(2, 1));
    let long = Record::new(own(2, 2).instance, Ttl::from_secs(4).unwrap());
    world.register(&neighbour);
    world.register(&short);
    let before = world.lease_of(&short);
    world.register(&long);
    assert!(world.has(&long) && world.lease_of(&long) != before);
    world.renewing(&[&long], TTL * 4);
    assert!(world.has(&long) && !world.has(&neighbour));
    world.register(&own(2, 3));
    assert_ne!(world.lease_of(&long), before, "that lease has ended");
}

#[test]
fn a_change_of_ttl_that_fails_leaves_the_record_where_it_is_renewed() {
    let mut world = World::new(1);
    let short = own(0, 1);
    let lost = world.register(&short).lost;
    world.set_mood(Mood::Down);
    let long = Record::new(own(0, 2).instance, Ttl::from_secs(4).unwrap());
    let call = world.ask(Verb::Register, &long);
    world.pass(Duration::from_millis(10));
    assert!(world.calls[call].answer.as_ref().is_some_and(Result::is_err));
    world.set_mood(Mood::Fine);
    world.renewing(&[&short], TTL * 4);
    assert!(world.has(&short) && cause(lost).is_none());
}

#[test]
fn renewals_that_come_together_send_one_keep_alive() {
    let mut world = World::new(1);
    let records = [own(0, 1), own(2, 1), own(4, 1)];
    for record in &records {
        world.ask(Verb::Register, record);
    }
    world.pass(TTL / 4 + SOON);
    for record in &records {
        world.ask(Verb::Renew, record);
    }
    assert_eq!(world.under_way(|output| matches!(output, Output::KeepAlive { .. })), 1);
    world.pass(SOON);
    world.everybody_is_answered();
}

#[test]
fn a_renewal_is_refused_for_as_long_as_the_registry_is_down() {
    let mut world = World::new(1);
    world.register(&own(0, 1));
    world.set_mood(Mood::Down);
    for _ in 0..20 {
        world.pass(TICK);
        let answer = world.get(Verb::Renew, &own(0, 1));
        assert!(answer.is_err(), "{answer:?}");
    }
}

#[test]
fn a_lease_that_is_lost_is_told_and_replaced() {
    let mut world = World::new(1);
    let records = [own(0, 1), own(2, 1)];
    let lost: Vec<_> = records.iter().map(|record| world.register(record).lost).collect();
    let lease = world.lease_of(&records[0]);
    world.pass(TTL / 4);
    world.set_mood(Mood::Down);
    world.some_lease_ends();
    world.set_mood(Mood::Fine);
    assert_eq!(world.get(Verb::Renew, &records[0]).unwrap_err().kind(), ErrorKind::NotFound);
    // One keep-alive tells all of them.
    for lost in lost {
        assert_eq!(cause(lost).unwrap().kind(), ErrorKind::NotFound);
    }
    world.register(&records[1]);
    assert!(world.has(&records[1]) && world.lease_of(&records[1]) != lease);
}

#[test]
fn a_put_on_a_lease_that_is_lost_gets_another_one() {
    let mut world = World::new(1);
    world.register(&own(0, 1));
    world.loses_events = true;
    world.some_lease_ends();
    world.register(&own(0, 2));
    assert!(world.has(&own(0, 2)));
}

#[test]
fn an_equal_pair_takes_over_and_a_higher_one_stays() {
    let mut world = World::new(1);
    for pair in [Pair::NONE, Pair::new(9, 99), Pair::new(10, 1)] {
        world.rival_puts(&key_of(&own(0, 1)), pair);
        world.register(&own(0, 1));
        assert!(world.has(&own(0, 1)), "{pair}");
    }
    let higher = Pair::new(10, 2);
    world.rival_puts(&key_of(&own(0, 1)), higher);
    for verb in [Verb::Register, Verb::Deregister] {
        let error = world.get(verb, &own(0, 1)).unwrap_err();
        assert_eq!((error.kind(), error.holder()), (ErrorKind::Conflict, Some(higher)));
    }
    world.renewing(&[], TTL * 3);
    assert_eq!(world.registry.keys.get(&key_of(&own(0, 1))).unwrap().stored.pair, higher);
}

#[test]
fn another_owner_is_told_from_an_own_write_whose_answer_was_lost() {
    for (pair, kind) in [(Pair::new(10, 2), ErrorKind::NotFound), (Pair::new(11, 1), ErrorKind::Conflict)] {
        let mut world = World::new(1);
        let lost = world.register(&own(0, 1)).lost;
        world.pass(SOON);
        world.rival_puts(&key_of(&own(0, 1)), pair);
        world.pass(SOON);
        assert_eq!(cause(lost).unwrap().kind(), kind);
        assert_eq!(world.get(Verb::Renew, &own(0, 1)).unwrap_err().kind(), kind);
    }
}

#[test]
fn a_restored_registry_with_another_record_is_noticed_by_looking() {
    let mut world = World::new(1);
    let lost = world.register(&own(0, 1)).lost;
    world.start_anew(true);
    world.rival_puts(&key_of(&own(0, 1)), Pair::new(1, 1));
    world.set_mood(Mood::Fine);
    world.pass(SOON);
    assert_eq!(world.get(Verb::Renew, &own(0, 1)).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(cause(lost).is_some());
}

#[test]
fn a_registration_whose_lease_could_not_be_renewed_may_have_happened() {
    let mut world = World::new(1);
    world.register(&own(0, 1));
    world.pass(TTL / 4);
    let call = world.ask(Verb::Register, &own(2, 1));
    world.set_mood(Mood::Down);
    world.pass(SOON);
    let Call { key, asked_at, answer, .. } = &world.calls[call];
    let error = answer.clone().unwrap().unwrap_err();
    assert!(world.registry.held(key, *asked_at, |stored| stored.is_some()));
    assert!(error.outcome_unknown(), "{error:?}");
}

#[test]
fn six_hundred_records_share_three_leases_and_seven_transactions() {
    let mut world = World::new(1);
    let records: Vec<_> = (0..600).map(|n| own(n * 2, 1)).collect();
    for record in &records {
        world.ask(Verb::Register, record);
    }
    world.pass(SOON * 2);
    world.everybody_is_answered();
    let leases: HashSet<_> = records.iter().map(|record| world.lease_of(record).unwrap()).collect();
    assert_eq!(leases.len(), 3);
    assert_eq!(world.registry.writes, 3 + 3 + 1);
    world.renewing(&records.iter().collect::<Vec<_>>(), TTL * 4);
    assert!(records.iter().all(|record| world.has(record)));
}

#[test]
fn namespaces_never_share_a_lease() {
    let mut world = World::new(1);
    world.register(&own(0, 1));
    world.register(&own(1, 1));
    assert_ne!(world.lease_of(&own(0, 1)), world.lease_of(&own(1, 1)));
}

#[test]
fn nobody_writes_for_ever_against_others_or_on_leases_that_end_at_once() {
    for lease_ends in [false, true] {
        let mut desk = Desk::new();
        desk.ask(Verb::Register, &own(0, 1));
        let mut rounds = 0;
        let answers = loop {
            let answers = desk.answers();
            if !answers.is_empty() {
                break answers;
            }
            rounds += 1;
            assert!(rounds < 100, "still written");
            if lease_ends || rounds == 1 {
                desk.grants(rounds);
            }
            let (shard, items) = desk.asks_to_write().unwrap();
            let rival = Stored { mod_revision: rounds, lease: 3, value: b"rival".to_vec(), pair: Pair::NONE };
            let result = if lease_ends {
                Err(Error::not_found("requested lease not found"))
            } else {
                Ok(vec![Outcome::Refused(Some(rival))])
            };
            desk.ledger.wrote(shard, items, false, result, desk.now);
        };
        assert!(answers[0].is_err() && desk.asks_to_write().is_none(), "{answers:?}");
    }
}

/// A caller that waits and is not listened to.
#[derive(Debug)]
struct Waits;

impl Caller for Waits {
    fn answer(self, _: callsign_core::Result<Receipt>) {}

    fn is_gone(&self) -> bool {
        false
    }
}

#[test]
fn large_records_go_in_transactions_that_etcd_takes() {
    let now = Instant::now();
    let mut ledger = Ledger::new();
    for (n, kib) in [300, 150, 150, 1024, 10].into_iter().enumerate() {
        let record = own(n * 2, 1);
        ledger.register(&key_of(&record), &record, vec![0; kib * 1024], Waits, now);
    }
    ledger.granted(0, now, Ok((7, TTL)));
    let mut sizes = Vec::new();
    while let Some(Output::Write { shard, items }) = ledger.take_outputs().into_iter().next_back() {
        sizes.push(items.len());
        let applied = items.iter().map(|_| Outcome::Applied { mod_revision: 1 }).collect();
        ledger.wrote(shard, items, false, Ok(applied), now);
        ledger.outputs.retain(|output| matches!(output, Output::Write { .. }));
    }
    assert_eq!(sizes, [2, 1, 1, 1]);
}
