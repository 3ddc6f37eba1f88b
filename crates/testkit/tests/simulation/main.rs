//! The whole system on paused time: twenty owners, five views, one registry, and everything that can go wrong.
//!
//! `CALLSIGN_SIM_SEEDS` says how many seeds are run (20 unless told); `CALLSIGN_SIM_SEED` runs one of them. A seed decides
//! the schedule and all dice but one: in which order tokio wakes the tasks that become ready at the same instant. A
//! failure that does not come back at once comes back within a few runs.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod faults;
mod owner;
mod recorded;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Builder;

use world::World;

fn setting<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

/// One life of the world; panics with the earliest violation.
fn simulate(seed: u64) {
    // The dice of the client's own jitter belong to the thread; those of the schedule are the world's.
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async { World::new(seed).run().await });
}

#[test]
fn no_fault_of_a_registry_costs_a_registration_or_shows_a_ghost() {
    if let Some(seed) = setting("CALLSIGN_SIM_SEED") {
        return simulate(seed);
    }
    let seeds: u64 = setting("CALLSIGN_SIM_SEEDS").unwrap_or(20);
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    if catch_unwind(AssertUnwindSafe(|| simulate(seed))).is_err() {
                        failed.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "run one again with CALLSIGN_SIM_SEED; failed of {seeds} seeds: {failed:?}");
}
