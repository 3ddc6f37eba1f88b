//! What becomes of a set of which a server refuses something.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_refusal_gives_up_what_is_new_and_keeps_what_was_there() {
    let mut world = World::connected(Flavour::Nacos);
    world.register("a", 1);
    world.publish();
    let mut newer = world.register("a", 2);
    let plan = world.next().unwrap();
    world.done(plan, Err(refusal()));
    assert_eq!(decided(&mut newer, 1), Some(Err(ErrorKind::LimitExceeded)));
    world.now += Duration::from_secs(2);
    assert!(world.next().is_none(), "the server has what it had");
    world.register("b", 1);
    world.publish();
    assert_eq!(
        decided(&mut newer, 1),
        Some(Err(ErrorKind::LimitExceeded)),
        "also when others were taken since"
    );
    let renewed = world.ledger.renewing(&place(), &record("a", 1), world.now);
    assert_eq!(decided(&mut renewed.unwrap(), 1), Some(Ok(())));
}

impl World {
    /// Has a server carry out what comes that refuses whatever `is_refused`, and says who is in the last set it has taken.
    fn publish_but(&mut self, is_refused: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let mut there = Vec::new();
        while let Some(plan) = self.next() {
            let metadata = |host: &Arc<Host>, key: &str| host.metadata[key].clone();
            let is_bad = |host: &Arc<Host>| {
                is_refused(&metadata(host, "callsign.id"), &metadata(host, "callsign.pair"))
            };
            if hosts(&plan).iter().any(is_bad) {
                self.done(plan, Err(refusal()));
            } else {
                there = hosts(&plan).iter().map(|host| metadata(host, "callsign.id")).collect();
                self.done(plan, Ok(()));
            }
        }
        there
    }
}

#[tokio::test(start_paused = true)]
async fn one_refused_record_does_not_take_those_along_that_came_with_it() {
    let mut world = World::connected(Flavour::Nacos);
    world.register("c", 1);
    world.publish();
    let mut tickets = ["a", "b", "c", "d", "e"].map(|id| (id, world.register(id, 2)));
    let there = world.publish_but(|id, pair| id == "b" || (id == "c" && pair == "1.2"));
    assert_eq!(there, ["a", "c", "d", "e"], "c is there as it was");
    for (id, ticket) in &mut tickets {
        let refused = *id == "b" || *id == "c";
        let expected = if refused { Err(ErrorKind::LimitExceeded) } else { Ok(()) };
        assert_eq!(decided(ticket, 1), Some(expected), "{id}");
    }
    assert!(world.ledger.is_settled());
    let renewed = world.ledger.renewing(&place(), &record("c", 1), world.now);
    assert_eq!(decided(&mut renewed.unwrap(), 1), Some(Ok(())));
    assert!(world.ledger.renewing(&place(), &record("b", 2), world.now).is_err());
}

#[tokio::test(start_paused = true)]
async fn who_comes_or_leaves_while_the_refused_one_is_searched_for_is_published_after_it() {
    let mut world = World::connected(Flavour::Nacos);
    world.register("a", 1);
    world.publish();
    let (mut good, mut bad) = (world.register("b", 1), world.register("c", 1));
    let plan = world.next().unwrap();
    let late = world.register("d", 1);
    world.ledger.deregister(&place(), &record("a", 1)).unwrap();
    world.done(plan, Err(refusal()));
    assert_eq!(decided(&mut good, 1), None, "it is not its fault");
    let there = world.publish_but(|id, _| id == "c");
    assert_eq!(there, ["b", "d"]);
    for (mut ticket, expected) in [(good, Ok(())), (late, Ok(()))] {
        assert_eq!(decided(&mut ticket, 1), Some(expected));
    }
    assert_eq!(decided(&mut bad, 1), Some(Err(ErrorKind::LimitExceeded)));
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_by_the_next_server_is_told_and_keeps_nobody_from_coming_back() {
    let mut world = World::connected(Flavour::Nacos);
    let bad = record("b", 1);
    let host = Arc::new(encode(&bad.instance).unwrap());
    let (_, mut lost) = world.ledger.register(&place(), &bad, host, world.on, world.now).unwrap();
    for id in ["a", "c", "d"] {
        world.register(id, 1);
    }
    world.publish();
    world.connect(2);
    assert_eq!(world.publish_but(|id, _| id == "b"), ["a", "c", "d"]);
    assert_eq!(lost.fired().now_or_never().unwrap().kind(), ErrorKind::LimitExceeded);
    assert!(world.ledger.is_settled());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_about_no_single_record_is_everybodys_at_once() {
    let denied =
        || Failure { error: Error::new(ErrorKind::PermissionDenied, "no"), verdict: Verdict::Denied };
    for searched in [false, true] {
        let mut world = World::connected(Flavour::Nacos);
        let mut tickets = ["a", "b", "c"].map(|id| world.register(id, 1));
        if searched {
            let plan = world.next().unwrap();
            world.done(plan, Err(refusal()));
        }
        let plan = world.next().unwrap();
        world.done(plan, Err(denied()));
        let denied = Some(Err(ErrorKind::PermissionDenied));
        assert!(tickets.iter_mut().all(|ticket| decided(ticket, 1) == denied), "{searched}");
        assert!(world.next().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_that_gets_no_answer_leaves_nobody_waiting() {
    let mut world = World::connected(Flavour::Nacos);
    let mut tickets = ["a", "b", "c"].map(|id| world.register(id, 1));
    let plan = world.next().unwrap();
    world.done(plan, Err(refusal()));
    let plan = world.next().unwrap();
    world.done(plan, Err(silence()));
    assert!(tickets.iter_mut().all(|ticket| decided(ticket, 1) == Some(Err(ErrorKind::Timeout))));
    world.now += Duration::from_secs(2);
    let plan = world.next().unwrap();
    assert_eq!(hosts(&plan).len(), 3, "what may have been carried out is sent once more");
}

#[tokio::test(start_paused = true)]
async fn who_was_there_on_another_connection_is_tried_again_however_often_it_is_refused() {
    let mut world = World::connected(Flavour::Nacos);
    world.register("a", 1);
    world.publish();
    world.connect(2);
    for _ in 0..3 {
        let plan = world.next().unwrap();
        world.done(plan, Err(refusal()));
        assert!(world.next().is_none(), "not at once");
        world.now += Duration::from_secs(2);
    }
    world.publish();
    assert!(world.ledger.is_settled());
}
