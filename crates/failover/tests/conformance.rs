//! Several registries behave as one: what every backend promises, and every client over it, holds over a failover in each
//! topology, and over a failover of failovers.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::process::ExitCode;
use std::sync::Arc;

use callsign_core::{Authority, Backend, Capabilities, InstanceKey, Result, async_trait};
use callsign_failover::{Failover, Settings, Topology};
use callsign_memory::{Fault, FaultGuard, Memory, Store};
use callsign_testkit::suite::{BACKEND, CLIENT};
use callsign_testkit::{Guard, Harness, Subject, run};

/// Registries that all get into the same trouble at the same time.
struct Together {
    stores: Vec<Store>,
    over: fn(&[Store]) -> Failover,
}

impl Together {
    fn new(stores: usize, over: fn(&[Store]) -> Failover) -> Self {
        Self { stores: (0..stores).map(|_| Store::new()).collect(), over }
    }

    fn inject(&self, fault: Fault) -> Guard {
        let guards: Vec<FaultGuard> = self.stores.iter().map(|store| store.inject(fault)).collect();
        Guard::holding(guards)
    }
}

#[async_trait]
impl Harness for Together {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new((self.over)(&self.stores)))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Authority::Quorum)
    }

    fn paused(&self) -> bool {
        true
    }

    async fn outage(&self) -> Result<Guard> {
        Ok(self.inject(Fault::Unavailable))
    }

    async fn freeze(&self) -> Result<Guard> {
        Ok(self.inject(Fault::Frozen))
    }

    async fn wipe(&self) -> Result<()> {
        self.stores.iter().for_each(Store::wipe);
        Ok(())
    }

    async fn garbage(&self, key: &InstanceKey) -> Result<()> {
        self.stores.iter().for_each(|store| store.garbage(key));
        Ok(())
    }

    async fn delete(&self, key: &InstanceKey) -> Result<()> {
        self.stores.iter().for_each(|store| store.delete(key));
        Ok(())
    }
}

fn memory(store: &Store, name: &str) -> Arc<dyn Backend> {
    Arc::new(Memory::new(store.clone(), name))
}

fn pair(name: &str, topology: Topology, main: Arc<dyn Backend>, backup: Arc<dyn Backend>) -> Failover {
    let settings = Settings::default().with_topology(topology);
    let builder = Failover::builder(name).member("main", main).member("backup", backup);
    builder.settings(settings).build().unwrap()
}

fn of_two(topology: Topology, stores: &[Store]) -> Failover {
    pair("both", topology, memory(&stores[0], "main"), memory(&stores[1], "backup"))
}

/// A region of two registries, and another registry for when the region is lost.
fn nested(stores: &[Store]) -> Failover {
    let region = pair("region", Topology::Mirror, memory(&stores[0], "one"), memory(&stores[1], "two"));
    pair("all", Topology::Mirror, Arc::new(region), memory(&stores[2], "elsewhere"))
}

fn subject(name: &str, stores: usize, over: fn(&[Store]) -> Failover) -> Subject {
    Subject::fresh(name, move || Together::new(stores, over)).passes(&BACKEND).passes(&CLIENT)
}

fn main() -> ExitCode {
    run([
        subject("mirror", 2, |stores| of_two(Topology::Mirror, stores)),
        subject("standby", 2, |stores| of_two(Topology::Standby, stores)),
        subject("union", 2, |stores| of_two(Topology::Union, stores)),
        subject("nested", 3, nested),
    ])
}
