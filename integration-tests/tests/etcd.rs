//! The etcd backend keeps its promises on real servers: each version in each set-up.

use std::process::ExitCode;
use std::time::Duration;

use callsign_integration_tests::Pool;
use callsign_integration_tests::etcd::{Etcd, EtcdHarness, Options, Tls, Tokens, Version};
use callsign_testkit::suite::{BACKEND, CLIENT};
use callsign_testkit::{Subject, run_with_threads};

/// Cases mostly wait for leases to end.
const THREADS: usize = 8;

fn subjects(pool: &Pool<Etcd>, version: Version) -> [Subject; 4] {
    let plain = Options::new(version);
    let tokens = Tokens::Simple { ttl: Duration::from_secs(300) };
    [
        ("", plain.clone()),
        ("-cluster", plain.clone().with_cluster()),
        ("-tls", plain.clone().with_tls(Tls::Mutual)),
        ("-auth", plain.with_auth(tokens)),
    ]
    .map(|(setup, options)| {
        let pool = pool.clone();
        Subject::fresh(format!("{version}{setup}"), move || EtcdHarness::new(&pool, &options))
            .passes(&BACKEND)
            .passes(&CLIENT)
    })
}

fn main() -> ExitCode {
    let pool = Pool::new();
    let subjects: Vec<Subject> =
        [Version::V3_4, Version::V3_5].into_iter().flat_map(|version| subjects(&pool, version)).collect();
    run_with_threads(THREADS, subjects)
}
