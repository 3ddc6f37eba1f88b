//! The traits.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callsign_core::task::{Spawner, Task};
use callsign_core::{
    Authority, Backend, BackendInfo, Capabilities, Discovery, Error, EventStream, Group, Listing, Namespace,
    Probe, Read, Receipt, Record, Registry, Result, ServiceKey, ServiceName, WatchStream, async_trait,
};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::builder::FailoverBuilder;
use crate::control::Control;
use crate::journal::{self, Journal};
use crate::shared::{Member, Shared};
use crate::write::{Verb, work};
use crate::{Settings, TYPE, Topology, prober, read, supervisor};

/// How long a member may take to be closed.
const CLOSE: Duration = Duration::from_secs(5);

/// Several registries that behave as one.
///
/// Its clones are the same; closing one closes all, and the members with them. Its tasks end when it is closed, and
/// when the last clone and the last watch of it are dropped.
#[derive(Clone)]
pub struct Failover(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// Gone when it is closed.
    tasks: Mutex<Vec<Task>>,
}

impl Failover {
    /// Starts one that is named `name` in listings, events and errors.
    pub fn builder(name: impl Into<Arc<str>>) -> FailoverBuilder {
        FailoverBuilder::new(name.into())
    }

    pub(crate) fn start(builder: FailoverBuilder) -> Result<Self> {
        let journal = builder.journal.as_ref().map(|folder| Journal::new(folder, &builder.name));
        Self::start_with(builder, journal)
    }

    #[cfg(test)]
    pub(crate) fn journal(&self) -> Option<&Journal> {
        self.0.shared.journal.as_ref()
    }

    pub(crate) fn start_with(builder: FailoverBuilder, journal: Option<Journal>) -> Result<Self> {
        let spawner = Spawner::current()?;
        let FailoverBuilder { name, members, settings, .. } = builder;
        let info = BackendInfo::new(TYPE, name, capabilities(&members, &settings));
        let (members, questions): (Vec<_>, Vec<_>) = members
            .into_iter()
            .map(|(name, backend)| {
                let (questions, asked) = read::channel();
                (Member { name, backend, poke: Notify::new(), questions }, asked)
            })
            .unzip();
        let shared = Arc::new(Shared::new(info, settings, members, journal, spawner.clone()));
        let mut tasks = vec![spawner.spawn(supervisor::supervise(shared.clone()))];
        tasks.extend(questions.into_iter().map(|questions| spawner.spawn(read::ask_for(questions))));
        for member in 0..shared.members.len() {
            tasks.push(spawner.spawn(work(shared.clone(), member)));
            tasks.push(spawner.spawn(prober::watch_over(shared.clone(), member)));
        }
        if shared.journal.is_some() {
            tasks.push(spawner.spawn(journal::keep(shared.clone())));
        }
        Ok(Self(Arc::new(Inner { shared, tasks: Mutex::new(tasks) })))
    }

    /// Its state, and the brake.
    #[must_use]
    pub fn control(&self) -> Control {
        let shared = self.shared();
        Control::new(shared.clone(), shared.changes.subscribe())
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    async fn write(&self, verb: Verb, record: &Record) -> Result<Receipt> {
        let shared = self.shared();
        shared.enter(verb.name())?;
        let checked = shared.info.capabilities.check(&record.key().service);
        checked.map_err(|error| shared.named(verb.name(), error))?;
        tokio::select! {
            biased;
            answer = shared.writer.write(shared, verb, record) => answer,
            () = shared.closed() => Err(closed(shared, verb.name())),
        }
    }

    /// Lets a read through, and ends it when this is closed.
    async fn read<T>(
        &self,
        operation: &'static str,
        place: (&Namespace, &Group),
        read: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let shared = self.shared();
        shared.enter(operation)?;
        let checked = shared.info.capabilities.check_place(place.0, place.1);
        checked.map_err(|error| shared.named(operation, error))?;
        tokio::select! {
            biased;
            answer = read => answer,
            () = shared.closed() => Err(closed(shared, operation)),
        }
    }
}

fn closed(shared: &Shared, operation: &'static str) -> Error {
    shared.named(operation, Error::closed("the backend was closed"))
}

/// What all of them can do, where everything is written to all; the best authority of any, but in a union that of the
/// weakest: there all of them have to agree that somebody is gone.
fn capabilities(members: &[(Arc<str>, Arc<dyn Backend>)], settings: &Settings) -> Capabilities {
    let rank = |authority: &Authority| match authority {
        Authority::Quorum => 2,
        Authority::Single => 1,
        _ => 0,
    };
    let of = || members.iter().map(|(_, member)| member.info().capabilities);
    let authorities = of().map(|one| one.authority);
    let authority = match settings.topology {
        Topology::Union => authorities.min_by_key(rank),
        _ => authorities.max_by_key(rank),
    };
    let mut all = Capabilities::all(authority.unwrap_or(Authority::Stale));
    all.compare_and_set = of().all(|one| one.compare_and_set);
    all.namespaces = of().all(|one| one.namespaces);
    all.groups = of().all(|one| one.groups);
    all.services = of().all(|one| one.services);
    all.max_metadata_bytes = of().filter_map(|one| one.max_metadata_bytes).min();
    all
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for Failover {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.write(Verb::Register, record).await
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.write(Verb::Renew, record).await
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.write(Verb::Deregister, record).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Discovery for Failover {
    async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        let place = (&service.namespace, &service.group);
        self.read("list", place, read::list(self.shared(), service, read)).await
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        let shared = self.shared();
        if let Err(error) = shared.info.capabilities.check(service) {
            return read::refused(shared, error);
        }
        // The stream keeps this alive: it does not end before it is dropped.
        let keep = self.clone();
        read::watch(shared.clone(), service.clone())
            .map(move |item| {
                let _ = &keep;
                item
            })
            .boxed()
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        let shared = self.shared();
        if !shared.info.capabilities.services && !shared.is_closed() {
            let error = Error::unsupported("not all members can list their services");
            return Err(shared.named("services", error));
        }
        self.read("services", (namespace, group), read::services(shared, namespace, group)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Failover {
    fn info(&self) -> &BackendInfo {
        &self.shared().info
    }

    fn events(&self) -> EventStream {
        self.shared().events.subscribe()
    }

    /// One member that answers is enough.
    async fn probe(&self, level: Probe) -> Result<()> {
        let shared = self.shared();
        let probes = async {
            let probe = |(nth, member): (usize, &Member)| {
                let backend = member.backend.clone();
                async move { (nth, prober::ask(shared, &*backend, level).await) }
            };
            let mut probes: FuturesUnordered<_> = shared.members.iter().enumerate().map(probe).collect();
            let mut trouble = Vec::new();
            while let Some((nth, answer)) = probes.next().await {
                match answer {
                    Ok(()) => return Ok(()),
                    Err(error) => trouble.push((nth, error)),
                }
            }
            Err(shared.told_by_all("probe", &trouble))
        };
        self.read("probe", (&Namespace::default(), &Group::default()), probes).await
    }

    async fn close(&self) -> Result<()> {
        let shared = self.shared();
        shared.close();
        self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let close = |(nth, member): (usize, &Member)| {
            let backend = member.backend.clone();
            async move {
                match timeout(CLOSE, backend.close()).await {
                    Ok(closed) => closed.map_err(|error| shared.told_by(nth, "close", &error)),
                    Err(_) => Err(shared.told_by(nth, "close", &Error::timeout("it was not closed in time"))),
                }
            }
        };
        join_all(shared.members.iter().enumerate().map(close)).await.into_iter().collect()
    }
}

impl fmt::Debug for Failover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failover")
            .field("info", &self.shared().info)
            .field("members", &self.shared().members)
            .finish_non_exhaustive()
    }
}
