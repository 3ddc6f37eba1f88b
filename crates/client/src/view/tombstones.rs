//! Remembering who has left, so that no registry brings them back.

use std::collections::HashMap;
use std::time::Duration;

use callsign_core::{Instance, InstanceId, Pair};
use tokio::time::Instant;

/// How long a departure is remembered: longer than any lease and any stale replica worth the name.
const REMEMBER: Duration = Duration::from_secs(600);

/// The instances that announced their leaving and left.
#[derive(Debug, Default)]
pub(crate) struct Tombstones(HashMap<InstanceId, (Pair, Instant)>);

impl Tombstones {
    /// `instance` has left. A record of other software has no pair, so a later life of its id could not be told
    /// from this one: it is not remembered.
    pub(crate) fn bury(&mut self, instance: &Instance, now: Instant) {
        self.0.retain(|_, (_, until)| *until > now);
        if !instance.pair().is_none() {
            self.0.insert(instance.id().clone(), (instance.pair(), now + REMEMBER));
        }
    }

    /// Whether `instance` is somebody who has left, and not a later life of the same id.
    pub(crate) fn is_ghost(&mut self, instance: &Instance, now: Instant) -> bool {
        let Some((pair, until)) = self.0.get(instance.id()) else {
            return false;
        };
        if *until > now && instance.pair() <= *pair {
            return true;
        }
        self.0.remove(instance.id());
        false
    }
}
