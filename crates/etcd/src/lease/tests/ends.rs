//! Leases that end while something is put on them.

use std::time::Duration;

use callsign_core::{Error, ErrorKind, Pair, Record};

use super::super::ledger::Outcome;
use super::callers::{key_of, record};
use super::desk::Desk;
use crate::session::Verb;

const TTL: Duration = Duration::from_secs(2);

fn own(n: usize, seq: u64) -> Record {
    record(n, Pair::new(10, seq), 1, 2)
}

fn gone() -> Error {
    Error::not_found("requested lease not found")
}

#[test]
fn what_was_put_on_a_lease_at_its_end_is_put_again_before_its_caller_is_answered() {
    let deleted_first = |desk: &mut Desk| desk.ledger.saw(&key_of(&own(0, 1)), 7, None);
    for seen in [true, false] {
        let mut desk = Desk::new();
        desk.registers(&own(0, 1), 7, 5);
        // Nobody has renewed it: it is removed, and its lease is about to end.
        desk.now += TTL;
        desk.ledger.tick(desk.now);
        desk.writes(|| Outcome::Applied { mod_revision: 6 });
        desk.ask(Verb::Register, &own(0, 1));
        desk.writes(|| Outcome::Applied { mod_revision: 6 });
        assert!(desk.answers().is_empty(), "nobody knows that the lease lives");
        if seen {
            deleted_first(&mut desk);
        }
        assert_eq!(desk.asks_for_renewal(), Some(7));
        desk.renewed(7, Err(gone()));
        assert!(desk.answers().is_empty());
        desk.grants(8);
        let (shard, items) = desk.asks_to_write().unwrap();
        assert_eq!((items[0].lease, items[0].expected), (8, 0));
        desk.wrote(shard, items, || Outcome::Applied { mod_revision: 8 });
        assert_eq!(desk.receipt().ttl, TTL);
    }
}

#[test]
fn who_was_deregistered_meanwhile_is_not_put_again() {
    let mut desk = Desk::new();
    desk.registers(&own(0, 1), 7, 5);
    desk.now += TTL / 4;
    desk.ask(Verb::Register, &own(0, 2));
    desk.writes(|| Outcome::Applied { mod_revision: 6 });
    assert_eq!(desk.asks_for_renewal(), Some(7));
    desk.ask(Verb::Deregister, &own(0, 2));
    desk.renewed(7, Err(gone()));
    assert_eq!(desk.answers().remove(0).unwrap_err().kind(), ErrorKind::NotFound);
    desk.writes(|| Outcome::Refused(None));
    desk.receipt();
    assert!(desk.asks_to_write().is_none());
}
