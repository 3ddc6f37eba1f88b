//! Where a service is followed, for as long as anybody watches it and nothing goes wrong.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use callsign_core::task::{Spawner, Task};
use callsign_core::{Authority, Error};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Service;
use super::follower::Follower;
use crate::reader::Reader;
use crate::records::Found;

/// What was seen last.
#[derive(Debug, Clone)]
pub(super) enum Told {
    Nothing,
    Seen(Seen),
    /// It cannot be followed any more: whoever is interested opens another room.
    Ended(Error),
}

#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) found: Arc<Found>,
    pub(super) epoch: u64,
    pub(super) revision: u64,
    pub(super) authority: Authority,
    pub(super) as_of: Instant,
}

pub(super) struct Room {
    told: watch::Receiver<Told>,
    _task: Task,
}

impl Room {
    pub(super) fn open(spawner: &Spawner, reader: Arc<Reader>, service: Arc<Service>) -> Self {
        let (teller, told) = watch::channel(Told::Nothing);
        let task = spawner.spawn(async move {
            let _counted = Counted::new(reader.rooms.clone());
            let error = run(&reader, &service, &teller).await;
            teller.send_replace(Told::Ended(error));
        });
        Self { told, _task: task }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Told> {
        self.told.clone()
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(*self.told.borrow(), Told::Ended(_)) || self.told.has_changed().is_err()
    }
}

async fn run(reader: &Reader, service: &Service, teller: &watch::Sender<Told>) -> Error {
    let (mut follower, mut seen) = match Follower::begin(reader, service).await {
        Ok(begun) => begun,
        Err(error) => return error,
    };
    loop {
        teller.send_replace(Told::Seen(seen));
        seen = match follower.next().await {
            Ok(seen) => seen,
            Err(error) => return error,
        };
    }
}

/// One of the services that are followed now.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("ended", &self.has_ended()).finish_non_exhaustive()
    }
}
