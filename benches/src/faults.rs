//! A hundred rounds of random faults on real servers, held against the rules that views owe.

use std::time::Duration;

use anyhow::Result;
use callsign_failover::Topology;
use callsign_integration_tests::consul::{self, Consul, Kind};
use callsign_integration_tests::etcd::{Etcd, Options, Version};
use callsign_integration_tests::nacos::{self, Fake, FakeOptions, RNacos, RNacosOptions};
use callsign_integration_tests::rounds::{self, Ground, Outcome, Promises, Report};
use callsign_integration_tests::zookeeper::{self, ZooKeeper};
use futures::try_join;
use tokio::runtime;

use crate::measure::{Measure, Skipped, Unit};
use crate::samples::Samples;

const VERSION: Version = Version::V3_5;
/// On each of two registries.
const ROUNDS: usize = 50;

/// Kills, freezes, wipes, partitions and stalls, while owners of 24 instances come and go and three views look on:
/// breaches of the rules, the slowest recovery, and the longest that a dead instance was shown.
pub(crate) fn on_etcd() -> Result<Vec<Measure>> {
    VERSION.program().map_err(Skipped)?;
    rounds(["faults.violations", "faults.settled", "faults.gone"], async || {
        let single = Etcd::start(Options::new(VERSION)).await?;
        let cluster = Etcd::start(Options::new(VERSION).with_cluster()).await?;
        Ok([("one member of etcd", single.into()), ("three members of etcd", cluster.into())])
    })
}

/// As [`on_etcd`], on an agent that is a server, and on three servers with an agent for clients.
pub(crate) fn on_consul() -> Result<Vec<Measure>> {
    consul::program().map_err(Skipped)?;
    rounds(["faults.consul_violations", "faults.consul_settled", "faults.consul_gone"], async || {
        let single = Consul::start(consul::Options::new(Kind::Single)).await?;
        let cluster = Consul::start(consul::Options::new(Kind::Cluster)).await?;
        Ok([("one server of consul", single.into()), ("three servers of consul", cluster.into())])
    })
}

/// As [`on_etcd`], on two ensembles of three servers.
pub(crate) fn on_zookeeper() -> Result<Vec<Measure>> {
    let version = zookeeper::Version::V3_9;
    version.jar().map_err(Skipped)?;
    rounds(["faults.zookeeper_violations", "faults.zookeeper_settled", "faults.zookeeper_gone"], async || {
        let options = zookeeper::Options::new(version).with_ensemble();
        let one = ZooKeeper::start(options.clone()).await?;
        let other = ZooKeeper::start(options).await?;
        Ok([("an ensemble", one.into()), ("another ensemble", other.into())])
    })
}

/// As [`on_etcd`], on a fake as strict as Nacos, and on an r-nacos.
pub(crate) fn on_nacos() -> Result<Vec<Measure>> {
    nacos::program().map_err(Skipped)?;
    rounds(["faults.nacos_violations", "faults.nacos_settled", "faults.nacos_gone"], async || {
        let strict = Fake::start(FakeOptions::default())?;
        let rnacos = RNacos::start(RNacosOptions::default()).await?;
        Ok([("a fake nacos", strict.into()), ("an r-nacos", rnacos.into())])
    })
}

/// As [`on_etcd`], on an etcd that a ZooKeeper mirrors, and on one that is merged with a consul: each is hurt alone, and
/// both together.
pub(crate) fn on_both() -> Result<Vec<Measure>> {
    VERSION.program().map_err(Skipped)?;
    consul::program().map_err(Skipped)?;
    let version = zookeeper::Version::V3_9;
    version.jar().map_err(Skipped)?;
    rounds(["faults.both_violations", "faults.both_settled", "faults.both_gone"], async || {
        let etcd = Etcd::start(Options::new(VERSION)).await?.into();
        let zookeeper = ZooKeeper::start(zookeeper::Options::new(version)).await?.into();
        let mirror = Ground::both(Topology::Mirror, etcd, zookeeper);
        let etcd = Etcd::start(Options::new(VERSION)).await?.into();
        let consul = Consul::start(consul::Options::new(Kind::Single)).await?.into();
        let union = Ground::both(Topology::Union, etcd, consul);
        Ok([("a mirror of etcd and zookeeper", mirror), ("a union of etcd and consul", union)])
    })
}

fn rounds(
    [violated, settled_after, gone_after]: [&str; 3],
    start: impl AsyncFnOnce() -> Result<[(&'static str, Ground); 2]>,
) -> Result<Vec<Measure>> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    // They mostly wait, so both run at the same time.
    let (reports, promises) = runtime.block_on(async {
        let grounds = start().await?;
        let promises = grounds.each_ref().map(|(_, ground)| ground.promises());
        let [(a, one), (b, other)] = grounds;
        let (one, other) = try_join!(run(a, one), run(b, other))?;
        anyhow::Ok(([one, other], promises))
    })?;
    let slowest =
        |of: fn(&Promises) -> Duration| promises.iter().map(of).max().unwrap_or_default().as_secs_f64();
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
        Measure::count(violated, violations, "violations", 0.0, what),
        Measure::slowest(settled_after, &settled, Unit::Seconds, slowest(|promises| promises.settled)),
        Measure::slowest(gone_after, &gone, Unit::Seconds, slowest(|promises| promises.gone)),
    ])
}

#[expect(clippy::print_stderr, reason = "it takes some minutes, and a breach has to be seen")]
async fn run(what: &'static str, ground: Ground) -> Result<Report> {
    let seed = fastrand::u64(..);
    eprintln!("{what}: seed {seed}");
    let report = rounds::run(ground, ROUNDS, seed, |outcome| eprintln!("{what}: {outcome}")).await?;
    report.violations.iter().for_each(|violation| eprintln!("{what}: violation: {violation}"));
    Ok(report)
}
