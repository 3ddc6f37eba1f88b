//! What a view costs: to bring up to date, to hold, to read.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Result, ensure};
use callsign_benches::{fleet, scripted};
use callsign_core::Pair;
use tokio::runtime;

use crate::clock::Stopwatch;
use crate::heap::{self, Question};
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const INSTANCES: usize = 10_000;
const UPDATES: usize = 1_000;
const WARM_UP: usize = 100;
/// Not a factor of `INSTANCES`: the changes are spread over the set.
const STRIDE: usize = 7_919;

/// One of 10 000 instances changes: from pushing the listing to the return of `changed()`. On a runtime of one
/// thread, so that it is the work of the view and two switches of tasks, and no thread is woken.
pub(crate) fn update() -> Result<Vec<Measure>> {
    let service = fleet::service()?;
    let durations = runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
        let (mut script, mut view) = scripted::view(&service)?;
        let mut instances = fleet::instances(&service, INSTANCES)?;
        let listing = script.listing(instances.clone());
        script.push(listing);
        view.changed().await;

        let mut durations = Vec::with_capacity(WARM_UP + UPDATES);
        for round in 0..WARM_UP + UPDATES {
            let instance = &mut instances[round * STRIDE % INSTANCES];
            let pair = Pair::new(instance.incarnation, instance.seq + 1);
            let weight = if instance.seq % 2 == 0 { 100 } else { 50 };
            *instance = Arc::new(instance.to_builder().pair(pair).weight(weight).build()?);
            let listing = script.listing(instances.clone());
            let revision = listing.revision;

            let clock = Stopwatch::start();
            script.push(listing);
            let snapshot = view.changed().await;
            durations.push(clock.elapsed());
            ensure!(snapshot.revision == revision, "the view shows something else");
        }
        anyhow::Ok(durations)
    })?;
    let samples = Samples::new(durations.into_iter().skip(WARM_UP), "updates");
    Ok(vec![
        Measure::p50("view.update_10k", &samples, Unit::Milliseconds, 1.0),
        Measure::p99("view.update_10k_p99", &samples, Unit::Milliseconds, 1.0),
    ])
}

/// What a view of 10 000 instances holds on the heap, the instances included, for each of them.
pub(crate) fn heap_per_instance() -> Result<Vec<Measure>> {
    Ok(vec![Measure::count(
        "view.heap_per_instance",
        heap::ask(Question::BytesPerInstance)?,
        "B",
        600.0,
        "1 view of 10000 instances",
    )])
}

/// Reading a view that has no reason to change.
pub(crate) fn snapshot() -> Result<Vec<Measure>> {
    let quiet = scripted::quiet_view(100)?;
    let samples = Samples::of_batches(|| drop(black_box(quiet.view.snapshot())));
    Ok(vec![Measure::p50("view.snapshot", &samples, Unit::Nanoseconds, 20.0)])
}
