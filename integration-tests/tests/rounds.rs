//! Whatever befalls a real registry in whatever order: nobody is lost, and nobody comes back who has left.
//!
//! The faults are chosen by a seed, which a failure prints; `CALLSIGN_TEST_SEED` repeats one, and
//! `CALLSIGN_TEST_ROUNDS` says how many rounds there are.

#![expect(clippy::print_stdout, reason = "a test that says what it is doing")]

use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use callsign_core::{Authority, Backend, Capabilities, Error, Result, async_trait};
use callsign_failover::Topology;
use callsign_integration_tests::consul::{self, Consul, Kind};
use callsign_integration_tests::etcd::{self, Etcd, Version};
use callsign_integration_tests::nacos::{self, Fake, FakeOptions, RNacos, RNacosOptions};
use callsign_integration_tests::rounds::{self, Ground};
use callsign_integration_tests::zookeeper::{self, ZooKeeper};
use callsign_testkit::suite::{CaseResult, Stop};
use callsign_testkit::{Harness, Subject, run_with_threads};

const VERSION: Version = Version::V3_5;
/// Each has another kind of fault.
const ROUNDS: usize = 5;

/// The cases start what they need.
struct NoHarness;

#[async_trait]
impl Harness for NoHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        Err(Error::unsupported("the cases start what they need"))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Authority::Quorum)
    }
}

fn setting<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

async fn survives(name: &str, ground: Ground) -> CaseResult {
    let seed = setting("CALLSIGN_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let count = setting("CALLSIGN_TEST_ROUNDS").unwrap_or(ROUNDS);
    println!("{name}, seed {seed}");
    let report = rounds::run(ground, count, seed, |outcome| println!("{name}, {outcome}")).await?;
    println!("{name}, in all {:?}", report.summary);
    match report.violations.as_slice() {
        [] => Ok(()),
        all => Err(Stop::failed(format!("CALLSIGN_TEST_SEED={seed} repeats this\n{}", all.join("\n")))),
    }
}

async fn etcd_survives(options: etcd::Options) -> CaseResult {
    options.version.program().map_err(Stop::Missing)?;
    let name = format!("etcd of {}", options.members);
    survives(&name, Etcd::start(options).await?.into()).await
}

async fn consul_survives(kind: Kind) -> CaseResult {
    consul::program().map_err(Stop::Missing)?;
    let consul = Consul::start(consul::Options::new(kind)).await?;
    survives(&format!("consul of {}", consul.agents().len()), consul.into()).await
}

async fn zookeeper_survives(options: zookeeper::Options) -> CaseResult {
    options.version.jar().map_err(Stop::Missing)?;
    let name = format!("zookeeper of {}", options.members);
    survives(&name, ZooKeeper::start(options).await?.into()).await
}

/// Runs when it is asked for.
async fn with_etcd(topology: Topology, other: impl Future<Output = Result<Ground>>) -> CaseResult {
    if setting::<usize>("CALLSIGN_TEST_ROUNDS").is_none() {
        return Err(Stop::Ignored("it runs when `CALLSIGN_TEST_ROUNDS` asks for it".to_owned()));
    }
    VERSION.program().map_err(Stop::Missing)?;
    let (etcd, other) = (Etcd::start(etcd::Options::new(VERSION)).await?, other.await?);
    survives(&format!("{topology} of two"), Ground::both(topology, etcd.into(), other)).await
}

fn main() -> ExitCode {
    let etcd = Subject::fresh(format!("{VERSION}-rounds"), || NoHarness)
        .proves("rounds", "single", "A single member and its clients recover from everything.", || {
            etcd_survives(etcd::Options::new(VERSION))
        })
        .proves("rounds", "cluster", "Three members and their clients recover from everything.", || {
            etcd_survives(etcd::Options::new(VERSION).with_cluster())
        });
    let consul = Subject::fresh("consul-rounds", || NoHarness)
        .proves("rounds", "single", "A single agent and its clients recover from everything.", || {
            consul_survives(Kind::Single)
        })
        .proves(
            "rounds",
            "cluster",
            "Three servers, an agent and its clients recover from everything.",
            || consul_survives(Kind::Cluster),
        );
    let version = zookeeper::Version::V3_9;
    let zookeeper = Subject::fresh("zookeeper-rounds", || NoHarness)
        .proves("rounds", "single", "A single server and its clients recover from everything.", move || {
            zookeeper_survives(zookeeper::Options::new(version))
        })
        .proves(
            "rounds",
            "ensemble",
            "Three servers and their clients recover from everything.",
            move || zookeeper_survives(zookeeper::Options::new(version).with_ensemble()),
        );
    let nacos = Subject::fresh("nacos-rounds", || NoHarness)
        .proves(
            "rounds",
            "strict",
            "A fake as strict as Nacos and its clients recover from everything.",
            || async { survives("fake nacos", Fake::start(FakeOptions::default())?.into()).await },
        )
        .proves("rounds", "rnacos", "An r-nacos and its clients recover from everything.", || async {
            nacos::program().map_err(Stop::Missing)?;
            survives("r-nacos", RNacos::start(RNacosOptions::default()).await?.into()).await
        });
    let failover = Subject::fresh("failover-rounds", || NoHarness)
        .proves(
            "rounds",
            "mirror",
            "An etcd, a ZooKeeper that mirrors it, and their clients recover from everything.",
            || async {
                zookeeper::Version::V3_9.jar().map_err(Stop::Missing)?;
                let mirror = zookeeper::Options::new(zookeeper::Version::V3_9);
                with_etcd(Topology::Mirror, async { Ok(ZooKeeper::start(mirror).await?.into()) }).await
            },
        )
        .proves(
            "rounds",
            "union",
            "An etcd and a consul that are merged, and their clients, recover from everything.",
            || async {
                consul::program().map_err(Stop::Missing)?;
                let merged = consul::Options::new(Kind::Single);
                with_etcd(Topology::Union, async { Ok(Consul::start(merged).await?.into()) }).await
            },
        );
    run_with_threads(10, [etcd, consul, nacos, zookeeper, failover])
}
