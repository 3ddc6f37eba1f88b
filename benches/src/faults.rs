//! A hundred rounds of random faults on real servers, held against the rules that views owe.

use std::time::Duration;

use anyhow::Result;
use callsign_integration_tests::etcd::{Options, Version};
use callsign_integration_tests::rounds::{self, GONE, Outcome, Report, SETTLED};
use futures::try_join;
use tokio::runtime;

use crate::measure::{Measured, Skipped, Unit};
use crate::samples::Samples;

const VERSION: Version = Version::V3_5;
/// On a single member, and as many on three.
const ROUNDS: usize = 50;

/// Kills, freezes, wipes, partitions and stalls, while owners of 24 instances come and go and three views look on:
/// breaches of the rules, the slowest recovery, and the longest that a dead instance was shown.
pub(crate) fn rounds() -> Result<Vec<Measured>> {
    VERSION.program().map_err(Skipped)?;
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    // They mostly wait, so both run at the same time.
    let reports = runtime.block_on(async {
        let single = run("one member", Options::new(VERSION));
        let cluster = run("three members", Options::new(VERSION).with_cluster());
        let (single, cluster) = try_join!(single, cluster)?;
        anyhow::Ok([single, cluster])
    })?;
    let outcomes = || reports.iter().flat_map(|report| &report.outcomes);
    let samples =
        |pick: fn(&Outcome) -> Option<Duration>, what| Samples::new(outcomes().filter_map(pick), what);
    let settled = samples(|outcome| outcome.settled, "rounds");
    let gone = samples(|outcome| outcome.gone, "deaths");
    let violations: usize = reports.iter().map(|report| report.violations.len()).sum();
    let [operations, sights] =
        [|report: &Report| report.summary.operations, |report: &Report| report.summary.sights]
            .map(|count| reports.iter().map(count).sum::<usize>());
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 violations")]
    let violations = violations as f64;
    let what = format!("{} rounds, {operations} writes, {sights} sights", outcomes().count());
    Ok(vec![
        Measured::count("faults.violations", violations, "violations", 0.0, what),
        Measured::slowest("faults.settled", &settled, Unit::Seconds, SETTLED.as_secs_f64()),
        Measured::slowest("faults.gone", &gone, Unit::Seconds, GONE.as_secs_f64()),
    ])
}

#[expect(clippy::print_stderr, reason = "it takes some minutes, and a breach has to be seen")]
async fn run(what: &'static str, options: Options) -> Result<Report> {
    let seed = fastrand::u64(..);
    eprintln!("{what}: seed {seed}");
    let report = rounds::run(options, ROUNDS, seed, |outcome| eprintln!("{what}: {outcome}")).await?;
    report.violations.iter().for_each(|violation| eprintln!("{what}: violation: {violation}"));
    Ok(report)
}
