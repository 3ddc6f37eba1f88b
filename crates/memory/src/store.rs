//! The registry itself: shared by all handles, and the place where faults are made.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use callsign_core::{
    Authority, Error, EventKind, Events, Group, Instance, InstanceKey, Listing, LostSignal, Namespace,
    Record, Result, ServiceKey, ServiceName,
};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::service::{Listed, Service, Written};
use crate::{Fault, FaultGuard};

/// An embedded registry. Cloning gives another handle of the same one.
///
/// A store is gone with its last handle. It runs no task: leases are ended by whoever looks next, and a watch wakes
/// when the next lease may end.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    faults: watch::Sender<Faults>,
}

/// The faults that are up, each as often as it was injected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.0.contains(&fault)
    }

    /// Whether the store can tell anybody anything.
    fn cut_off(&self) -> bool {
        self.has(Fault::Unavailable) || self.has(Fault::Frozen)
    }
}

#[derive(Default)]
struct State {
    epoch: u64,
    revision: u64,
    services: BTreeMap<ServiceKey, Service>,
    /// For how long who has expired is listed as critical.
    keep_expired: Duration,
    /// What [`Fault::Stale`] shows.
    past: Option<Past>,
    /// Whom [`Fault::Partial`] does not show.
    hidden: BTreeSet<InstanceKey>,
    listeners: Vec<Events>,
}

struct Past {
    as_of: Instant,
    epoch: u64,
    revision: u64,
    /// Each service with its own revision, as a healthy listing would carry it.
    services: HashMap<ServiceKey, (Listed, u64)>,
}

/// The stores that handles of this process share by name; each is gone with its last handle.
static NAMED: LazyLock<Mutex<HashMap<String, Weak<Shared>>>> = LazyLock::new(Mutex::default);

impl Store {
    /// A store of its own.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared { state: Mutex::default(), faults: watch::Sender::default() }))
    }

    /// A store of its own where who has expired is listed for `keep` as `Critical`, and only then removed: what agents do
    /// that check on services, such as Consul's.
    #[must_use]
    pub fn keeping_expired(keep: Duration) -> Self {
        let store = Self::new();
        store.state().keep_expired = keep;
        store
    }

    /// The store of this process that is called `name`, made when it is not there.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = named.get(name).and_then(Weak::upgrade) {
            return Self(shared);
        }
        named.retain(|_, store| store.strong_count() > 0);
        let store = Self::new();
        named.insert(name.to_owned(), Arc::downgrade(&store.0));
        store
    }

    /// Breaks the store until the guard is dropped. Several faults may be up at once.
    pub fn inject(&self, fault: Fault) -> FaultGuard {
        if fault == Fault::Stale {
            let mut state = self.state();
            let past = state.freeze();
            state.past.get_or_insert(past);
        }
        if fault == Fault::Partial {
            self.state().hide_most();
        }
        self.0.faults.send_modify(|faults| faults.0.push(fault));
        if fault == Fault::Unavailable {
            self.tell(&EventKind::Lost, Some(&out_of_reach()));
        }
        FaultGuard::new(self.clone(), fault)
    }

    pub(crate) fn heal(&self, fault: Fault) {
        let mut healed = false;
        self.0.faults.send_modify(|faults| {
            if let Some(at) = faults.0.iter().position(|up| *up == fault) {
                faults.0.swap_remove(at);
            }
            healed = !faults.has(fault);
        });
        if healed && fault == Fault::Stale {
            self.state().past = None;
        }
        if healed && fault == Fault::Partial {
            self.state().hidden.clear();
        }
        if healed && matches!(fault, Fault::Unavailable | Fault::Frozen) {
            self.tell(&EventKind::Ready, None);
        }
    }

    /// Loses every record and starts a new epoch.
    pub fn wipe(&self) {
        let tell = !self.faults().cut_off();
        let mut state = self.state();
        state.epoch += 1;
        state.revision += 1;
        let revision = state.revision;
        for service in state.services.values_mut() {
            service.delete_all(tell);
            service.changed(revision);
        }
        drop(state);
        self.tell(&EventKind::Reset, Some(&Error::unexpected("the registry was wiped")));
    }

    /// Deletes a record, if it is there, as an operator would, whoever owns it.
    pub fn delete(&self, key: &InstanceKey) {
        let tell = !self.faults().cut_off();
        self.state().change(&key.service, |service| service.delete(&key.id, tell));
    }

    /// Makes a record, if it is there, undecodable.
    pub fn garbage(&self, key: &InstanceKey) {
        self.state().change(&key.service, |service| service.spoil(&key.id));
    }

    pub(crate) fn faults(&self) -> Faults {
        self.0.faults.borrow().clone()
    }

    pub(crate) fn watch_faults(&self) -> watch::Receiver<Faults> {
        self.0.faults.subscribe()
    }

    pub(crate) fn listen(&self, events: Events) {
        let mut state = self.state();
        state.forget_orphans();
        state.listeners.push(events);
    }

    pub(crate) fn put(&self, record: &Record) -> Result<LostSignal> {
        let tell = !self.faults().cut_off();
        let mut state = self.state();
        let now = Instant::now();
        state.expire(&record.key().service, now, tell);
        match state.service(&record.key().service).put(record, now, tell)? {
            Written::Extended(signal) => Ok(signal),
            Written::Changed(signal) => {
                state.touch(&record.key().service);
                Ok(signal)
            }
        }
    }

    pub(crate) fn renew(&self, record: &Record) -> Result<LostSignal> {
        let mut state = self.state();
        let now = Instant::now();
        state.expire(&record.key().service, now, true);
        let renewed = state.service(&record.key().service).renew(record, now);
        state.forget_if_idle(&record.key().service);
        renewed
    }

    pub(crate) fn remove(&self, record: &Record) -> Result<()> {
        let mut state = self.state();
        state.expire(&record.key().service, Instant::now(), true);
        if state.service(&record.key().service).remove(record)? {
            state.touch(&record.key().service);
        }
        state.forget_if_idle(&record.key().service);
        Ok(())
    }

    /// What a handle named `source` sees of `service`, faults included.
    pub(crate) fn list(&self, service: &ServiceKey, source: &Arc<str>) -> Listing {
        let faults = self.faults();
        let mut state = self.state();
        if let Some(past) = state.past.as_ref().filter(|_| faults.has(Fault::Stale)) {
            let (listed, revision) =
                past.services.get(service).cloned().unwrap_or_else(|| (Listed::nothing(), past.revision));
            return Listing::new(source.clone(), Authority::Stale, listed.instances.to_vec())
                .at(past.epoch, revision)
                .with_as_of(past.as_of)
                .with_skipped(listed.skipped);
        }
        state.expire(service, Instant::now(), !faults.cut_off());
        let epoch = state.epoch;
        let (listed, revision) = match state.services.get_mut(service) {
            Some(service) => (service.list(), service.revision()),
            None => (Listed::nothing(), state.revision),
        };
        let mut listing = Listing::new(source.clone(), Authority::Quorum, Vec::new())
            .at(epoch, revision)
            .with_skipped(listed.skipped);
        listing.instances = listed.instances;
        if !state.hidden.is_empty() {
            let seen = |instance: &&Arc<Instance>| !state.hidden.contains(&instance.key);
            listing.instances = listing.instances.iter().filter(seen).cloned().collect();
        }
        listing
    }

    pub(crate) fn services(&self, namespace: &Namespace, group: &Group) -> Vec<ServiceName> {
        let mut state = self.state();
        let here: Vec<_> = state
            .services
            .keys()
            .filter(|key| key.namespace == *namespace && key.group == *group)
            .cloned()
            .collect();
        let mut names = BTreeSet::new();
        for key in here {
            state.expire(&key, Instant::now(), true);
            if state.services.get(&key).is_some_and(|service| !service.is_empty()) {
                names.insert(key.name);
            }
        }
        names.into_iter().collect()
    }

    /// A signal of changes to `service`, which need not exist yet.
    pub(crate) fn changes(&self, service: &ServiceKey) -> watch::Receiver<u64> {
        self.state().service(service).changes()
    }

    /// When the next lease of `service` may end.
    pub(crate) fn next_expiry(&self, service: &ServiceKey) -> Option<Instant> {
        self.state().services.get(service).and_then(Service::earliest_expiry)
    }

    /// Called when a watch of `service` ends.
    pub(crate) fn unwatched(&self, service: &ServiceKey) {
        self.state().forget_if_idle(service);
    }

    fn tell(&self, kind: &EventKind, cause: Option<&Error>) {
        let listeners = {
            let mut state = self.state();
            state.forget_orphans();
            state.listeners.clone()
        };
        for events in listeners {
            events.publish(kind.clone(), cause.cloned());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic of another thread leaves the state whole: no change of it can be seen half done.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Store")
            .field("epoch", &state.epoch)
            .field("revision", &state.revision)
            .field("services", &state.services.len())
            .field("faults", &self.faults().0)
            .finish()
    }
}

pub(crate) fn out_of_reach() -> Error {
    Error::unavailable("the embedded registry is out of reach (an injected fault)")
}

impl State {
    fn service(&mut self, key: &ServiceKey) -> &mut Service {
        let revision = self.revision;
        self.services.entry(key.clone()).or_insert_with(|| Service::new(revision))
    }

    fn touch(&mut self, key: &ServiceKey) {
        self.revision += 1;
        let revision = self.revision;
        if let Some(service) = self.services.get_mut(key) {
            service.changed(revision);
        }
    }

    fn change(&mut self, key: &ServiceKey, change: impl FnOnce(&mut Service) -> bool) -> bool {
        let changed = self.services.get_mut(key).is_some_and(change);
        if changed {
            self.touch(key);
        }
        changed
    }

    fn expire(&mut self, key: &ServiceKey, now: Instant, tell: bool) {
        let keep = self.keep_expired;
        self.change(key, |service| service.expire(now, keep, tell));
    }

    fn forget_if_idle(&mut self, key: &ServiceKey) {
        if self.services.get(key).is_some_and(Service::is_idle) {
            self.services.remove(key);
        }
    }

    /// Forgets the listeners whose handle is gone.
    fn forget_orphans(&mut self) {
        self.listeners.retain(Events::has_owner);
    }

    fn hide_most(&mut self) {
        for service in self.services.values_mut() {
            let listed = service.list();
            let hidden = listed.instances.iter().enumerate().filter(|(nth, _)| nth % 3 != 0);
            self.hidden.extend(hidden.map(|(_, instance)| instance.key.clone()));
        }
    }

    fn freeze(&mut self) -> Past {
        let frozen =
            |(key, service): (&ServiceKey, &mut Service)| (key.clone(), (service.list(), service.revision()));
        let services = self.services.iter_mut().map(frozen).collect();
        Past { as_of: Instant::now(), epoch: self.epoch, revision: self.revision, services }
    }
}

#[cfg(test)]
mod tests {
    use callsign_core::{ErrorKind, Ttl};

    use super::*;
    use crate::Memory;

    #[test]
    fn a_living_store_forgets_the_handles_that_were_dropped() {
        let store = Store::new();
        let kept = Memory::new(store.clone(), "kept");
        for _ in 0..100 {
            drop(Memory::new(store.clone(), "brief"));
        }
        let last = Memory::new(store.clone(), "last");
        assert_eq!(store.state().listeners.len(), 2);
        drop((kept, last));
    }

    #[tokio::test]
    async fn renewing_what_is_not_there_leaves_nothing_behind() {
        let store = Store::new();
        let instance = Instance::builder("orders").id("a").endpoint("http://127.0.0.1:1").build().unwrap();
        let error = store.renew(&Record::new(instance, Ttl::default())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(store.state().services.is_empty());
    }
}
