//! Reading a view while its registry goes through everything that can happen to one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, ensure};
use callsign_benches::fleet;
use callsign_client::{
    Client, Probed, Prober, Protection, RegisterOptions, Registration, ServiceView, Snapshot,
};
use callsign_core::{Discovery, Instance, InstanceId, Read, Ttl, async_trait};
use callsign_memory::{Fault, Memory, Store};
use tokio::runtime;
use tokio::time::{sleep, timeout};

use crate::measure::Measured;

const LIVE: usize = 20;
const READERS: u64 = 2;
/// At least so many reads; while the faults last there are more.
const READS: u64 = 1_000_000;
const BURST: usize = 1_000;
/// The shortest there is, so that leases end during an outage.
const TTL: Duration = Ttl::MIN;
const OUTAGE: Duration = Duration::from_secs(3);
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);

/// The instances live through all of it, so each of them answers.
#[derive(Debug)]
struct Alive;

#[async_trait]
impl Prober for Alive {
    async fn probe(&self, _: &Instance) -> Probed {
        Probed::Answering
    }
}

/// What readers have seen.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
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
}

/// The registry of 20 live instances is made unavailable, frozen, wiped, stale and partial in turn.
pub(crate) fn under_fault() -> Result<Vec<Measured>> {
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = Store::new();
    let (view, registrations) = runtime.block_on(start(&store))?;
    let ids: Arc<[_]> = registrations.iter().map(|it| it.key().id.clone()).collect();

    let over = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..READERS).map(|_| reader(view.clone(), ids.clone(), over.clone())).collect();
    let survived = runtime.block_on(break_and_heal(&store, &view));
    over.store(true, Ordering::Relaxed);
    let tally = readers.into_iter().map(join).fold(Tally::default(), Tally::add);

    survived?;
    ensure!(tally.troubled > 0, "the faults left no trace in the view");
    #[expect(clippy::cast_precision_loss, reason = "no run has 2^53 reads")]
    let failed = tally.failed as f64;
    Ok(vec![Measured::count(
        "view.reads_under_fault",
        failed,
        "failed reads",
        0.0,
        format!("{} million reads by {READERS} threads, 5 faults", tally.reads / 1_000_000),
    )])
}

async fn start(store: &Store) -> Result<(ServiceView, Vec<Registration>)> {
    let service = fleet::service()?;
    let memory = || Arc::new(Memory::new(store.clone(), "main"));
    let owner = Client::builder(memory()).ttl(Ttl::new(TTL)?).build()?;
    let mut registrations = Vec::with_capacity(LIVE);
    for number in 0..LIVE {
        let instance = fleet::instance(&service, number)?;
        registrations.push(owner.register(instance, RegisterOptions::new().required()).await?);
    }
    let view = Client::builder(memory()).prober(Alive).build()?.service(&service);
    view.wait_for(RECOVERED_WITHIN, |snapshot| snapshot.routable().len() == LIVE).await?;
    Ok((view, registrations))
}

async fn break_and_heal(store: &Store, view: &ServiceView) -> Result<()> {
    let faults =
        [Some(Fault::Unavailable), Some(Fault::Frozen), None, Some(Fault::Stale), Some(Fault::Partial)];
    for fault in faults {
        match fault {
            Some(fault) => {
                let guard = store.inject(fault);
                sleep(OUTAGE).await;
                guard.heal();
            }
            None => store.wipe(),
        }
        timeout(RECOVERED_WITHIN, recovered(store, view)).await?;
    }
    Ok(())
}

/// The registry lists everybody again, and the view believes it.
async fn recovered(store: &Store, view: &ServiceView) {
    let memory = Memory::new(store.clone(), "main");
    loop {
        let listed = memory.list(view.service(), Read::Quorum).await;
        if listed.is_ok_and(|listing| listing.instances.len() == LIVE) && !is_troubled(&view.snapshot()) {
            return;
        }
        sleep(Duration::from_millis(20)).await;
    }
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

fn is_whole(snapshot: &Snapshot, ids: &[InstanceId]) -> bool {
    let routable = snapshot.routable().iter().map(|instance| instance.id());
    routable.eq(ids)
}

fn is_troubled(snapshot: &Snapshot) -> bool {
    !snapshot.freshness.is_live() || snapshot.protection != Protection::None
}
