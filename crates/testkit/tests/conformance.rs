//! The embedded registry passes the suites: as it is, behind pointers, and through the worst legal wrapper.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use callsign_core::{Authority, Backend, Capabilities, InstanceKey, Result, async_trait};
use callsign_memory::{Fault, Memory, Store};
use callsign_testkit::suite::{BACKEND, CLIENT};
use callsign_testkit::{Chaos, Guard, Harness, Subject, run};

/// What stands between a case and the backend; a client's number is its seed, so that every run is the same.
type Wrap = fn(Memory, u64) -> Arc<dyn Backend>;

/// Longer than any case looks at an expired record.
const KEPT: Duration = Duration::from_secs(3600);

struct MemoryHarness {
    store: Store,
    wrap: Wrap,
    lists_expired: bool,
    clients: AtomicU64,
}

impl MemoryHarness {
    fn new(wrap: Wrap) -> Self {
        Self { store: Store::new(), wrap, lists_expired: false, clients: AtomicU64::new(0) }
    }

    fn keeping_expired() -> Self {
        Self { store: Store::keeping_expired(KEPT), lists_expired: true, ..Self::new(plain) }
    }
}

#[async_trait]
impl Harness for MemoryHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        let seed = self.clients.fetch_add(1, Ordering::Relaxed);
        Ok((self.wrap)(Memory::new(self.store.clone(), "main"), seed))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Authority::Quorum)
    }

    fn lists_expired(&self) -> bool {
        self.lists_expired
    }

    fn paused(&self) -> bool {
        true
    }

    async fn outage(&self) -> Result<Guard> {
        Ok(Guard::holding(self.store.inject(Fault::Unavailable)))
    }

    async fn freeze(&self) -> Result<Guard> {
        Ok(Guard::holding(self.store.inject(Fault::Frozen)))
    }

    async fn wipe(&self) -> Result<()> {
        self.store.wipe();
        Ok(())
    }

    async fn garbage(&self, key: &InstanceKey) -> Result<()> {
        self.store.garbage(key);
        Ok(())
    }

    async fn delete(&self, key: &InstanceKey) -> Result<()> {
        self.store.delete(key);
        Ok(())
    }
}

fn plain(memory: Memory, _: u64) -> Arc<dyn Backend> {
    Arc::new(memory)
}

fn behind_pointers(memory: Memory, _: u64) -> Arc<dyn Backend> {
    let boxed: Box<dyn Backend> = Box::new(memory);
    let twice: Arc<dyn Backend> = Arc::new(boxed);
    Arc::new(twice)
}

fn chaotic(memory: Memory, seed: u64) -> Arc<dyn Backend> {
    Arc::new(Chaos::new(Arc::new(memory), seed))
}

fn main() -> ExitCode {
    run([
        Subject::fresh("memory", || MemoryHarness::new(plain)).passes(&BACKEND).passes(&CLIENT),
        Subject::fresh("memory-dyn", || MemoryHarness::new(behind_pointers)).passes(&BACKEND).passes(&CLIENT),
        Subject::fresh("memory-keeping", MemoryHarness::keeping_expired).passes(&BACKEND).passes(&CLIENT),
        Subject::fresh("memory-chaos", || MemoryHarness::new(chaotic)).passes(&BACKEND).passes(&CLIENT),
    ])
}
