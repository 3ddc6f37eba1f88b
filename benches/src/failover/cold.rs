//! A start while every registry is down.

use std::sync::Arc;

use anyhow::Result;
use callsign_core::Backend;
use callsign_failover::Failover;
use callsign_memory::{Memory, Store};

use crate::disk;
use crate::measure::Measure;

/// As `disk.cold_start_10k`, over two registries, neither of which answers.
pub(crate) fn start() -> Result<Vec<Measure>> {
    disk::cold_start_over("failover.cold_start_10k", both)
}

fn both(store: &Store) -> Result<Arc<dyn Backend>> {
    let member = |name: &'static str| Arc::new(Memory::new(store.clone(), name));
    let builder = Failover::builder("both").member("main", member("main")).member("backup", member("backup"));
    Ok(Arc::new(builder.build()?))
}
