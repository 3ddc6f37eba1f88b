//! The Consul backend keeps its promises on real agents: in memory, on disk, and with three servers.

mod cases;

use std::process::ExitCode;

use callsign_integration_tests::Pool;
use callsign_integration_tests::consul::{Consul, ConsulHarness, Kind, Options};
use callsign_testkit::suite::{BACKEND, CLIENT};
use callsign_testkit::{Subject, run_with_threads};

/// Cases mostly wait for leases to end.
const THREADS: usize = 8;

/// Ends the case as failed unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(callsign_testkit::suite::Stop::failed(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// What every registry proves.
fn suites(name: &str, pool: &Pool<Consul>, kind: Kind) -> Subject {
    let (pool, options) = (pool.clone(), Options::new(kind));
    Subject::fresh(name, move || ConsulHarness::new(&pool, &options)).passes(&BACKEND).passes(&CLIENT)
}

fn main() -> ExitCode {
    let pool = Pool::new();
    let subjects = [
        cases::proved(suites("consul", &pool, Kind::Single), &pool),
        suites("consul-dev", &pool, Kind::Dev),
        suites("consul-cluster", &pool, Kind::Cluster),
    ];
    run_with_threads(THREADS, subjects)
}
