//! Threads that do nothing but read a view, while something happens to its registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Result, ensure};
use callsign_client::{Probed, Prober, Protection, ServiceView, Snapshot};
use callsign_core::{Instance, InstanceId, async_trait};
use tokio::runtime::Runtime;

use crate::measure::Measure;

const READERS: u64 = 2;
/// At least so many reads; while the faults last there are more.
const READS: u64 = 1_000_000;
const BURST: usize = 1_000;

/// The instances live through all of it, so each of them answers.
#[derive(Debug)]
pub(crate) struct Alive;

#[async_trait]
impl Prober for Alive {
    async fn probe(&self, _: &Instance) -> Probed {
        Probed::Answering
    }
}

/// What readers have seen.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    reads: u64,
    /// A live instance was not there, or the reader panicked.
    failed: u64,
    /// The view showed that something was wrong: without this the faults were none.
    troubled: u64,
}

impl Tally {
    fn add(self, other: Self) -> Self {
        Self {
            reads: self.reads + other.reads,
            failed: self.failed + other.failed,
            troubled: self.troubled + other.troubled,
        }
    }

    /// How many reads have failed, which none may.
    pub(crate) fn measured(self, name: &str, faults: usize) -> Measure {
        #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 reads")]
        let failed = self.failed as f64;
        let millions = self.reads / 1_000_000;
        let samples = format!("{millions} million reads by {READERS} threads, {faults} faults");
        Measure::count(name, failed, "failed reads", 0.0, samples)
    }
}

/// Reads `view`, which has to show exactly `ids`, from before `faults` begin until they have healed.
pub(crate) fn read_through<F>(
    runtime: &Runtime,
    view: &ServiceView,
    ids: &[InstanceId],
    faults: F,
) -> Result<Tally>
where
    F: Future<Output = Result<()>>,
{
    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..READERS).map(|_| reader(view.clone(), ids.into(), over.clone())).collect();
    let survived = runtime.block_on(faults);
    over.store(true, Ordering::Relaxed);
    let tally = readers.into_iter().map(join).fold(Tally::default(), Tally::add);
    survived?;
    ensure!(tally.troubled > 0, "the faults left no trace in the view");
    Ok(tally)
}

fn reader(view: ServiceView, ids: Arc<[InstanceId]>, over: Arc<AtomicBool>) -> JoinHandle<Tally> {
    thread::spawn(move || {
        let mut tally = Tally::default();
        while tally.reads < READS / READERS || !over.load(Ordering::Relaxed) {
            for _ in 0..BURST {
                let snapshot = view.snapshot();
                tally.reads += 1;
                tally.failed += u64::from(!is_whole(&snapshot, &ids));
                tally.troubled += u64::from(is_troubled(&snapshot));
            }
            // The view's own task needs a core too.
            thread::yield_now();
        }
        tally
    })
}

fn join(reader: JoinHandle<Tally>) -> Tally {
    reader.join().unwrap_or(Tally { reads: 1, failed: 1, troubled: 0 })
}

/// Whether everybody in `ids`, and nobody else, may get traffic.
pub(crate) fn is_whole(snapshot: &Snapshot, ids: &[InstanceId]) -> bool {
    let routable = snapshot.routable().iter().map(|instance| instance.id());
    routable.eq(ids)
}

/// Whether the view shows that something is wrong.
pub(crate) fn is_troubled(snapshot: &Snapshot) -> bool {
    !snapshot.freshness.is_live() || snapshot.protection != Protection::None
}
