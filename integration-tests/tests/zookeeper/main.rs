//! The ZooKeeper backend keeps its promises on real servers: each version, alone and three of them, with TLS, with SASL
//! and access lists.

mod bad_input;
mod cases;
mod content;
mod library;
mod read_only;
mod sessions;
mod stage;
mod tenants;

use std::process::ExitCode;

use callsign_integration_tests::Pool;
use callsign_integration_tests::zookeeper::{Options, Version, ZooKeeperHarness};
use callsign_testkit::suite::{BACKEND, CLIENT};
use callsign_testkit::{Subject, run_in_turn};
use callsign_zookeeper::Acl;

use stage::Setup;

/// Cases mostly wait for leases to end.
const THREADS: usize = 8;
/// How many servers cases may use at a time: each takes a core for a second whenever it starts, and tells nobody anything
/// meanwhile.
const SERVERS: u32 = 9;

/// Ends the case as failed unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(callsign_testkit::suite::Stop::failed(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

/// What every registry proves to those who call it.
fn backend(name: &str, setup: &Setup, acl: Acl) -> Subject {
    let (pool, options) = (setup.pool().clone(), setup.options().clone());
    let name = format!("{}{name}", options.version);
    Subject::fresh(name, move || ZooKeeperHarness::new(&pool, &options, acl)).passes(&BACKEND)
}

fn main() -> ExitCode {
    let pool = Pool::with_room(SERVERS);
    let [older, newer] =
        [Version::V3_8, Version::V3_9].map(|version| Setup::new(&pool, Options::new(version)));
    let alone = |setup| cases::each_version(backend("", setup, Acl::Open), setup).passes(&CLIENT);
    let ensemble = |setup: &Setup| backend("-ensemble", &setup.with(Options::with_ensemble), Acl::Open);
    let subjects = [
        alone(&older),
        alone(&newer),
        // What a client makes of a registry depends on how it comes and goes, not on its version or on who may log in.
        ensemble(&newer).passes(&CLIENT),
        ensemble(&older),
        // What is said to a server by these does not depend on its version; the cases of each version try both on both.
        backend("-tls", &newer.with(Options::with_tls), Acl::Open),
        backend("-sasl", &newer.with(Options::with_sasl), Acl::Creator),
    ];
    run_in_turn(THREADS, subjects)
}
