//! Whatever befalls a real etcd in whatever order: nobody is lost, and nobody comes back who has left.
//!
//! The faults are chosen by a seed, which a failure prints; `CALLSIGN_TEST_SEED` repeats one, and
//! `CALLSIGN_TEST_ROUNDS` says how many rounds there are.

#![expect(clippy::print_stdout, reason = "a test that says what it is doing")]

use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use callsign_core::{Authority, Backend, Capabilities, Error, Result, async_trait};
use callsign_integration_tests::etcd::{Options, Version};
use callsign_integration_tests::rounds;
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

async fn survives(options: Options) -> CaseResult {
    options.version.program().map_err(Stop::Missing)?;
    let seed = setting("CALLSIGN_TEST_SEED").unwrap_or_else(|| fastrand::u64(..));
    let count = setting("CALLSIGN_TEST_ROUNDS").unwrap_or(ROUNDS);
    let members = options.members;
    println!("{members} members, seed {seed}");
    let report =
        rounds::run(options, count, seed, |outcome| println!("{members} members, {outcome}")).await?;
    println!("{members} members, in all {:?}", report.summary);
    match report.violations.as_slice() {
        [] => Ok(()),
        all => Err(Stop::failed(format!("CALLSIGN_TEST_SEED={seed} repeats this\n{}", all.join("\n")))),
    }
}

fn main() -> ExitCode {
    let subject = Subject::fresh(format!("{VERSION}-rounds"), || NoHarness)
        .proves("rounds", "single", "A single member and its clients recover from everything.", || {
            survives(Options::new(VERSION))
        })
        .proves("rounds", "cluster", "Three members and their clients recover from everything.", || {
            survives(Options::new(VERSION).with_cluster())
        });
    run_with_threads(2, [subject])
}
