//! What it costs to choose an instance.

use std::hint::black_box;

use anyhow::{Result, ensure};
use callsign_benches::scripted;

use crate::heap::{self, Question};
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

/// Picks from so many instances, by one thread.
pub(crate) fn round_robin(name: &str, instances: usize) -> Result<Vec<Measure>> {
    let quiet = scripted::quiet_view(instances)?;
    let picker = quiet.view.round_robin();
    ensure!(picker.pick().is_some(), "nobody to pick");
    let samples = Samples::of_batches(|| drop(black_box(picker.pick())));
    Ok(vec![Measure::p50(name, &samples, Unit::Nanoseconds, 16.0)])
}

/// How often 100 000 picks from 100 instances allocate.
pub(crate) fn allocations() -> Result<Vec<Measure>> {
    Ok(vec![Measure::count(
        "pick.round_robin_allocations",
        heap::ask(Question::AllocationsOfPicks)?,
        "blocks",
        0.0,
        "100000 picks from 100 instances",
    )])
}
