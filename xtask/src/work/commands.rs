//! Steps that are cargo commands.

use anyhow::Result;

use crate::counts::Counts;
use crate::process::Invocation;
use crate::step::{Outcome, Report};
use crate::transcript::Transcript;

pub(super) fn run(commands: &[Invocation], echo: bool) -> Result<Report> {
    let (outcome, _, text) = run_all(commands, echo)?;
    Ok(Report::new(outcome, text))
}

pub(super) fn test(commands: &[Invocation], at_least_one: bool, echo: bool) -> Result<Report> {
    let (outcome, counts, text) = run_all(commands, echo)?;
    Ok(Report::new(judge(outcome, counts, at_least_one), text).with_counts(counts))
}

fn judge(outcome: Outcome, counts: Counts, at_least_one: bool) -> Outcome {
    match outcome {
        Outcome::Failed(_) if counts.failed == 1 => Outcome::Failed("1 test failed".to_owned()),
        Outcome::Failed(_) if counts.failed > 1 => Outcome::Failed(format!("{} tests failed", counts.failed)),
        Outcome::Passed if at_least_one && counts.passed == 0 => Outcome::Failed("no test ran".to_owned()),
        other => other,
    }
}

fn run_all(commands: &[Invocation], echo: bool) -> Result<(Outcome, Counts, String)> {
    let mut transcript = Transcript::new(echo);
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for command in commands {
        let finished = transcript.run(command)?;
        counts += Counts::parse(&finished.output);
        if !finished.success() {
            failures.push(finished.end);
        }
    }
    let outcome = match (failures.as_slice(), commands.len()) {
        ([], _) => Outcome::Passed,
        ([end], 1) => Outcome::Failed(end.to_string()),
        (several, total) => Outcome::Failed(format!("{} of {total} commands failed", several.len())),
    };
    Ok((outcome, counts, transcript.into_text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Invocation {
        Invocation::new("sh").with_arguments(["-c", script])
    }

    fn result(passed: u32, failed: u32) -> String {
        format!("echo 'test result: ok. {passed} passed; {failed} failed; 0 ignored; 0 measured'")
    }

    #[test]
    fn every_command_runs_and_the_failed_ones_are_counted() {
        let report = run(&[shell("exit 1"), shell("echo reached"), shell("exit 2")], false).unwrap();
        assert_eq!(report.outcome, Outcome::Failed("2 of 3 commands failed".to_owned()));
        assert!(report.output.contains("reached"), "{}", report.output);
    }

    #[test]
    fn failed_tests_are_the_reason_when_there_are_any() {
        let failed = test(&[shell(&(result(3, 2) + "; exit 101"))], false, false).unwrap();
        assert_eq!(failed.outcome, Outcome::Failed("2 tests failed".to_owned()));
        assert_eq!((failed.counts.passed, failed.counts.failed), (3, 2));
        let broken = test(&[shell("exit 101")], false, false).unwrap();
        assert_eq!(broken.outcome, Outcome::Failed("exited with 101".to_owned()));
    }

    #[test]
    fn nothing_run_where_something_must_is_a_failure() {
        let commands = [shell(&result(0, 0))];
        assert_eq!(test(&commands, true, false).unwrap().outcome, Outcome::Failed("no test ran".to_owned()));
        assert_eq!(test(&commands, false, false).unwrap().outcome, Outcome::Passed);
    }
}
