//! Two registries of different kinds behind one backend: how soon trouble shows, and what it costs.

pub(crate) mod cold;
pub(crate) mod noticed;
pub(crate) mod pairs;
pub(crate) mod reads;
pub(crate) mod writes;

use std::sync::Arc;

use anyhow::Result;
use callsign_core::Backend;
use callsign_etcd::EtcdConfig;
use callsign_failover::{Failover, State};
use callsign_integration_tests::etcd::{self, Etcd, PREFIX};
use callsign_integration_tests::zookeeper::{self, ZooKeeper};
use tokio::runtime::{self, Runtime};
use tokio::time::{Duration, timeout};

use crate::measure::Skipped;

/// How long anything may take before it counts as never.
const WITHIN: Duration = Duration::from_secs(90);
/// How long the first registry has to be well before it is read again.
const RETURNED: Duration = Duration::from_secs(1);

/// What is hurt, and what stays well.
struct Both {
    main: Arc<Etcd>,
    backup: Arc<ZooKeeper>,
}

impl Both {
    async fn start(main: etcd::Options) -> Result<Self> {
        main.version.program().map_err(Skipped)?;
        let backup = zookeeper::Options::new(zookeeper::Version::V3_9);
        backup.version.jar().map_err(Skipped)?;
        Ok(Self { main: Etcd::start(main).await?, backup: ZooKeeper::start(backup).await? })
    }

    /// Both behind one backend, the first one at these addresses.
    fn failover(&self, main: Vec<String>) -> Result<Failover> {
        let config = EtcdConfig::default().with_endpoints(main).with_prefix(PREFIX);
        let main: Arc<dyn Backend> = Arc::new(callsign_etcd::Etcd::new(&config, "main")?);
        let backup = callsign_zookeeper::ZooKeeper::new(&zookeeper::config(&self.backup), "backup")?;
        let builder = Failover::builder("both").member("main", main).member("backup", Arc::new(backup));
        let settings = callsign_failover::Settings::default()
            .with_failback_dwell(RETURNED)
            .with_failback_dwell_max(RETURNED)
            // One fault follows the other, and each is waited for where the first registry is read.
            .with_max_failbacks(100);
        Ok(builder.settings(settings).build()?)
    }

    fn endpoints(&self) -> Vec<String> {
        self.main.members().iter().map(|member| member.direct().to_owned()).collect()
    }
}

fn alone() -> etcd::Options {
    etcd::Options::new(etcd::Version::V3_5)
}

/// As an application has it.
fn runtime() -> Result<Runtime> {
    Ok(runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Waits until a failover is in a state like this.
async fn until(failover: &Failover, wanted: fn(&State) -> bool) -> Result<()> {
    let mut control = failover.control();
    let reached = async {
        while !wanted(&control.state()) {
            control.changed().await;
        }
    };
    Ok(timeout(WITHIN, reached).await?)
}

fn reads_main(state: &State) -> bool {
    *state.active == *"main"
}

fn reads_backup(state: &State) -> bool {
    *state.active == *"backup"
}
