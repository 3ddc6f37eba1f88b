//! The ledger under random schedules, against a server that keeps Nacos' rule, and its promises one by one.

mod refusals;
mod schedules;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, ErrorKind, Instance, Pair, Record, ServiceKey, Ttl};
use futures::FutureExt;
use tokio::time::Instant;

use super::ledger::Ledger;
use super::set::{Action, Plan, Ticket};
use crate::codec::{Place, encode, place_of};
use crate::config::Flavour;
use crate::error::{Failure, Verdict};
use crate::message::Host;

const TTL: Duration = Duration::from_secs(15);

fn service() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

fn place() -> Place {
    place_of(&service()).unwrap()
}

fn record(id: &str, seq: u64) -> Record {
    let number: u16 = id.bytes().map(u16::from).sum();
    let builder =
        Instance::builder(service()).id(id).endpoint(format!("http://127.0.0.1:{}", 1000 + number).as_str());
    let instance = builder.pair(Pair::new(1, seq)).registered_at(std::time::UNIX_EPOCH).build().unwrap();
    Record::new(instance, Ttl::new(TTL).unwrap())
}

fn hosts(plan: &Plan) -> Vec<Arc<Host>> {
    match &plan.action {
        Action::One(host) => vec![host.clone()],
        Action::Batch(hosts) => hosts.clone(),
        Action::Nothing(_) => Vec::new(),
        Action::Each { put, .. } => put.clone(),
    }
}

fn silence() -> Failure {
    Failure { error: Error::timeout("no answer").with_outcome_unknown(), verdict: Verdict::Silence }
}

fn refusal() -> Failure {
    Failure { error: Error::limit_exceeded("no"), verdict: Verdict::Answer }
}

/// What became of a ticket, if it is decided.
fn decided(ticket: &mut Ticket, generation: u64) -> Option<Result<(), ErrorKind>> {
    ticket.taken(generation).now_or_never().map(|taken| taken.map_err(|error| error.kind()))
}

struct World {
    ledger: Ledger,
    now: Instant,
    on: (u64, Flavour),
}

impl World {
    fn connected(flavour: Flavour) -> Self {
        let mut world = Self { ledger: Ledger::default(), now: Instant::now(), on: (1, flavour) };
        world.connect(1);
        world
    }

    fn connect(&mut self, generation: u64) {
        self.on.0 = generation;
        self.ledger.connected(generation, self.on.1, self.now);
    }

    fn register(&mut self, id: &str, seq: u64) -> Ticket {
        let record = record(id, seq);
        let host = Arc::new(encode(&record.instance).unwrap());
        self.ledger.register(&place(), &record, host, self.on, self.now).unwrap().0
    }

    fn next(&mut self) -> Option<Plan> {
        self.ledger.next(self.now)
    }

    fn done(&mut self, plan: Plan, result: Result<(), Failure>) {
        self.ledger.done(plan, result, self.now);
    }

    fn publish(&mut self) {
        while let Some(plan) = self.next() {
            self.done(plan, Ok(()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn one_is_registered_several_are_a_batch_and_none_is_a_deregistration() {
    let mut world = World::connected(Flavour::Nacos);
    world.register("a", 1);
    let plan = world.next().unwrap();
    assert!(matches!(plan.action, Action::One(_)));
    world.done(plan, Ok(()));
    world.register("b", 1);
    world.register("c", 1);
    let plan = world.next().unwrap();
    assert!(
        matches!(&plan.action, Action::Batch(hosts) if hosts.len() == 3),
        "those who come together go together"
    );
    world.done(plan, Ok(()));
    for id in ["a", "b", "c"] {
        world.ledger.deregister(&place(), &record(id, 1)).unwrap();
    }
    let plan = world.next().unwrap();
    assert!(matches!(plan.action, Action::Nothing(_)));
    world.done(plan, Ok(()));
    assert!(world.next().is_none() && world.ledger.is_empty());
}

#[tokio::test(start_paused = true)]
async fn r_nacos_is_told_of_each_and_of_who_has_moved() {
    let mut world = World::connected(Flavour::RNacos);
    world.register("a", 1);
    world.register("b", 1);
    world.publish();
    world.register("c", 1);
    world.ledger.deregister(&place(), &record("a", 1)).unwrap();
    let plan = world.next().unwrap();
    let Action::Each { put, removed } = &plan.action else { panic!("{plan:?}") };
    assert_eq!((put.len(), removed.len()), (1, 1), "b has not changed");
    world.done(plan, Ok(()));
    let moved = Instance::builder(service())
        .id("b")
        .endpoint("http://127.0.0.1:7")
        .pair(Pair::new(1, 2))
        .build()
        .unwrap();
    let moved = Record::new(moved, Ttl::default());
    let host = Arc::new(encode(&moved.instance).unwrap());
    world.ledger.register(&place(), &moved, host.clone(), world.on, world.now).unwrap();
    let plan = world.next().unwrap();
    assert!(matches!(&plan.action, Action::Each { put, removed } if put.len() == 1 && removed.len() == 1));
    world.done(plan, Ok(()));
    let other = record("c", 2);
    let twin = world.ledger.register(&place(), &other, host, world.on, world.now).unwrap_err();
    assert_eq!(
        twin.to_string(),
        "limit exceeded: r-nacos has one instance for each host and port of a service: `b` is at 127.0.0.1:7 already"
    );
}

#[tokio::test(start_paused = true)]
async fn a_plan_of_a_connection_that_is_over_changes_nothing() {
    let mut world = World::connected(Flavour::Nacos);
    world.register("a", 1);
    world.publish();
    let mut waiting = world.register("a", 2);
    let plan = world.next().unwrap();
    world.ledger.disconnected();
    world.connect(2);
    world.done(plan, Ok(()));
    assert_eq!(decided(&mut waiting, 1), Some(Err(ErrorKind::Unavailable)));
    let again = world.next().unwrap();
    assert_eq!(
        (again.generation, hosts(&again).len()),
        (2, 1),
        "it is published on the next connection, and only there"
    );
}

#[tokio::test(start_paused = true)]
async fn what_nobody_has_taken_is_not_registered_behind_its_owners_back() {
    let mut world = World::connected(Flavour::Nacos);
    world.register("a", 1);
    let _plan = world.next().unwrap();
    world.ledger.disconnected();
    world.connect(2);
    assert!(world.next().is_none() && world.ledger.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_was_renewed_within_its_ttl_is_published_anew_and_nobody_else() {
    let mut world = World::connected(Flavour::Nacos);
    for id in ["a", "b", "c", "d"] {
        world.register(id, 1);
    }
    world.publish();
    world.ledger.disconnected();
    world.now += Duration::from_secs(10);
    // The owner lives, whether or not a server is there.
    world.ledger.renewing(&place(), &record("a", 1), world.now).unwrap();
    world.ledger.renewing(&place(), &record("c", 1), world.now).unwrap();
    world.ledger.renewing(&place(), &record("d", 1), world.now).unwrap();
    // Who leaves, or wants to be something else, does so without a server, too.
    world.ledger.deregister(&place(), &record("c", 1)).unwrap();
    world.ledger.forget(&place(), &record("d", 2));
    world.now += Duration::from_secs(10);
    world.connect(2);
    let plan = world.next().unwrap();
    let ids: Vec<_> = hosts(&plan).iter().map(|host| host.metadata["callsign.id"].clone()).collect();
    assert_eq!(ids, ["a"]);
}

#[tokio::test(start_paused = true)]
async fn who_is_not_renewed_is_withdrawn_and_told() {
    let mut world = World::connected(Flavour::Nacos);
    let (record_a, host) = (record("a", 1), Arc::new(encode(&record("a", 1).instance).unwrap()));
    let (_, mut lost) = world.ledger.register(&place(), &record_a, host, world.on, world.now).unwrap();
    world.register("b", 1);
    world.publish();
    world.now += TTL / 2;
    world.ledger.renewing(&place(), &record("b", 1), world.now).unwrap();
    world.now += TTL / 2;
    world.ledger.tick(world.now);
    assert_eq!(lost.fired().now_or_never().unwrap().kind(), ErrorKind::NotFound);
    let plan = world.next().unwrap();
    assert!(matches!(&plan.action, Action::One(host) if host.metadata["callsign.id"] == "b"));
    let renewed = world.ledger.renewing(&place(), &record("a", 1), world.now).unwrap_err();
    assert_eq!(renewed.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_of_is_sent_again_and_once_more_when_it_has_settled() {
    let mut world = World::connected(Flavour::Nacos);
    let mut ticket = world.register("a", 1);
    let plan = world.next().unwrap();
    world.done(plan, Err(silence()));
    assert_eq!(decided(&mut ticket, 1), Some(Err(ErrorKind::Timeout)));
    world.now += Duration::from_secs(2);
    world.publish();
    world.ledger.renewing(&place(), &record("a", 1), world.now).unwrap();
    assert!(world.next().is_none());
    world.now += Duration::from_secs(11);
    world.ledger.tick(world.now);
    assert!(matches!(world.next().unwrap().action, Action::One(_)), "the first one may have been late");
}

#[tokio::test(start_paused = true)]
async fn a_proof_tells_who_is_gone_and_who_was_taken_over() {
    let mut world = World::connected(Flavour::Nacos);
    let mut signals = BTreeMap::new();
    for id in ["a", "b", "c"] {
        let (record, host) = (record(id, 2), Arc::new(encode(&record(id, 2).instance).unwrap()));
        signals.insert(id, world.ledger.register(&place(), &record, host, world.on, world.now).unwrap().1);
    }
    world.publish();
    let found = [record("a", 2), record("c", 3)].map(|record| encode(&record.instance).unwrap());
    world.ledger.proven(&place(), 1, world.now + Duration::from_secs(1), &found);
    assert!(signals.get_mut("b").unwrap().fired().now_or_never().is_none(), "a server shows it only later");
    world.ledger.proven(&place(), 7, world.now + Duration::from_secs(5), &found);
    world.ledger.proven(&place(), 1, world.now + Duration::from_secs(5), &found);
    let mut fired = |id: &str| signals.get_mut(id).unwrap().fired().now_or_never().map(|error| error.kind());
    assert_eq!(
        [fired("a"), fired("b"), fired("c")],
        [None, Some(ErrorKind::NotFound), Some(ErrorKind::Conflict)]
    );
    let plan = world.next().unwrap();
    assert_eq!(hosts(&plan).len(), 1, "who was taken over is not published against its successor");
}

#[tokio::test(start_paused = true)]
async fn a_neighbours_change_proves_a_record_only_where_both_are_told_together() {
    for (flavour, is_unproven) in [(Flavour::Nacos, false), (Flavour::RNacos, true)] {
        let mut world = World::connected(flavour);
        world.register("a", 1);
        world.register("b", 1);
        world.publish();
        world.now += Ttl::default().get() * 2;
        world.register("b", 2);
        world.publish();
        assert_eq!(
            world.ledger.is_unproven(&place(), &record("a", 1), world.now),
            is_unproven,
            "{flavour:?}"
        );
        assert!(!world.ledger.is_unproven(&place(), &record("b", 2), world.now));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lower_pair_neither_replaces_nor_removes_a_higher_one() {
    let mut world = World::connected(Flavour::Nacos);
    world.register("a", 5);
    world.publish();
    let lower = record("a", 4);
    let host = Arc::new(encode(&lower.instance).unwrap());
    let refused = world.ledger.register(&place(), &lower, host, world.on, world.now).unwrap_err();
    assert_eq!((refused.kind(), refused.holder()), (ErrorKind::Conflict, Some(Pair::new(1, 5))));
    assert_eq!(world.ledger.deregister(&place(), &lower).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(world.ledger.renewing(&place(), &lower, world.now).unwrap_err().kind(), ErrorKind::Conflict);
}
