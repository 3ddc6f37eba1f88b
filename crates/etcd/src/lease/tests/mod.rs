//! The ledger without a network: one promise at a time, and random schedules.

mod callers;
mod edges;
mod promises;
mod registry;
mod schedules;
mod trouble;
mod world;
