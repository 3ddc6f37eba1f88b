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

/// Cases mostly wait for leases to end; four agents at a time are more work than four members of an etcd.
const THREADS: usize = 6;

/// Ends the case as failed unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(callsign_testkit::suite::Stop::failed(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

fn subject(name: &str, pool: &Pool<Consul>, options: Options) -> Subject {
    let pool = pool.clone();
    Subject::fresh(name, move || ConsulHarness::new(&pool, &options))
}

/// What every registry proves.
fn suites(subject: Subject) -> Subject {
    subject.passes(&BACKEND).passes(&CLIENT)
}

fn main() -> ExitCode {
    let pool = Pool::new();
    let subject = |name, options| subject(name, &pool, options);
    let subjects = [
        // Its own cases first: one of them waits for a minute and a half.
        suites(cases::single(subject("consul", Options::new(Kind::Single)), &pool)),
        suites(cases::cluster(subject("consul-cluster", Options::new(Kind::Cluster)), &pool)),
        suites(subject("consul-dev", Options::new(Kind::Dev))),
        subject("consul-tls", Options::new(Kind::Single).with_tls()).passes(&BACKEND),
        suites(subject("consul-acl", Options::new(Kind::Single).with_acls(stage::ROOT))),
    ];
    run_with_threads(THREADS, subjects)
}
