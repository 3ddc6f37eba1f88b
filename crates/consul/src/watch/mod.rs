//! Following services: one query at a time waits for each, however many watches there are of it.

mod follower;
mod pace;
mod pulse;
mod room;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use callsign_core::task::Spawner;
use callsign_core::watch::{WatchOptions, drive};
use callsign_core::{
    Authority, Error, Group, Instance, Listing, Result, ServiceKey, WatchEvent, WatchStream,
};
use futures::StreamExt;

use crate::codec::Place;
use crate::reader::Reader;
use crate::records::Records;
use room::{Room, Seen, Told};

pub(crate) use pulse::Pulses;

/// What all watches of a service share, whatever their group.
#[derive(Debug)]
pub(crate) struct Service {
    place: Place,
    records: Mutex<Records>,
    room: Mutex<Weak<Room>>,
}

impl Service {
    pub(crate) fn new(service: &ServiceKey, place: Place) -> Self {
        let records = Mutex::new(Records::new(service, &place));
        Self { place, records, room: Mutex::default() }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        // No change of it can be seen half done.
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The room in which this service is followed: the one that is there, unless it has ended, or a new one.
    fn join(self: &Arc<Self>, reader: &Arc<Reader>) -> Result<Arc<Room>> {
        let mut held = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = held.upgrade().filter(|room| !room.has_ended()) {
            return Ok(room);
        }
        let room = Arc::new(Room::open(&Spawner::current()?, reader.clone(), self.clone()));
        *held = Arc::downgrade(&room);
        Ok(room)
    }
}

/// The never-ending watch of `service`.
pub(crate) fn follow(reader: Arc<Reader>, service: &ServiceKey) -> WatchStream {
    let service = service.clone();
    let (name, closed) = (reader.name().clone(), reader.agents().closed());
    // Kept over all rounds: what has not changed stays the same.
    let mut shared: Option<Arc<Service>> = None;
    drive(name, WatchOptions::default(), closed, move || {
        let joined = match &shared {
            Some(known) => Ok(known.clone()),
            None => reader.watched(&service),
        };
        if let Ok(known) = &joined {
            shared = Some(known.clone());
        }
        let (reader, group) = (reader.clone(), service.group.clone());
        async move {
            let room = joined?.join(&reader)?;
            let guest = Guest {
                told: room.subscribe(),
                _room: room,
                source: reader.name().clone(),
                group,
                last: None,
            };
            Ok(futures::stream::unfold(guest, |mut guest| async move { Some((guest.next().await, guest)) })
                .boxed())
        }
    })
}

/// One watch in a room.
struct Guest {
    told: tokio::sync::watch::Receiver<Told>,
    _room: Arc<Room>,
    source: Arc<str>,
    group: Group,
    /// What was handed over last.
    last: Option<Handed>,
}

struct Handed {
    seen: Seen,
    instances: Vec<Arc<Instance>>,
    skipped: usize,
}

impl Guest {
    async fn next(&mut self) -> Result<WatchEvent> {
        let gone = || Error::unavailable("the watch ended");
        let told = if self.last.is_none() {
            // The room may have seen something before.
            self.told.wait_for(|told| !matches!(told, Told::Nothing)).await.map_err(|_| gone())?.clone()
        } else {
            self.told.changed().await.map_err(|_| gone())?;
            self.told.borrow_and_update().clone()
        };
        match told {
            Told::Nothing => Err(gone()),
            Told::Ended(error) => Err(error),
            Told::Seen(seen) => Ok(self.event(seen)),
        }
    }

    fn event(&mut self, seen: Seen) -> WatchEvent {
        let (authority, as_of) = (seen.authority, seen.as_of);
        if let Some(last) = &mut self.last
            && last.seen.epoch == seen.epoch
            && last.seen.authority == authority
        {
            if Arc::ptr_eq(&last.seen.found, &seen.found) {
                return WatchEvent::Progress { authority, as_of };
            }
            let (instances, skipped) = seen.found.in_group(&self.group);
            let same = instances.len() == last.instances.len()
                && skipped.is_empty()
                && last.skipped == 0
                && instances.iter().zip(&last.instances).all(|(a, b)| Arc::ptr_eq(a, b));
            if same {
                last.seen = seen;
                return WatchEvent::Progress { authority, as_of };
            }
        }
        WatchEvent::Listing(self.listing(seen, authority))
    }

    fn listing(&mut self, seen: Seen, authority: Authority) -> Listing {
        let (instances, skipped) = seen.found.in_group(&self.group);
        let listing = Listing::new(self.source.clone(), authority, instances.clone())
            .at(seen.epoch, seen.revision)
            .with_as_of(seen.as_of);
        self.last = Some(Handed { seen, instances, skipped: skipped.len() });
        listing.with_skipped(skipped)
    }
}
