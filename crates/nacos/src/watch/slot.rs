//! What is known of one service that is followed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use callsign_core::ServiceKey;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::codec::Place;
use crate::message::ServiceInfo;
use crate::records::{Mark, Records};

/// A server's clock that falls by more than this was set back; less, and an answer was overtaken.
const OVERTAKEN: i64 = 10_000;

/// The numbers of answers: each greater than those before, also than those of a former process.
#[derive(Debug)]
pub(crate) struct Numbers(AtomicU64);

impl Numbers {
    pub(crate) fn new() -> Self {
        let micros = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        Self(AtomicU64::new(u64::try_from(micros).unwrap_or_default()))
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A service as a server has told it.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) mark: Mark,
    pub(crate) info: ServiceInfo,
}

/// One service, for all who follow it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) place: Place,
    pub(crate) records: Mutex<Records>,
    latest: watch::Sender<Option<Arc<Content>>>,
    /// Something may have changed: who follows asks.
    doubt: Notify,
    /// The generation of the connection that it is subscribed on. Held while that changes.
    pub(super) subscribed_on: tokio::sync::Mutex<Option<u64>>,
}

impl Slot {
    pub(super) fn new(place: Place, service: ServiceKey) -> Self {
        Self {
            place,
            records: Mutex::new(Records::new(service)),
            latest: watch::channel(None).0,
            doubt: Notify::new(),
            subscribed_on: tokio::sync::Mutex::default(),
        }
    }

    /// Takes what a server has told, unless it was overtaken. An answer that is newer than a push which has come since the
    /// question gets a later number than that.
    pub(super) fn deliver(&self, mut content: Content, numbers: &Numbers) {
        self.latest.send_if_modified(|held| {
            let newer = held.as_ref().is_none_or(|held| is_newer(&content, held));
            if newer {
                if held.as_ref().is_some_and(|held| content.mark.number < held.mark.number) {
                    content.mark.number = numbers.next();
                }
                *held = Some(Arc::new(content));
            }
            newer
        });
    }

    /// Has one of those who follow ask the server; the others are shown what it has answered.
    pub(super) fn doubt(&self) {
        self.doubt.notify_one();
    }

    /// Resolves when the server is to be asked.
    pub(super) async fn doubted(&self) {
        self.doubt.notified().await;
    }

    /// Only the latest is kept: a slow reader skips.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Arc<Content>>> {
        self.latest.subscribe()
    }

    /// The latest.
    pub(super) fn latest(&self) -> Option<Arc<Content>> {
        self.latest.borrow().clone()
    }
}

fn is_newer(content: &Content, held: &Content) -> bool {
    let behind = held.info.last_ref_time.saturating_sub(content.info.last_ref_time);
    match content.mark.generation.cmp(&held.mark.generation) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Greater => true,
        // Within one connection the server's clock says which of two answers was overtaken.
        std::cmp::Ordering::Equal => !(1..OVERTAKEN).contains(&behind),
    }
}

/// What came with `number`, just now.
pub(super) fn mark(generation: u64, number: u64) -> Mark {
    Mark { generation, number, as_of: Instant::now() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(generation: u64, number: u64, last_ref_time: i64) -> Content {
        let info = ServiceInfo { last_ref_time, ..ServiceInfo::default() };
        Content { mark: mark(generation, number), info }
    }

    #[tokio::test]
    async fn what_was_overtaken_is_not_taken_and_another_servers_clock_does_not_count() {
        let service = ServiceKey::new("orders").unwrap();
        let slot = Slot::new(crate::codec::place_of(&service).unwrap(), service);
        let numbers = Numbers(AtomicU64::new(100));
        for (generation, number, clock, kept) in [
            (1, 1, 50_000, 1),
            (1, 2, 49_999, 1),
            (1, 3, 50_000, 3),
            (1, 4, 30_000, 4),
            (1, 2, 30_001, 100),
            (2, 105, 100, 105),
            (1, 106, 90_000, 105),
            (2, 107, i64::MAX, 107),
            (2, 108, i64::MIN, 108),
        ] {
            slot.deliver(content(generation, number, clock), &numbers);
            assert_eq!(slot.latest().unwrap().mark.number, kept, "{generation} {number} {clock}");
        }
    }
}
