//! A registry in 200 lines, written as somebody outside of this project would: from the documentation of
//! `callsign-core` and `callsign-testkit`, with nothing else.

mod harness;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::watch::{WatchOptions, drive};
use callsign_core::{
    Authority, Backend, BackendInfo, Capabilities, Discovery, Error, EventKind, EventStream, Events, Group,
    Instance, InstanceKey, Listing, Namespace, Probe, Read, Receipt, Record, Registry, Result, ServiceKey,
    ServiceName, WatchEvent, WatchStream, async_trait,
};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub(crate) use harness::ToyHarness;

const PROGRESS: Duration = Duration::from_secs(5);
const MAX_METADATA: usize = 4096;

/// The server: a map.
#[derive(Debug, Default)]
pub(crate) struct Server {
    state: Mutex<State>,
    /// Counts everything that a watcher may want to know of.
    changed: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<InstanceKey, (Arc<Instance>, Instant)>,
    epoch: u64,
    revision: u64,
    down: bool,
    clients: Vec<Events>,
}

impl Server {
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let before = state.records.len();
        state.records.retain(|_, (_, expires)| *expires > now);
        if state.records.len() < before {
            state.revision += 1;
            self.changed.send_modify(|count| *count += 1);
        }
        state
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        state.revision += 1;
        let result = change(&mut state);
        drop(state);
        self.changed.send_modify(|count| *count += 1);
        result
    }

    pub(crate) fn set_down(&self, down: bool) {
        let clients = self.change(|state| {
            state.down = down;
            state.clients.clone()
        });
        for events in clients {
            if down {
                events.publish(EventKind::Lost, Some(is_down()));
            } else {
                events.publish(EventKind::Ready, None);
            }
        }
    }

    pub(crate) fn wipe(&self) {
        self.change(|state| {
            state.records.clear();
            state.epoch += 1;
        });
    }

    pub(crate) fn delete(&self, key: &InstanceKey) {
        self.change(|state| state.records.remove(key));
    }
}

fn is_down() -> Error {
    Error::unavailable("the toy is broken")
}

/// A client of it.
#[derive(Debug)]
pub(crate) struct Toy {
    info: BackendInfo,
    server: Arc<Server>,
    events: Events,
    closed: watch::Sender<bool>,
}

impl Toy {
    pub(crate) fn capabilities() -> Capabilities {
        let mut capabilities = Capabilities::all(Authority::Quorum);
        capabilities.groups = false;
        capabilities.namespaces = false;
        capabilities.max_metadata_bytes = Some(MAX_METADATA);
        capabilities
    }

    pub(crate) fn new(server: Arc<Server>) -> Self {
        let events = Events::new("toy");
        server.state().clients.push(events.clone());
        Self {
            info: BackendInfo::new("toy", "toy", Self::capabilities()),
            server,
            events,
            closed: watch::Sender::default(),
        }
    }

    /// What a call needs first, and the names that its errors bear.
    fn call<T>(
        &self,
        operation: &'static str,
        service: Option<&ServiceKey>,
        call: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let ready = || {
            if *self.closed.borrow() {
                return Err(Error::closed("this client was closed"));
            }
            if let Some(service) = service {
                self.info.capabilities.check(service)?;
            }
            if self.server.state().down { Err(is_down()) } else { Ok(()) }
        };
        ready()
            .and_then(|()| call())
            .map_err(|error| error.with_operation(operation).with_backend(self.info.name.clone()))
    }
}

#[async_trait]
impl Registry for Toy {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.call("register", Some(&record.key().service), || {
            let bytes = record.instance.metadata.byte_len();
            if bytes > MAX_METADATA {
                return Err(Error::limit_exceeded(format!(
                    "{bytes} bytes of metadata: {MAX_METADATA} are allowed"
                )));
            }
            self.server.change(|state| {
                if let Some((holder, _)) = state.records.get(record.key())
                    && !record.instance.supersedes(holder)
                {
                    return Err(Error::conflict(holder.pair(), "a newer owner holds this id"));
                }
                let expires = Instant::now() + record.ttl.get();
                state.records.insert(record.key().clone(), (record.instance.clone(), expires));
                Ok(Receipt::new(record.ttl.get()))
            })
        })
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.call("renew", Some(&record.key().service), || {
            match self.server.state().records.get_mut(record.key()) {
                Some((held, expires)) if held.pair() == record.pair() => {
                    *expires = Instant::now() + record.ttl.get();
                    Ok(Receipt::new(record.ttl.get()))
                }
                _ => Err(Error::not_found(format!("`{}` is lost", record.key()))),
            }
        })
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.call("deregister", Some(&record.key().service), || {
            self.server.change(|state| {
                if let Some((holder, _)) = state.records.get(record.key())
                    && !record.instance.supersedes(holder)
                {
                    return Err(Error::conflict(holder.pair(), "a newer owner holds this id"));
                }
                state.records.remove(record.key());
                Ok(Receipt::new(record.ttl.get()))
            })
        })
    }
}

fn listing(server: &Server, name: &Arc<str>, service: &ServiceKey) -> Result<(Listing, Option<Instant>)> {
    let state = server.state();
    if state.down {
        return Err(is_down());
    }
    let ours = || state.records.iter().filter(|(key, _)| key.service == *service);
    let instances = ours().map(|(_, (instance, _))| instance.clone()).collect();
    let next_expiry = ours().map(|(_, (_, expires))| *expires).min();
    let listing = Listing::new(name.clone(), Authority::Quorum, instances).at(state.epoch, state.revision);
    Ok((listing, next_expiry))
}

#[async_trait]
impl Discovery for Toy {
    async fn list(&self, service: &ServiceKey, _: Read) -> Result<Listing> {
        self.call("list", Some(service), || listing(&self.server, &self.info.name, service))
            .map(|(listing, _)| listing)
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        let reachable = self.info.capabilities.check(service);
        let round = Round {
            server: self.server.clone(),
            name: self.info.name.clone(),
            service: service.clone(),
            changed: self.server.changed.subscribe(),
            closed: self.closed.subscribe(),
            shown: None,
        };
        drive(self.info.name.clone(), WatchOptions::default(), std::future::pending(), move || {
            let (round, reachable) = (round.clone(), reachable.clone());
            async move {
                reachable?;
                let next = |mut round: Round| async move { Some((round.next().await, round)) };
                Ok(futures::stream::unfold(round, next).boxed())
            }
        })
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        self.call("services", None, || {
            self.info.capabilities.check_place(namespace, group)?;
            let state = self.server.state();
            let mut names: Vec<_> = state.records.keys().map(|key| key.service.name.clone()).collect();
            names.sort();
            names.dedup();
            Ok(names)
        })
    }
}

/// One round of a watch: a listing, and then whatever changes it.
#[derive(Clone)]
struct Round {
    server: Arc<Server>,
    name: Arc<str>,
    service: ServiceKey,
    changed: watch::Receiver<u64>,
    closed: watch::Receiver<bool>,
    shown: Option<(u64, Arc<[Arc<Instance>]>)>,
}

impl Round {
    async fn next(&mut self) -> Result<WatchEvent> {
        let progress_at = Instant::now() + PROGRESS;
        loop {
            if *self.closed.borrow_and_update() {
                return Err(Error::closed("this client was closed"));
            }
            self.changed.borrow_and_update();
            let (listing, next_expiry) = listing(&self.server, &self.name, &self.service)?;
            let now = Some((listing.epoch, listing.instances.clone()));
            if self.shown != now {
                self.shown = now;
                return Ok(WatchEvent::Listing(listing));
            }
            if Instant::now() >= progress_at {
                return Ok(WatchEvent::Progress { authority: listing.authority, as_of: listing.as_of });
            }
            // A closed channel would mean that client or server is gone; then only the clock goes on.
            tokio::select! {
                _ = self.changed.changed() => {}
                _ = self.closed.changed() => {}
                () = sleep_until(next_expiry.unwrap_or(progress_at).min(progress_at)) => {}
            }
        }
    }
}

#[async_trait]
impl Backend for Toy {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn events(&self) -> EventStream {
        self.events.subscribe()
    }

    async fn probe(&self, _: Probe) -> Result<()> {
        self.call("probe", None, || Ok(()))
    }

    async fn close(&self) -> Result<()> {
        self.closed.send_replace(true);
        Ok(())
    }
}
