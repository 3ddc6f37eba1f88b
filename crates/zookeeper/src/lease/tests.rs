//! What the ledger promises, step by step and by chance.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, ErrorKind, Instance, LostSignal, Pair, Record, Ttl, stored};
use futures::FutureExt;
use tokio::time::Instant;
use zookeeper_client::Stat;

use super::ledger::{Found, Ledger, Path};
use super::nodes::Node;

const TTL: Duration = Duration::from_secs(10);

fn path(id: &str) -> Path {
    format!("/r/{id}").into()
}

fn record(id: &str, pair: (u64, u64)) -> Record {
    let builder =
        Instance::builder("orders").id(id).endpoint("http://h:1").registered_at(std::time::UNIX_EPOCH);
    Record::new(builder.pair(Pair::new(pair.0, pair.1)).build().unwrap(), Ttl::new(TTL).unwrap())
}

fn node(owner: i64, czxid: i64, version: i32) -> Node {
    Node::of(&Stat {
        czxid,
        mzxid: czxid,
        pzxid: czxid,
        ctime: 0,
        mtime: 0,
        version,
        cversion: 0,
        aversion: 0,
        ephemeral_owner: owner,
        data_length: 0,
        num_children: 0,
    })
}

fn found(record: &Record, node: Node) -> Found {
    Found { data: stored::encode(&record.instance).unwrap(), node }
}

/// A write of `record` that went well.
fn write(ledger: &mut Ledger, record: &Record, node: Node, now: Instant) -> LostSignal {
    let path = path(record.key().id.as_str());
    let value: Arc<[u8]> = stored::encode(&record.instance).unwrap().into();
    ledger.enter(&path, TTL, now);
    let signal = ledger.wrote(&path, record, value, node, TTL, now);
    ledger.leave(&path);
    signal
}

fn fired(signal: &LostSignal) -> Option<Error> {
    signal.clone().fired().now_or_never()
}

#[test]
fn who_is_not_renewed_for_its_ttl_is_lost_and_evicted() {
    let (mut ledger, begin, one) = (Ledger::default(), Instant::now(), record("one", (1, 1)));
    let signal = write(&mut ledger, &one, node(7, 1, 0), begin);
    let late = begin + TTL - Duration::from_millis(1);
    assert!(ledger.overdue(late).is_empty());
    let expected = ledger.renewing(&path("one"), &one, late).unwrap();
    ledger.renewed(&path("one"), &expected, Some(&found(&one, node(7, 1, 0)))).unwrap();
    assert!(ledger.overdue(begin + TTL).is_empty(), "it was renewed");
    assert_eq!(ledger.overdue(late + TTL), [path("one")]);
    assert_eq!(fired(&signal).unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(ledger.renewing(&path("one"), &one, late).unwrap_err().kind(), ErrorKind::NotFound);
    assert!(ledger.evicting(&path("one")).is_some());
    ledger.leave(&path("one"));
    assert_eq!(ledger.overdue(late + TTL), [path("one")], "until it is known to be gone");
    ledger.evicting(&path("one"));
    ledger.evicted(&path("one"));
    ledger.leave(&path("one"));
    assert!(ledger.is_empty());
}

#[test]
fn a_write_under_way_keeps_a_record_from_being_evicted() {
    let (mut ledger, begin, one) = (Ledger::default(), Instant::now(), record("one", (1, 1)));
    write(&mut ledger, &one, node(7, 1, 0), begin);
    ledger.enter(&path("one"), TTL, begin + TTL);
    assert!(ledger.overdue(begin + TTL * 2).is_empty());
    ledger.leave(&path("one"));
    assert_eq!(ledger.overdue(begin + TTL * 2), [path("one")]);
    // Registered again before the removal begins.
    write(&mut ledger, &one, node(7, 5, 0), begin + TTL * 2);
    assert!(ledger.evicting(&path("one")).is_none());
}

#[test]
fn a_renewal_counts_from_when_its_owner_asked_for_it() {
    let (mut ledger, begin, one) = (Ledger::default(), Instant::now(), record("one", (1, 1)));
    let signal = write(&mut ledger, &one, node(7, 1, 0), begin);
    ledger.renewing(&path("one"), &one, begin + TTL / 2).unwrap();
    assert!(
        ledger.overdue(begin + TTL).is_empty() && fired(&signal).is_none(),
        "the server is silent, not the owner"
    );
    assert_eq!(ledger.overdue(begin + TTL * 2), [path("one")]);
}

#[test]
fn a_write_that_begins_as_another_one_ends_is_not_forgotten() {
    let (mut ledger, now, one) = (Ledger::default(), Instant::now(), record("one", (1, 1)));
    write(&mut ledger, &one, node(7, 1, 0), now);
    ledger.enter(&path("one"), TTL, now);
    ledger.removed(&path("one"));
    ledger.enter(&path("one"), TTL, now);
    ledger.leave(&path("one"));
    ledger.leave(&path("one"));
    assert_eq!(ledger.overdue(now + TTL), [path("one")], "it may have happened");
}

#[test]
fn a_removal_that_has_failed_is_not_tried_again_at_once() {
    let (mut ledger, begin, one) = (Ledger::default(), Instant::now(), record("one", (1, 1)));
    write(&mut ledger, &one, node(7, 1, 0), begin);
    let late = begin + TTL;
    assert_eq!(ledger.overdue(late), [path("one")]);
    ledger.evicting(&path("one"));
    ledger.put_off(&path("one"), late);
    ledger.leave(&path("one"));
    assert!(ledger.overdue(late).is_empty());
    assert_eq!(ledger.overdue(late + Duration::from_secs(1)), [path("one")]);
}

#[test]
fn a_write_that_was_given_up_is_followed_up() {
    let (mut ledger, begin) = (Ledger::default(), Instant::now());
    ledger.enter(&path("one"), TTL, begin);
    ledger.leave(&path("one"));
    assert!(!ledger.is_empty());
    assert_eq!(ledger.overdue(begin + TTL), [path("one")], "it may have happened");
}

#[test]
fn the_time_without_a_connection_does_not_count() {
    let (mut ledger, begin, one) = (Ledger::default(), Instant::now(), record("one", (1, 1)));
    write(&mut ledger, &one, node(7, 1, 0), begin);
    let (away, now) = (TTL * 3, begin + TTL * 3 + Duration::from_secs(1));
    ledger.reconnected(away, now);
    assert!(ledger.overdue(now).is_empty());
    assert_eq!(ledger.overdue(begin + TTL * 4), [path("one")]);
}

#[test]
fn another_session_has_lost_what_belonged_to_the_one_before() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let (one, two) = (record("one", (1, 1)), record("two", (1, 1)));
    let (old, new) =
        (write(&mut ledger, &one, node(7, 1, 0), now), write(&mut ledger, &two, node(8, 2, 0), now));
    ledger.session(8);
    assert!(fired(&old).is_some() && fired(&new).is_none());
    let again = write(&mut ledger, &one, node(8, 3, 0), now);
    ledger.session(8);
    assert!(fired(&again).is_none(), "a record that was lost once can be lost again, and is not");
}

#[test]
fn a_renewal_tells_what_has_become_of_the_node() {
    let now = Instant::now();
    let one = record("one", (5, 1));
    for (found, kind) in [
        (Some(found(&one, node(7, 1, 0))), None),
        // Written once more by a request of ours that came through late.
        (Some(found(&one, node(7, 1, 1))), None),
        (None, Some(ErrorKind::NotFound)),
        (Some(Found { data: b"foreign".to_vec(), node: node(7, 1, 1) }), Some(ErrorKind::NotFound)),
        (Some(found(&record("one", (5, 2)), node(9, 4, 0))), Some(ErrorKind::NotFound)),
        (Some(found(&record("one", (6, 1)), node(9, 4, 0))), Some(ErrorKind::Conflict)),
    ] {
        let mut ledger = Ledger::default();
        let signal = write(&mut ledger, &one, node(7, 1, 0), now);
        let expected = ledger.renewing(&path("one"), &one, now).unwrap();
        let renewed = ledger.renewed(&path("one"), &expected, found.as_ref());
        assert_eq!(renewed.err().map(|error| error.kind()), kind, "{found:?}");
        assert_eq!(fired(&signal).is_some(), kind.is_some(), "{found:?}");
    }
}

#[test]
fn a_look_from_before_a_write_says_nothing_about_it() {
    let (mut ledger, now, one) = (Ledger::default(), Instant::now(), record("one", (1, 1)));
    write(&mut ledger, &one, node(7, 1, 0), now);
    let expected = ledger.renewing(&path("one"), &one, now).unwrap();
    write(&mut ledger, &one, node(7, 3, 0), now);
    ledger.renewed(&path("one"), &expected, None).unwrap();
    let expected = ledger.renewing(&path("one"), &one, now).unwrap();
    ledger.enter(&path("one"), TTL, now);
    ledger.renewed(&path("one"), &expected, None).unwrap();
}

#[test]
fn renewals_of_another_record_of_the_id_are_told_apart() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let kind = |ledger: &mut Ledger, record: &Record| {
        ledger.renewing(&path("one"), record, now).map(drop).map_err(|error| error.kind())
    };
    assert_eq!(kind(&mut ledger, &record("one", (1, 1))), Err(ErrorKind::NotFound));
    write(&mut ledger, &record("one", (2, 2)), node(7, 1, 0), now);
    assert_eq!(kind(&mut ledger, &record("one", (2, 2))), Ok(()));
    assert_eq!(kind(&mut ledger, &record("one", (2, 1))), Err(ErrorKind::Conflict));
    assert_eq!(kind(&mut ledger, &record("one", (2, 3))), Err(ErrorKind::NotFound));
    assert_eq!(ledger.refused(&path("one"), Pair::new(2, 2)).holder(), Some(Pair::new(2, 2)));
    assert_eq!(kind(&mut ledger, &record("one", (2, 2))), Ok(()), "who has come too late harms nobody");
    let refused = ledger.refused(&path("one"), Pair::new(9, 9));
    assert_eq!(refused.holder(), Some(Pair::new(9, 9)));
    assert_eq!(kind(&mut ledger, &record("one", (2, 2))), Err(ErrorKind::Conflict));
}

#[test]
fn an_inspection_finds_who_is_missing_and_what_nobody_knows_of() {
    let (mut ledger, now) = (Ledger::default(), Instant::now());
    let missing = write(&mut ledger, &record("missing", (1, 1)), node(7, 1, 0), now);
    let there = write(&mut ledger, &record("there", (1, 1)), node(7, 2, 0), now);
    let mark = ledger.mark();
    let young = write(&mut ledger, &record("young", (1, 1)), node(7, 3, 0), now);
    ledger.inspected(mark, vec!["/r/there".to_owned(), "/r/stray".to_owned()], now);
    assert_eq!(fired(&missing).unwrap().kind(), ErrorKind::NotFound);
    assert!(fired(&there).is_none(), "it is there");
    assert!(fired(&young).is_none(), "it was written after the list was asked for");
    assert_eq!(ledger.overdue(now), [path("stray")]);
}

#[test]
fn nothing_is_left_of_what_was_removed() {
    let (mut ledger, now, one) = (Ledger::default(), Instant::now(), record("one", (1, 1)));
    let signal = write(&mut ledger, &one, node(7, 1, 0), now);
    ledger.enter(&path("one"), TTL, now);
    ledger.removed(&path("one"));
    ledger.leave(&path("one"));
    assert!(ledger.is_empty() && fired(&signal).is_none(), "its owner has wanted it so");
}

/// What a registry would hold of one path, with writes whose answers get lost.
#[test]
fn whatever_happens_no_node_stays_that_nobody_renews() {
    for seed in 0..500 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut ledger, mut now) = (Ledger::default(), Instant::now());
        let mut nodes: BTreeMap<Path, Node> = BTreeMap::new();
        let (mut session, mut zxid) = (1, 0);
        for _ in 0..60 {
            now += Duration::from_millis(rng.u64(..2_000));
            let id = format!("{}", rng.u8(..3));
            let (path, record) = (path(&id), record(&id, (1, 1)));
            zxid += 1;
            match rng.u8(..6) {
                0 | 1 => {
                    ledger.enter(&path, TTL, now);
                    // The request arrives or not, and so does the answer.
                    if rng.bool() {
                        nodes.insert(path.clone(), node(session, zxid, 0));
                        if rng.bool() {
                            let value: Arc<[u8]> = stored::encode(&record.instance).unwrap().into();
                            ledger.wrote(&path, &record, value, node(session, zxid, 0), TTL, now);
                        }
                    }
                    ledger.leave(&path);
                }
                2 => {
                    if let Ok(expected) = ledger.renewing(&path, &record, now) {
                        let seen = nodes.get(&path).map(|node| found(&record, *node));
                        let _ = ledger.renewed(&path, &expected, seen.as_ref());
                    }
                }
                3 => {
                    nodes.clear();
                    session += 1;
                    ledger.session(session);
                }
                4 => {
                    let mark = ledger.mark();
                    let listed = nodes.keys().map(ToString::to_string).collect();
                    ledger.inspected(mark, listed, now);
                }
                _ => upkeep(&mut ledger, &mut nodes, now, rng.bool()),
            }
        }
        now += TTL;
        upkeep(&mut ledger, &mut nodes, now, true);
        assert!(ledger.is_empty() && nodes.is_empty(), "seed {seed}: {nodes:?}");
    }
}

fn upkeep(ledger: &mut Ledger, nodes: &mut BTreeMap<Path, Node>, now: Instant, answers: bool) {
    for path in ledger.overdue(now) {
        if ledger.evicting(&path).is_some() {
            if answers {
                nodes.remove(&path);
                ledger.evicted(&path);
            }
            ledger.leave(&path);
        }
    }
}
