//! A fault that is up.

use std::sync::Arc;

use callsign_core::Result;
use callsign_testkit::Guard;

use super::plan::Fault;
use super::ways::Ways;
use crate::etcd::Etcd;

/// A fault that is up, until it is healed or dropped.
pub(super) struct Trouble {
    guard: Guard,
    /// What is lost in the end.
    wipes: Option<Arc<Etcd>>,
}

impl Trouble {
    pub(super) async fn make(fault: &Fault, etcd: &Arc<Etcd>, ways: &Arc<Ways>) -> Result<Self> {
        let guard = match fault {
            Fault::Kill(members) => etcd.kill(members.iter().copied()).await?,
            Fault::Freeze(members) => etcd.freeze(members.iter().copied()).await?,
            Fault::Wipe => etcd.kill_all().await?,
            Fault::Isolate(member) => etcd.isolate(*member).await?,
            Fault::Way { side, members, mode } => {
                let mending = ways.clone();
                let guard = Guard::new(move || mending.mend());
                ways.disturb(*side, members, *mode).await;
                guard
            }
        };
        Ok(Self { guard, wipes: (*fault == Fault::Wipe).then(|| etcd.clone()) })
    }

    /// Ends it, and waits until the registry serves.
    pub(super) async fn heal(self) -> Result<()> {
        if let Some(etcd) = self.wipes {
            // Starts all members, so that there is nothing left for the guard to do.
            etcd.wipe().await?;
        }
        self.guard.heal().await
    }
}
