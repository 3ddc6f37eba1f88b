//! One process's side of the registries: a failover over its own ways to them.

use std::path::Path;
use std::sync::Arc;

use callsign_core::Backend;
use callsign_failover::{Control, Failover, Settings, Topology};
use callsign_memory::{Memory, Store};
use callsign_testkit::chaos::{Chaos, ChaosControl, Rates};

use super::support::{Through, Trouble, Way};

/// The members' names, the preferred one first.
pub(crate) const NAMES: [&str; 2] = ["main", "backup"];
pub(crate) const MAIN: usize = 0;
pub(crate) const BACKUP: usize = 1;

/// A process's failover, and what is between it and each registry.
pub(crate) struct Site {
    pub(crate) failover: Arc<Failover>,
    pub(crate) control: Control,
    ways: [Way; 2],
    chaos: [ChaosControl; 2],
}

impl Site {
    pub(crate) fn new(topology: Topology, stores: &[Store; 2], seed: u64, journal: Option<&Path>) -> Self {
        let ways = NAMES.map(|name| Way::new(name.into()));
        let mut chaos = Vec::new();
        let mut builder = Failover::builder("both").settings(Settings::default().with_topology(topology));
        for (nth, way) in ways.iter().enumerate() {
            let memory = Memory::new(stores[nth].clone(), NAMES[nth]);
            let mischief = Chaos::new(Arc::new(memory), seed.wrapping_add(nth as u64));
            mischief.control().set_rates(Rates::none());
            chaos.push(mischief.control());
            builder = builder.member(NAMES[nth], Arc::new(Through::new(Arc::new(mischief), way.clone())));
        }
        let failover = Arc::new(builder.journal(journal.map(Path::to_owned)).build().unwrap());
        let chaos = chaos.try_into().unwrap_or_else(|_| unreachable!("two members"));
        Self { control: failover.control(), failover, ways, chaos }
    }

    pub(crate) fn backend(&self) -> Arc<dyn Backend> {
        self.failover.clone()
    }

    pub(crate) fn way(&self, member: usize) -> &Way {
        &self.ways[member]
    }

    /// Whatever goes wrong with the ways to all registries.
    pub(crate) fn set_all(&self, trouble: Trouble) {
        self.ways.iter().for_each(|way| way.set(trouble));
    }

    /// Mischief that is legal.
    pub(crate) fn set_rates(&self, rates: Rates) {
        self.chaos.iter().for_each(|chaos| chaos.set_rates(rates));
    }
}
