//! The cells of the fault matrix, on an etcd that is hurt and a ZooKeeper that is not.

use std::sync::Arc;

use callsign_core::{Authority, Backend, Capabilities, Error, Result, async_trait};
use callsign_failover::Topology;
use callsign_integration_tests::Pool;
use callsign_integration_tests::etcd::{self, Etcd};
use callsign_integration_tests::pairs::{self, CELLS, Cell, Pair};
use callsign_integration_tests::zookeeper::{self, ZooKeeper};
use callsign_testkit::suite::{CaseResult, Stop};
use callsign_testkit::{Harness, Subject};

/// Servers that one case takes over from another.
#[derive(Debug, Clone)]
pub(crate) struct Pools {
    pub(crate) etcd: Pool<Etcd>,
    pub(crate) zookeeper: Pool<ZooKeeper>,
}

/// The cases take what they need from the pools.
pub(crate) struct NoHarness;

#[async_trait]
impl Harness for NoHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        Err(Error::unsupported("the cases start what they need"))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Authority::Quorum)
    }
}

pub(crate) fn etcd_alone() -> etcd::Options {
    etcd::Options::new(etcd::Version::V3_5)
}

pub(crate) fn zookeeper_alone() -> zookeeper::Options {
    zookeeper::Options::new(zookeeper::Version::V3_9)
}

/// What is not installed.
pub(crate) fn installed() -> CaseResult {
    etcd_alone().version.program().map_err(Stop::Missing)?;
    zookeeper_alone().version.jar().map_err(Stop::Missing)?;
    Ok(())
}

/// Those cells whose number is `chosen`, in one topology.
pub(crate) fn on(pools: &Pools, topology: Topology, chosen: impl Fn(u8) -> bool) -> Subject {
    let subject = Subject::fresh(format!("failover-{topology}"), || NoHarness);
    CELLS.iter().filter(|cell| chosen(cell.number)).fold(subject, |subject, cell| {
        let pools = pools.clone();
        subject.proves("cells", cell.name, cell.promise, move || live_through(pools.clone(), topology, cell))
    })
}

async fn live_through(pools: Pools, topology: Topology, cell: &'static Cell) -> CaseResult {
    installed()?;
    let options = if cell.takes_several() { etcd_alone().with_cluster() } else { etcd_alone() };
    let (main, backup) = (pools.etcd.take(&options).await?, pools.zookeeper.take(&zookeeper_alone()).await?);
    let pair = Pair { main: Arc::clone(&main).into(), backup: Arc::clone(&backup).into() };
    cell.can_be_made_on(&pair).map_err(Stop::Ignored)?;
    match pairs::run(&pair, topology, cell).await?.complaint {
        None => Ok(()),
        Some(complaint) => Err(Stop::failed(complaint)),
    }
}
