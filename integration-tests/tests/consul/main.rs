//! The Consul backend keeps its promises on real agents: in memory, on disk, and with three servers.

mod agents;
mod bad_input;
mod cases;
mod health;
mod rights;
mod servers;
mod stage;
mod watching;

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
fn suites(name: &str, pool: &Pool<Consul>, options: Options) -> Subject {
    let pool = pool.clone();
    Subject::fresh(name, move || ConsulHarness::new(&pool, &options)).passes(&BACKEND).passes(&CLIENT)
}

fn main() -> ExitCode {
    let pool = Pool::new();
    let subjects = [
        cases::single(suites("consul", &pool, Options::new(Kind::Single)), &pool),
        suites("consul-dev", &pool, Options::new(Kind::Dev)),
        cases::cluster(suites("consul-cluster", &pool, Options::new(Kind::Cluster)), &pool),
        suites("consul-tls", &pool, Options::new(Kind::Dev).with_tls()),
        suites("consul-acl", &pool, Options::new(Kind::Dev).with_acls(stage::ROOT)),
    ];
    run_with_threads(THREADS, subjects)
}
