#![doc = include_str!("../README.md")]

pub mod chaos;
mod harness;
pub mod history;

mod runner;
pub mod suite;

pub use chaos::{Chaos, ChaosControl};
pub use harness::{Guard, Harness};
pub use history::History;

pub use runner::{REQUIRE, Subject, TABLE, prove, run, run_in_turn, run_with_threads};
