//! The fault matrix: thirty faults in three topologies, on paused time.
//!
//! In each cell twenty owners of two services live over two registries, and five onlookers look them up two hundred times
//! a second, while something goes wrong. Whatever it is, no look-up fails, no live instance is ever missing from a
//! view, nobody who has left is seen again, and in the end everybody agrees; what a cell proves beyond that stands
//! in it. The last row is random: `CALLSIGN_SIM_SEEDS` says over how many seeds, `CALLSIGN_SIM_SEED` repeats one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod book;
mod cells;
mod onlooker;
mod owner;
mod random;
mod recorded;
mod site;
#[allow(dead_code, reason = "what panics is none of its faults")]
#[path = "../support/mod.rs"]
mod support;
mod table;
mod world;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    libtest_mimic::run(&Arguments::from_args(), table::trials()).exit_code()
}
