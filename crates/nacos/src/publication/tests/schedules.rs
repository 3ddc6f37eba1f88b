//! Random schedules: whatever becomes of requests and connections, servers end up with what is wanted.

use super::*;

/// A server that keeps one set for each connection, carries requests out late, and ends connections.
#[derive(Default)]
struct Server {
    generation: u64,
    set: Vec<Arc<Host>>,
}

impl Server {
    /// The answer, where it comes.
    fn carry_out(&mut self, plan: &Plan) -> Result<(), Failure> {
        // A connection that is over is not known any more.
        if plan.generation != self.generation {
            return Ok(());
        }
        // Nacos says of a set only that it does not take it.
        let is_bad = |host: &Arc<Host>| host.metadata["callsign.id"] == BAD;
        if hosts(plan).iter().any(is_bad) && !matches!(plan.action, Action::Each { .. }) {
            return Err(refusal());
        }
        match &plan.action {
            Action::One(_) | Action::Batch(_) | Action::Nothing(_) => self.set = hosts(plan),
            Action::Each { put, removed } => {
                let at = |host: &Host| (host.ip.clone(), host.port);
                self.set.retain(|held| !removed.iter().chain(put).any(|host| at(host) == at(held)));
                self.set.extend(put.iter().cloned());
            }
        }
        Ok(())
    }
}

/// Whom a server refuses that takes whole sets.
const BAD: &str = "z";

#[tokio::test(start_paused = true)]
async fn random_schedules_end_with_what_the_owners_want_and_nothing_else() {
    let seeds = match std::env::var("CALLSIGN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..1000).map(|_| fastrand::u64(..)).collect(),
    };
    for seed in seeds {
        for flavour in [Flavour::Nacos, Flavour::RNacos] {
            let outcome = std::panic::catch_unwind(|| schedule(seed, flavour));
            assert!(outcome.is_ok(), "CALLSIGN_TEST_SEED={seed} repeats this, on {flavour:?}");
        }
    }
}

fn schedule(seed: u64, flavour: Flavour) {
    const IDS: [&str; 6] = ["a", "b", "c", "d", "e", BAD];
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut world = World::connected(flavour);
    let mut server = Server { generation: 1, set: Vec::new() };
    // What each owner wants, as far as it was told that it is so.
    let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut seq, mut connected, mut generation) = (0, true, 1);
    // Requests that are carried out after their time, but not long after.
    let mut late: Vec<(Instant, Plan)> = Vec::new();
    for _ in 0..60 {
        world.now += Duration::from_millis(dice.u64(0..1500));
        let id = IDS[dice.usize(..IDS.len())];
        match dice.u8(0..12) {
            0..=2 if connected => {
                seq += 1;
                world.register(id, seq);
                wanted.insert(id, seq);
            }
            3 => {
                // Owners count on.
                seq += 1;
                let _ = world.ledger.deregister(&place(), &record(id, seq));
                wanted.remove(id);
            }
            4 if connected => {
                world.ledger.disconnected();
                (connected, server) = (false, Server::default());
                late.clear();
            }
            5 if !connected => {
                generation += 1;
                world.connect(generation);
                (connected, server.generation) = (true, generation);
            }
            6 => world.ledger.tick(world.now),
            _ => {
                if let Some(plan) = world.next() {
                    match dice.u8(0..6) {
                        0 => {
                            // Carried out, and the answer lost; or carried out late.
                            if dice.bool() {
                                let _ = server.carry_out(&plan);
                            } else {
                                late.push((
                                    world.now + Duration::from_millis(dice.u64(..8000)),
                                    plan.clone(),
                                ));
                            }
                            world.done(plan, Err(silence()));
                        }
                        1 => world.done(plan, Err(refusal())),
                        _ => {
                            let answer = server.carry_out(&plan);
                            world.done(plan, answer);
                        }
                    }
                }
            }
        }
        carry_out_late(&mut server, &mut late, world.now);
        for (id, seq) in &wanted {
            let _ = world.ledger.renewing(&place(), &record(id, *seq), world.now);
        }
    }
    if !connected {
        server.generation = generation + 1;
        world.connect(server.generation);
    }
    // Registrars: whoever was told that its record is not there registers it again.
    for _ in 0..40 {
        world.now += Duration::from_millis(900);
        carry_out_late(&mut server, &mut late, world.now);
        for (id, seq) in &wanted {
            if world.ledger.renewing(&place(), &record(id, *seq), world.now).is_err() {
                world.register(id, *seq);
            }
        }
        world.ledger.tick(world.now);
        while let Some(plan) = world.next() {
            let answer = server.carry_out(&plan);
            world.done(plan, answer);
        }
    }
    if flavour == Flavour::Nacos {
        wanted.remove(BAD);
    }
    let mut there: Vec<_> = server
        .set
        .iter()
        .map(|host| (host.metadata["callsign.id"].clone(), host.metadata["callsign.pair"].clone()))
        .collect();
    there.sort();
    let expected: Vec<_> = wanted.iter().map(|(id, seq)| ((*id).to_owned(), format!("1.{seq}"))).collect();
    assert_eq!(there, expected, "seed {seed}");
}

fn carry_out_late(server: &mut Server, late: &mut Vec<(Instant, Plan)>, now: Instant) {
    for (_, plan) in late.extract_if(.., |(at, _)| now >= *at) {
        let _ = server.carry_out(&plan);
    }
}
