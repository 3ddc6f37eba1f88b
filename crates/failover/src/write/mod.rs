//! Writing: to all who should have it, in parallel, and again to those who did not take it.

mod entry;
mod ledger;
mod outcome;
mod pace;
mod plan;
mod removals;
mod tally;
mod worker;
mod writer;

#[cfg(test)]
mod schedules;

pub(crate) use entry::{Mode, Verb};
pub(crate) use worker::work;
pub(crate) use writer::Writer;
