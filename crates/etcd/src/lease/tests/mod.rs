//! The ledger without a network: one promise at a time, and random schedules.

mod callers;
mod desk;
mod edges;
mod ends;
mod promises;
mod races;
mod registry;
mod schedules;
mod trouble;
mod world;
