//! Each rule of the history checker reports the fault that it is for, and nothing else does.

#![expect(clippy::unwrap_used, reason = "a test's own data is right, or the test is wrong")]

use std::collections::BTreeMap;
use std::time::Duration;

use callsign_core::{InstanceId, Pair};
use callsign_testkit::history::{Bounds, History, Rule};
use tokio::time::{advance, pause};

/// How late the views of a valid history are at most.
const LAG: u64 = 900;
const BOUNDS: Bounds = Bounds::both(Duration::from_millis(LAG));
const SEEDS: u64 = 300;
const VIEWS: [&str; 3] = ["a", "b", "c"];

type Set = BTreeMap<InstanceId, Pair>;

/// What is done at one instant.
#[derive(Debug, Clone)]
enum Step {
    Register(InstanceId, Pair),
    /// A write whose answer never came, and which did not happen.
    RegisterInVain(InstanceId, Pair),
    Deregister(InstanceId, Pair),
    Lapse(InstanceId),
    Show(&'static str, Set),
}

/// A schedule: instants in milliseconds, and what is done then.
type Schedule = Vec<(u64, Step)>;

/// The owners' half of a valid history: what is done when, and after it the live set.
fn owners(dice: &mut fastrand::Rng) -> Vec<(u64, Step, Set)> {
    let mut live = Set::new();
    let mut gone = BTreeMap::<InstanceId, u64>::new();
    let mut time = 0;
    let mut steps = Vec::new();
    for _ in 0..dice.usize(20..60) {
        time += dice.u64(50..2000);
        let id = InstanceId::new(format!("id-{}", dice.u8(0..6))).unwrap();
        let step = match live.get(&id).copied() {
            None => {
                let incarnation = gone.get(&id).copied().unwrap_or(0) + 1;
                live.insert(id.clone(), Pair::new(incarnation, 1));
                Step::Register(id, Pair::new(incarnation, 1))
            }
            Some(pair) => {
                let next = Pair::new(pair.incarnation, pair.seq + 1);
                match dice.u8(0..10) {
                    0..6 => {
                        live.insert(id.clone(), next);
                        Step::Register(id, next)
                    }
                    6 => Step::RegisterInVain(id, next),
                    last => {
                        live.remove(&id);
                        gone.insert(id.clone(), pair.incarnation);
                        if last == 9 { Step::Lapse(id) } else { Step::Deregister(id, next) }
                    }
                }
            }
        };
        steps.push((time, step, live.clone()));
    }
    // So that every history has somebody to miss, and everything certain at the end.
    for n in 0..6 {
        let id = InstanceId::new(format!("id-{n}")).unwrap();
        let pair = live.get(&id).map_or_else(
            || Pair::new(gone.get(&id).copied().unwrap_or(0) + 1, 1),
            |pair| Pair::new(pair.incarnation, pair.seq + 1),
        );
        time += 50;
        live.insert(id.clone(), pair);
        steps.push((time, Step::Register(id, pair), live.clone()));
    }
    steps
}

/// A valid history: every view shows every state of the live set, or skips it for a later one, within the lag.
fn valid(seed: u64) -> Schedule {
    let dice = &mut fastrand::Rng::with_seed(seed);
    let owners = owners(dice);
    let mut schedule = Schedule::new();
    for view in VIEWS {
        let mut last = 0;
        for (time, _, live) in &owners {
            let shown = (time + dice.u64(1..LAG)).max(last);
            last = shown;
            schedule.push((shown, Step::Show(view, live.clone())));
        }
    }
    schedule.extend(owners.into_iter().map(|(time, step, _)| (time, step)));
    schedule.sort_by_key(|(time, _)| *time);
    schedule
}

/// Plays a schedule on paused time, waits until everything has settled, and asks the checker.
fn broken_rules(schedule: &Schedule) -> Vec<(Rule, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        pause();
        let history = History::new();
        let mut now = 0;
        for (time, step) in schedule {
            advance(Duration::from_millis(time - now)).await;
            now = *time;
            match step.clone() {
                Step::Register(id, pair) => history.registers(&id, pair).acknowledged(),
                Step::RegisterInVain(id, pair) => history.registers(&id, pair).unknown(),
                Step::Deregister(id, pair) => history.deregisters(&id, pair).acknowledged(),
                Step::Lapse(id) => history.lapses(&id),
                Step::Show(view, set) => history.view(view).shows(set),
            }
        }
        advance(Duration::from_secs(10)).await;
        let violations = history.violations(&BOUNDS);
        violations.iter().map(|violation| (violation.rule, violation.to_string())).collect()
    })
}

/// Breaks valid histories by `fault` and expects `rule`, and no other, to report each. `fault` gives `false` where a
/// history has no place for it.
fn only(rule: Rule, mut fault: impl FnMut(&mut Schedule, &mut fastrand::Rng) -> bool) {
    let mut broken = 0;
    for seed in 0..SEEDS {
        let mut schedule = valid(seed);
        let mut dice = fastrand::Rng::with_seed(seed);
        if !fault(&mut schedule, &mut dice) {
            continue;
        }
        schedule.sort_by_key(|(time, _)| *time);
        broken += 1;
        let reported = broken_rules(&schedule);
        assert!(!reported.is_empty(), "seed {seed}: {rule:?} did not notice");
        for (reported, text) in reported {
            assert_eq!(reported, rule, "seed {seed}: another rule reports:\n{text}");
        }
    }
    assert!(broken > SEEDS / 2, "only {broken} histories had a place for the fault");
}

/// Shows `set` between two sights of `view` that lie apart: at the earliest after `after`.
fn interlude(
    schedule: &mut Schedule,
    dice: &mut fastrand::Rng,
    after: u64,
    change: impl Fn(u64, &mut Set) -> bool,
) -> bool {
    let view = VIEWS[dice.usize(0..VIEWS.len())];
    let sights: Vec<(u64, Set)> = schedule
        .iter()
        .filter_map(|(time, step)| match step {
            Step::Show(name, set) if *name == view => Some((*time, set.clone())),
            _ => None,
        })
        .collect();
    for pair in sights.windows(2) {
        let [(from, set), (to, _)] = pair else { continue };
        let at = (*from).max(after) + 1;
        let mut changed = set.clone();
        if at + 1 < *to && change(at, &mut changed) {
            schedule.push((at, Step::Show(view, changed)));
            schedule.push((at + 1, Step::Show(view, set.clone())));
            return true;
        }
    }
    false
}

/// When what was removed, and when the same id was registered again.
fn removals(schedule: &Schedule) -> Vec<(u64, InstanceId, Pair, u64)> {
    let mut removals = Vec::new();
    for (nth, (time, step)) in schedule.iter().enumerate() {
        let Step::Deregister(id, pair) = step else {
            continue;
        };
        let again =
            schedule[nth..].iter().find(|(_, step)| matches!(step, Step::Register(other, _) if other == id));
        removals.push((*time, id.clone(), *pair, again.map_or(u64::MAX, |(time, _)| *time)));
    }
    removals
}

#[test]
fn a_valid_history_breaks_no_rule() {
    for seed in 0..SEEDS {
        let reported = broken_rules(&valid(seed));
        assert!(reported.is_empty(), "seed {seed}: {}", reported[0].1);
    }
}

#[test]
fn a_removed_instance_that_is_shown_again_is_a_ghost() {
    only(Rule::NoGhosts, |schedule, dice| {
        let removals = removals(schedule);
        removals.into_iter().any(|(time, id, pair, again)| {
            // As it was last seen, after every view has had its time.
            interlude(schedule, dice, time + LAG + 1, |at, set| {
                at < again && set.insert(id.clone(), pair).is_none()
            })
        })
    });
}

#[test]
fn a_former_version_is_a_step_back() {
    only(Rule::NoStepBack, |schedule, dice| {
        interlude(schedule, dice, 0, |_, set| {
            // Its first version was shown, or skipped for a later one; either way this is lower than the present.
            let updated = set.iter_mut().find(|(_, pair)| pair.seq > 1);
            updated.map(|(_, pair)| pair.seq -= 1).is_some()
        })
    });
}

#[test]
fn a_live_instance_that_vanishes_is_a_gap() {
    only(Rule::NoGaps, |schedule, dice| {
        // The six registrations at the end: somebody is live and shown when the views have settled.
        let settled = schedule.last().unwrap().0 + LAG + 1;
        let view = VIEWS[dice.usize(0..VIEWS.len())];
        let last = schedule.iter().rev().find_map(|(_, step)| match step {
            Step::Show(name, set) if *name == view => Some(set.clone()),
            _ => None,
        });
        let whole = last.unwrap();
        let mut holed = whole.clone();
        let victim = dice.usize(0..holed.len());
        let victim = holed.keys().nth(victim).unwrap().clone();
        holed.remove(&victim);
        schedule.push((settled, Step::Show(view, holed)));
        // Also when it is back at the same instant.
        schedule.push((settled + dice.u64(0..2), Step::Show(view, whole)));
        true
    });
}

#[test]
fn a_view_that_never_hears_of_the_last_version_disagrees() {
    only(Rule::Agreement, |schedule, dice| {
        let view = VIEWS[dice.usize(0..VIEWS.len())];
        // The last writes are updates: all that this view shows later lacks one of them.
        let end = schedule.last().unwrap().0;
        let deaf = schedule.iter().rev().find_map(|(_, step)| match step {
            Step::Register(id, pair) if pair.seq > 1 => Some((id.clone(), *pair)),
            _ => None,
        });
        let Some((id, pair)) = deaf else { return false };
        let mut found = false;
        for (_, step) in schedule.iter_mut() {
            if let Step::Show(name, set) = step
                && *name == view
                && set.get(&id) == Some(&pair)
            {
                found = true;
                set.insert(id.clone(), Pair::new(pair.incarnation, pair.seq - 1));
            }
        }
        found && end > 0
    });
}

#[test]
fn a_lapsed_instance_that_stays_disagrees() {
    only(Rule::Agreement, |schedule, _| {
        let end = schedule.last().unwrap().0;
        let id = InstanceId::new("id-0").unwrap();
        schedule.push((end + 1, Step::Lapse(id)));
        true
    });
}

#[test]
fn a_trace_has_what_one_needs_to_see() {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let history = History::new();
        let (one, two) = (InstanceId::new("one").unwrap(), InstanceId::new("two").unwrap());
        history.registers(&one, Pair::new(1, 1)).acknowledged();
        history.registers(&two, Pair::new(9, 9)).acknowledged();
        history.view("a").shows([(one.clone(), Pair::new(1, 1)), (two.clone(), Pair::new(9, 9))]);
        advance(Duration::from_secs(1)).await;
        history.deregisters(&one, Pair::new(1, 2)).acknowledged();
        history.view("a").shows([(two.clone(), Pair::new(9, 9))]);
        advance(Duration::from_secs(1)).await;
        history.view("a").shows([(two.clone(), Pair::new(9, 9)), (one, Pair::new(1, 1))]);
        let violation = history.check(&Bounds::both(Duration::from_millis(500))).unwrap_err();
        assert_eq!(
            violation.to_string(),
            "view `a`, instance `one`: a removed instance is shown\n\
             \x20    0.000s owner: registers 1.1\n\
             \x20    0.000s owner: registers 1.1: acknowledged\n\
             \x20    0.000s view: shows 1.1\n\
             \x20    1.000s owner: deregisters 1.2\n\
             \x20    1.000s owner: deregisters 1.2: acknowledged\n\
             \x20    1.000s view: does not show it\n\
             \x20    2.000s view: shows 1.1\n\
             \x20    2.000s <- here"
        );
    });
}

#[test]
fn what_a_write_without_an_answer_has_shown_may_go_until_the_next_one_is_seen() {
    let id = InstanceId::new("one").unwrap();
    let pair = Pair::new(1, 1);
    let here = || Set::from([(id.clone(), pair)]);
    let schedule = |back| {
        vec![
            (0, Step::RegisterInVain(id.clone(), pair)),
            (10, Step::Show("a", here())),
            (20, Step::Register(id.clone(), pair)),
            // The lease of the first write has ended: the view is behind by the second one.
            (21, Step::Show("a", Set::new())),
            (back, Step::Show("a", here())),
        ]
    };
    assert!(broken_rules(&schedule(30)).is_empty());
    let late: Vec<_> = broken_rules(&schedule(20 + LAG + 1)).into_iter().map(|(rule, _)| rule).collect();
    assert_eq!(late, [Rule::NoGaps]);
}

#[test]
fn a_former_owner_that_says_goodbye_late_ends_no_life_of_its_successor() {
    let id = InstanceId::new("one").unwrap();
    let set = |incarnation| Set::from([(id.clone(), Pair::new(incarnation, 1))]);
    let schedule = |last: Set| {
        vec![
            (0, Step::Register(id.clone(), Pair::new(1, 1))),
            (10, Step::Show("a", set(1))),
            (20, Step::Lapse(id.clone())),
            (30, Step::Register(id.clone(), Pair::new(2, 1))),
            (40, Step::Show("a", set(2))),
            (50, Step::Deregister(id.clone(), Pair::new(1, 2))),
            (60 + 2 * LAG, Step::Show("a", last)),
        ]
    };
    assert!(broken_rules(&schedule(set(2))).is_empty());
    assert!(!broken_rules(&schedule(Set::new())).is_empty());
}
