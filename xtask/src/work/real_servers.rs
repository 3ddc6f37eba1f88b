//! Runs the tests that start real servers.

use std::thread;

use anyhow::{Result, anyhow};

use super::commands;
use crate::process::Invocation;
use crate::servers;
use crate::session::Session;
use crate::step::{Outcome, Report};

/// Names the servers that the tests may not do without; they are ignored where others are missing.
const REQUIRE: &str = "CALLSIGN_REQUIRE";
pub(super) fn test(
    build: &[Invocation],
    lanes: &[Vec<Invocation>],
    session: &Session,
    echo: bool,
) -> Result<Report> {
    // Looked up now, for an earlier step has fetched them.
    let mut variables: Vec<_> = servers::variables(&session.cache)
        .into_iter()
        .map(|(name, program)| (name, program.into_os_string()))
        .collect();
    if session.ci && std::env::var_os(REQUIRE).is_none() {
        variables.push((REQUIRE.to_owned(), servers::required().into()));
    }
    let build: Vec<_> =
        build.iter().map(|command| command.clone().with_variables(variables.clone())).collect();
    let compiled = commands::run(&build, echo)?;
    if compiled.outcome != Outcome::Passed {
        return Ok(compiled);
    }
    let reports = side_by_side(lanes, |command| {
        commands::test(&[command.clone().with_variables(variables.clone())], session.ci, echo)
    })?;
    Ok(reports.into_iter().fold(compiled, together))
}

/// What `run` makes of each command: lane beside lane, and in each lane one after the other.
fn side_by_side<T: Send>(
    lanes: &[Vec<Invocation>],
    run: impl Fn(&Invocation) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let run = &run;
    thread::scope(|scope| {
        let lanes: Vec<_> =
            lanes.iter().map(|lane| scope.spawn(move || lane.iter().map(run).collect())).collect();
        let mut made = Vec::new();
        for lane in lanes {
            let lane: Result<Vec<_>> = lane.join().map_err(|_| anyhow!("a run of tests has panicked"))?;
            made.extend(lane?);
        }
        Ok(made)
    })
}

fn together(mut all: Report, one: Report) -> Report {
    all.outcome = match (all.outcome, one.outcome) {
        (Outcome::Failed(first), Outcome::Failed(more)) => Outcome::Failed(format!("{first}, {more}")),
        (failed @ Outcome::Failed(_), _) | (Outcome::Passed, failed) => failed,
        (ignored @ Outcome::Ignored(_), other) => {
            if matches!(other, Outcome::Failed(_)) {
                other
            } else {
                ignored
            }
        }
    };
    all.counts += one.counts;
    all.output.push_str(&one.output);
    all
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Mutex};

    use super::*;

    fn report(outcome: Outcome, output: &str) -> Report {
        Report::new(outcome, output)
    }

    #[test]
    fn lanes_run_at_the_same_time_and_their_suites_one_after_the_other() {
        let command = |name: &str| Invocation::new(name);
        let lanes = [vec![command("a"), command("b")], vec![command("c")]];
        // Nobody passes it alone.
        let (both, busy) = (Barrier::new(2), Mutex::new(Vec::new()));
        let ran = side_by_side(&lanes, |command| {
            let name = command.to_string();
            if name != "b" {
                both.wait();
            }
            busy.lock().unwrap().push(name.clone());
            Ok(name)
        });
        assert_eq!(ran.unwrap(), ["a", "b", "c"]);
        let busy = busy.into_inner().unwrap();
        assert!(busy.iter().position(|name| name == "a") < busy.iter().position(|name| name == "b"));
    }

    #[test]
    fn one_failed_suite_fails_the_step_and_hides_no_other() {
        let failed = |why: &str| Outcome::Failed(why.to_owned());
        let all = [report(failed("1 test failed"), "a"), report(Outcome::Passed, "b")];
        let all = all.into_iter().fold(report(Outcome::Passed, "built "), together);
        assert_eq!((&all.outcome, all.output.as_str()), (&failed("1 test failed"), "built ab"));
        let all = together(all, report(failed("2 tests failed"), "c"));
        assert_eq!(all.outcome, failed("1 test failed, 2 tests failed"));
    }
}
