//! What a view's machine takes in, and what it wants done.

use std::sync::Arc;
use std::time::SystemTime;

use callsign_core::{Instance, InstanceId, Listing, Result, WatchEvent};

use super::Snapshot;
use crate::events::ClientEvent;
use crate::prober::Probed;

/// What happens to a view.
#[derive(Debug)]
pub(crate) enum Input {
    /// The watch has said something.
    Watch(Result<WatchEvent>),
    /// The registry was asked again, as [`Output::Ask`] wanted.
    Asked(Result<Listing>),
    /// Probes have ended.
    Probed(Vec<(InstanceId, Probed)>),
    /// The store on disk had this.
    Bootstrap { instances: Vec<Arc<Instance>>, written_at: SystemTime },
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Output {
    /// Show this from now on; `changed` says whether anything but its age is new.
    Show { snapshot: Arc<Snapshot>, changed: bool },
    /// List by quorum; the answer comes back as [`Input::Asked`].
    Ask,
    /// Probe this instance; the result comes back as [`Input::Probed`].
    Probe(Arc<Instance>),
    /// Tell everybody.
    Tell(ClientEvent),
}
