//! Runs the examples as a reader would, each as a test of its own.

use std::time::Duration;

use anyhow::Result;

use crate::counts::Counts;
use crate::process::Invocation;
use crate::step::{Outcome, Report};
use crate::stopwatch::Stopwatch;
use crate::summary::seconds;
use crate::transcript::Transcript;

const PACKAGE: &str = "callsign-examples";
/// An example shows one situation and ends; one that hangs must not hold up the run. Building is not in it.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) fn run(programs: &[String], echo: bool) -> Result<Report> {
    let mut transcript = Transcript::new(echo);
    let build = Invocation::cargo(["build", "--package", PACKAGE, "--bins"]);
    if !transcript.run(&build)?.success() {
        return Ok(Report::new(
            Outcome::Failed("the examples do not build".to_owned()),
            transcript.into_text(),
        ));
    }
    let mut counts = Counts::default();
    let mut failed = Vec::new();
    for program in programs {
        let stopwatch = Stopwatch::start();
        let run =
            Invocation::cargo(["run", "--quiet", "--package", PACKAGE, "--bin", program]).with_limit(LIMIT);
        let finished = transcript.run(&run)?;
        if finished.success() {
            counts.passed += 1;
            transcript.say(&format!("example {program}: passed ({})", seconds(stopwatch.elapsed())));
        } else {
            counts.failed += 1;
            transcript.say(&format!("example {program}: FAILED, {}", finished.end));
            failed.push(program.as_str());
        }
    }
    let outcome = match failed.as_slice() {
        [] => Outcome::Passed,
        names => Outcome::Failed(format!("failed: {}", names.join(", "))),
    };
    Ok(Report::new(outcome, transcript.into_text()).with_counts(counts))
}
