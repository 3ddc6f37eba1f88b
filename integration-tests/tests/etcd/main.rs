//! The etcd backend keeps its promises on real servers: each version in each set-up.

mod bad_input;
mod cases;
mod cluster;
mod endpoints;
mod history;
mod late;
mod limits;
mod logins;
mod network;
mod outages;
mod ownership;
mod processes;
mod program;
mod raw;
mod scale;
mod secrets;
mod setup;
mod stage;
mod tls;

use std::process::ExitCode;
use std::time::Duration;

use callsign_integration_tests::Pool;
use callsign_integration_tests::etcd::{Etcd, EtcdHarness, Options, Tls, Tokens, Version};
use callsign_testkit::suite::{BACKEND, CLIENT};
use callsign_testkit::{Subject, run_with_threads};

use setup::Setup;

/// Cases mostly wait for leases to end.
const THREADS: usize = 9;

const TOKENS: Tokens = Tokens::Simple { ttl: Duration::from_secs(300) };

/// Ends the case as failed unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(callsign_testkit::suite::Stop::failed(format!($($message)+)));
        }
    };
}
pub(crate) use ensure;

fn subject(name: &str, setup: &Setup) -> Subject {
    let (pool, options) = (setup.pool().clone(), setup.options().clone());
    Subject::fresh(format!("{}{name}", setup.version()), move || EtcdHarness::new(&pool, &options))
}

/// What holds in every set-up, that of every registry first.
fn backend(name: &str, setup: &Setup) -> Subject {
    cases::everywhere(subject(name, setup).passes(&BACKEND), setup)
}

/// And what clients make of it.
fn all_round(name: &str, setup: &Setup) -> Subject {
    backend(name, setup).passes(&CLIENT)
}

fn subjects(pool: &Pool<Etcd>, version: Version) -> [Subject; 4] {
    let single = Setup::new(pool, Options::new(version));
    let cluster = single.with(Options::with_cluster);
    let tls = single.with(|options| options.with_tls(Tls::Mutual));
    let auth = single.with(|options| options.with_auth(TOKENS));
    // What a client makes of a registry that encrypts or asks for a login does not depend on the version.
    let guarded = if version == Version::V3_5 { all_round } else { backend };
    [
        cases::each_version(cases::single(all_round("", &single), &single), &single),
        cases::three(all_round("-cluster", &cluster), &cluster),
        guarded("-tls", &tls),
        guarded("-auth", &auth),
    ]
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == processes::OWN) {
        return arguments.next().map_or(ExitCode::FAILURE, |file| processes::own(file.as_ref()));
    }
    let pool = Pool::new();
    let versions = [Version::V3_4, Version::V3_5];
    let mut subjects: Vec<Subject> =
        versions.into_iter().flat_map(|version| subjects(&pool, version)).collect();
    let newest = Setup::new(&pool, Options::new(Version::Sid));
    subjects.push(cases::each_version(subject("", &newest), &newest));
    let newest = newest.with(Options::with_cluster);
    subjects.push(cases::three(subject("-cluster", &newest), &newest));
    run_with_threads(THREADS, subjects)
}
