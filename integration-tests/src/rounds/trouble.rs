//! A fault that is up.

use std::sync::Arc;

use callsign_core::Result;
use callsign_testkit::Guard;

use super::ground::Ground;
use super::plan::Fault;
use super::ways::Ways;

/// A fault that is up, until it is healed or dropped.
pub(super) struct Trouble {
    guard: Guard,
    /// What is lost in the end: the data of these members.
    wipes: Option<(Ground, Vec<usize>)>,
}

impl Trouble {
    pub(super) async fn make(fault: &Fault, ground: &Ground, ways: &Arc<Ways>) -> Result<Self> {
        let registry = &ground.0;
        let guard = match fault {
            Fault::Kill(members) | Fault::Wipe(members) => registry.kill(members).await?,
            Fault::Freeze(members) => registry.freeze(members).await?,
            Fault::Isolate(member) => registry.isolate(*member).await?,
            Fault::Way { side, doors, mode } => {
                let mending = ways.clone();
                let guard = Guard::new(move || mending.mend());
                ways.disturb(*side, doors, *mode).await;
                guard
            }
        };
        let wipes =
            if let Fault::Wipe(members) = fault { Some((ground.clone(), members.clone())) } else { None };
        Ok(Self { guard, wipes })
    }

    /// Ends it, and waits until the registry serves.
    pub(super) async fn heal(self) -> Result<()> {
        if let Some((ground, members)) = self.wipes {
            // Starts them, so that there is nothing left for the guard to do.
            ground.0.wipe(&members).await?;
        }
        self.guard.heal().await
    }
}
