//! Counts what is allocated, for `callsign-benches`: takes one question, prints one number.
#![expect(clippy::print_stdout, reason = "a command-line tool speaks on its standard streams")]

use std::hint::black_box;

use anyhow::{Result, bail};
use callsign_benches::{fleet, scripted};
use dhat::{HeapStats, Profiler};
use tokio::runtime;

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const INSTANCES: u32 = 10_000;
const PICKS: usize = 100_000;

fn main() -> Result<()> {
    let question = std::env::args().nth(1).unwrap_or_default();
    match question.as_str() {
        "bytes-per-instance" => println!("{:.1}", bytes_per_instance()?),
        "allocations-of-picks" => println!("{}", allocations_of_picks()?),
        unknown => bail!("unknown question `{unknown}`: ask for bytes-per-instance or allocations-of-picks"),
    }
    Ok(())
}

/// What a view has in use for its instances, as requested from the allocator. The backend keeps nothing.
fn bytes_per_instance() -> Result<f64> {
    let service = fleet::service()?;
    let _profiler = Profiler::builder().testing().build();
    let bytes = runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
        let (mut script, mut view) = scripted::view(&service)?;
        let nothing = script.listing(Vec::new());
        script.push(nothing);
        view.changed().await;
        let before = HeapStats::get().curr_bytes;
        let listing = script.listing(fleet::instances(&service, INSTANCES as usize)?);
        script.push(listing);
        let snapshot = view.changed().await;
        assert_eq!(snapshot.instances.len(), INSTANCES as usize);
        anyhow::Ok(HeapStats::get().curr_bytes - before)
    })?;
    Ok(f64::from(u32::try_from(bytes)?) / f64::from(INSTANCES))
}

fn allocations_of_picks() -> Result<u64> {
    let quiet = scripted::quiet_view(100)?;
    let picker = quiet.view.round_robin();
    let _profiler = Profiler::builder().testing().build();
    let before = HeapStats::get().total_blocks;
    for _ in 0..PICKS {
        black_box(picker.pick());
    }
    Ok(HeapStats::get().total_blocks - before)
}
