//! All services that are, or were, looked at.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use callsign_core::{InstanceKey, Listing, Result, ServiceKey, WatchEvent};
use tokio::sync::watch;
use tokio::time::Instant;

use super::follow::Followed;
use super::position::Position;
use super::service::{Picture, Service, Shown};
use crate::Settings;

/// More services than this, and those that nobody follows are forgotten.
const AT_MOST: usize = 1024;

/// One service, and where its followers look.
#[derive(Debug)]
pub(crate) struct Place {
    service: Mutex<Service>,
    shown: watch::Sender<Arc<Shown>>,
}

impl Place {
    /// Has `change` done to the service, and shows what came of it.
    fn with<T>(&self, change: impl FnOnce(&mut Service) -> T) -> T {
        let mut service = self.service.lock().unwrap_or_else(PoisonError::into_inner);
        let before = numbers(&service.shown);
        let result = change(&mut service);
        if numbers(&service.shown) != before {
            // Under the lock: what is shown never goes back.
            self.shown.send_replace(Arc::new(service.shown.clone()));
        }
        result
    }

    /// Somebody begins to follow it.
    pub(crate) fn begin(&self) {
        self.with(Service::begin);
    }

    pub(crate) fn take(&self, member: usize, item: Result<WatchEvent>, picture: &Picture) {
        self.with(|service| service.take(member, item, picture, Instant::now()));
    }

    pub(crate) fn answered(&self, member: usize, listing: &Listing, picture: &Picture) -> Option<Listing> {
        self.with(|service| service.answered(member, listing, picture, Instant::now()))
    }

    pub(crate) fn answered_all(
        &self,
        answers: &[(usize, Option<Listing>)],
        picture: &Picture,
    ) -> Option<Listing> {
        self.with(|service| service.answered_all(answers, picture, Instant::now()))
    }

    pub(crate) fn refresh(&self, picture: &Picture) {
        self.with(|service| service.refresh(picture, Instant::now()));
    }

    fn coverage(&self, member: usize) -> f64 {
        self.with(|service| service.coverage(member))
    }

    pub(crate) fn shown(&self) -> watch::Receiver<Arc<Shown>> {
        self.shown.subscribe()
    }
}

fn numbers(shown: &Shown) -> (u64, u64, u64, bool) {
    (shown.listing_no, shown.trouble_no, shown.progress_no, shown.trouble.is_some())
}

/// The services of one failover.
#[derive(Debug)]
pub(crate) struct Services {
    settings: Arc<Settings>,
    sources: Arc<[Arc<str>]>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    places: HashMap<ServiceKey, (Arc<Place>, Weak<Followed>)>,
    /// The highest epoch of those that were forgotten.
    forgotten: u64,
}

impl Services {
    pub(crate) fn new(settings: Arc<Settings>, sources: Arc<[Arc<str>]>) -> Self {
        Self { settings, sources, known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn place(&self, key: &ServiceKey, picture: &Picture) -> Arc<Place> {
        self.enter(&mut self.known(), key, picture).0.clone()
    }

    /// Who follows the service; `start` begins it where nobody does.
    pub(crate) fn followed(
        &self,
        key: &ServiceKey,
        picture: &Picture,
        start: impl FnOnce(Arc<Place>) -> Followed,
    ) -> Arc<Followed> {
        let mut known = self.known();
        let (place, followed) = self.enter(&mut known, key, picture);
        if let Some(followed) = followed.upgrade() {
            return followed;
        }
        let begun = Arc::new(start(place.clone()));
        *followed = Arc::downgrade(&begun);
        begun
    }

    fn enter<'a>(
        &self,
        known: &'a mut Known,
        key: &ServiceKey,
        picture: &Picture,
    ) -> &'a mut (Arc<Place>, Weak<Followed>) {
        if known.places.len() >= AT_MOST && !known.places.contains_key(key) {
            let mut highest = known.forgotten;
            known.places.retain(|_, (place, followed)| {
                let kept = followed.strong_count() > 0 || Arc::strong_count(place) > 1;
                if !kept {
                    highest = highest.max(place.with(|service| service.position.epoch + 1));
                }
                kept
            });
            known.forgotten = highest;
        }
        let position = Position::above(known.forgotten);
        known.places.entry(key.clone()).or_insert_with(|| {
            let (settings, sources) = (self.settings.clone(), self.sources.clone());
            let service = Mutex::new(Service::new(settings, sources, position, picture.active));
            (Arc::new(Place { service, shown: watch::Sender::default() }), Weak::new())
        })
    }

    fn all(&self) -> Vec<(Arc<Place>, bool)> {
        let known = self.known();
        known.places.values().map(|(place, followed)| (place.clone(), followed.strong_count() > 0)).collect()
    }

    /// The members, the choice among them, or the time have changed.
    pub(crate) fn refresh(&self, picture: &Picture) {
        for (place, _) in self.all() {
            place.refresh(picture);
        }
    }

    /// Whether of some service that is followed others are at `member` who are not at `active`.
    pub(crate) fn is_deserted(&self, active: usize, member: usize, own: &HashSet<InstanceKey>) -> bool {
        let mut followed = self.all().into_iter().filter(|(_, followed)| *followed);
        followed.any(|(place, _)| {
            place.with(|service| service.share_of(member, active, own) < self.settings.coverage_min)
        })
    }

    /// Whether `member` fails to say how some service that is followed is.
    pub(crate) fn is_unheard(&self, member: usize) -> bool {
        let mut followed = self.all().into_iter().filter(|(_, followed)| *followed);
        followed.any(|(place, _)| place.with(|service| service.is_unheard(member)))
    }

    /// The oldest proof of what is shown of any service that is followed.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        let followed = self.all().into_iter().filter(|(_, followed)| *followed);
        followed.filter_map(|(place, _)| place.with(|service| service.shown.as_of)).min()
    }

    /// The least share of what is followed that `member` lists, too.
    pub(crate) fn coverage(&self, member: usize) -> f64 {
        let followed = self.all().into_iter().filter(|(_, followed)| *followed);
        followed.map(|(place, _)| place.coverage(member)).fold(1.0, f64::min)
    }
}
