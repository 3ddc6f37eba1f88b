//! Two registries of different kinds behind one backend, and the cells of the fault matrix on them.
//!
//! The first is hurt while owners register and onlookers look them up, two hundred times a second each. Whatever
//! happens, no look-up fails, nobody who lives is missing from a view, and nobody who has left is seen again.

mod availability;
mod cell;
mod onlooker;
mod owners;
mod partitions;
mod stage;
mod ways;

pub use cell::{CELLS, Cell};
pub use onlooker::Onlooker;
pub use stage::{Outcome, Pair, Stage};
pub use ways::{Group, Ways};

use std::sync::Arc;

use callsign_core::Result;
use callsign_failover::Topology;

/// Lives through one cell on `pair`. What is wrong with callsign is a complaint in the outcome.
///
/// # Errors
/// When a registry cannot be reached or hurt.
pub async fn run(pair: &Pair, topology: Topology, cell: &Cell) -> Result<Outcome> {
    let stage = Stage::begin(pair, topology).await?;
    let complaint = match (cell.run)(Arc::clone(&stage)).await {
        Ok(()) => stage.end().await.err(),
        Err(complaint) => Some(complaint),
    };
    Ok(stage.outcome(complaint))
}
