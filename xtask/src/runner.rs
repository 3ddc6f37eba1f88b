//! Runs steps one after the other and says what happens.

use std::io::Write;

use crate::failures;
use crate::session::Session;
use crate::step::{Outcome, Step};
use crate::stopwatch::Stopwatch;
use crate::summary::{Row, seconds};
use crate::work;
use crate::workspace::Workspace;

/// A failed step does not keep the next ones from running.
pub(crate) fn run(steps: Vec<Step>, session: &Session, workspace: &Workspace) -> Vec<Row> {
    let total = steps.len();
    let run_one = |(index, step): (usize, Step)| {
        let heading = format!("[{:>2}/{total}] {}", index + 1, step.name);
        let echo =
            session.verbose || (session.ci && step.work.prints_tests()) || step.work.takes_its_time(session);
        if echo {
            println!("{heading}");
        } else {
            print!("{heading} ... ");
            // A heading that cannot be shown early is shown late.
            let _ = std::io::stdout().flush();
        }
        let stopwatch = Stopwatch::start();
        let report = work::perform(&step.work, session, workspace, echo);
        let duration = stopwatch.elapsed();
        if echo {
            print!("{heading}: ");
        }
        let took = seconds(duration);
        match &report.outcome {
            Outcome::Passed => println!("passed ({took})"),
            Outcome::Ignored(reason) => println!("ignored: {reason} ({took})"),
            Outcome::Failed(reason) => println!("FAILED: {reason} ({took})"),
        }
        if matches!(report.outcome, Outcome::Failed(_)) && !echo && !report.output.is_empty() {
            println!("\n{}\n", report.output.trim_end());
        }
        let failures = failures::of(&report.output);
        Row { name: step.name, outcome: report.outcome, counts: report.counts, duration, failures }
    };
    steps.into_iter().enumerate().map(run_one).collect()
}
