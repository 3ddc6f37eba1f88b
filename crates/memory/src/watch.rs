//! Following one service.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use callsign_core::watch::{WatchOptions, drive};
use callsign_core::{Authority, Result, ServiceKey, WatchEvent, WatchStream};
use futures::StreamExt;
use tokio::sync::watch::Receiver;
use tokio::time::{Instant, sleep_until};

use crate::store::{Faults, out_of_reach};
use crate::{Fault, Memory};

/// How often a quiet watch says that nothing has changed; the contract's bound is 10 s.
const PROGRESS: Duration = Duration::from_secs(5);

/// The never-ending watch of `service`.
pub(crate) fn open(memory: Memory, service: ServiceKey) -> WatchStream {
    let told = Arc::new(AtomicBool::new(false));
    let closed = {
        let memory = memory.clone();
        async move { drop(memory.closed().await) }
    };
    drive(memory.name().clone(), WatchOptions::default(), closed, move || {
        let (memory, service, told) = (memory.clone(), service.clone(), told.clone());
        async move {
            let mut faults = memory.store().watch_faults();
            // The first round of an outage tells; the next ones wait for its end, as a session would.
            if faults.borrow_and_update().has(Fault::Unavailable) && !told.swap(true, Ordering::Relaxed) {
                return Err(out_of_reach());
            }
            // The store, and with it the sender, lives as long as `memory`.
            let _ = faults.wait_for(|faults| !faults.has(Fault::Unavailable)).await;
            told.store(false, Ordering::Relaxed);
            let changes = memory.store().changes(&service);
            let follower = Follower { memory, service, changes, faults, handed_over: None };
            Ok(futures::stream::unfold(follower, |mut follower| async move {
                Some((follower.next().await, follower))
            })
            .boxed())
        }
    })
}

struct Follower {
    memory: Memory,
    service: ServiceKey,
    changes: Receiver<u64>,
    faults: Receiver<Faults>,
    /// What the last listing was of: it is handed over again only when one of these has changed.
    handed_over: Option<(u64, u64, Authority, bool)>,
}

impl Follower {
    async fn next(&mut self) -> Result<WatchEvent> {
        let progress_at = Instant::now() + PROGRESS;
        loop {
            let faults = self.faults.borrow_and_update().clone();
            self.changes.borrow_and_update();
            if faults.has(Fault::Unavailable) {
                return Err(out_of_reach());
            }
            let frozen = faults.has(Fault::Frozen);
            if !frozen {
                let listing = self.memory.store().list(&self.service, self.memory.name());
                let state = (listing.epoch, listing.revision, listing.authority, faults.has(Fault::Partial));
                if self.handed_over.replace(state) != Some(state) {
                    return Ok(WatchEvent::Listing(listing));
                }
                if Instant::now() >= progress_at {
                    return Ok(WatchEvent::Progress { authority: listing.authority, as_of: listing.as_of });
                }
            }
            // What is stale does not expire.
            let stale = faults.has(Fault::Stale);
            let expiry = self.memory.store().next_expiry(&self.service).filter(|_| !stale);
            let wake_at = expiry.map_or(progress_at, |at| at.min(progress_at));
            tokio::select! {
                biased;
                _ = self.changes.changed() => {}
                _ = self.faults.changed() => {}
                () = sleep_until(wake_at), if !frozen => {}
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.memory.store().unwatched(&self.service);
    }
}
