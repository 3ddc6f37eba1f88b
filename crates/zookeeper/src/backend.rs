//! The traits.

use std::fmt;
use std::sync::Arc;

use callsign_core::{
    Authority, Backend, BackendInfo, Capabilities, Discovery, Error, EventStream, Events, Group, Listing,
    Namespace, Probe, Read, Receipt, Record, Registry, Result, ServiceKey, ServiceName, WatchStream,
    async_trait,
};

use crate::config::Settings;
use crate::lease::Leases;
use crate::reader::Reader;
use crate::session::{Role, Session, Siblings};
use crate::{TYPE, ZooKeeperConfig, watch};

/// One ZooKeeper ensemble. Clones are the same handle: closing one closes all.
#[derive(Clone)]
pub struct ZooKeeper(Arc<Inner>);

struct Inner {
    info: BackendInfo,
    events: Events,
    registrations: Arc<Session>,
    reader: Arc<Reader>,
    leases: Leases,
}

impl ZooKeeper {
    /// The ensemble that `config` describes, named `name` in listings, events and errors. Connects with the first call.
    ///
    /// # Errors
    /// `ConfigInvalid`, with the key and what is allowed.
    pub fn new(config: &ZooKeeperConfig, name: impl Into<Arc<str>>) -> Result<Self> {
        Ok(Self::with_settings(config.settings()?, name.into()))
    }

    pub(crate) fn with_settings(settings: Settings, name: Arc<str>) -> Self {
        let info = BackendInfo::new(TYPE, name.clone(), Capabilities::all(Authority::Quorum));
        let events = Events::new(name.clone());
        let settings = Arc::new(settings);
        let siblings = Arc::new(Siblings::new());
        let session = |role| Arc::new(Session::new(settings.clone(), role, siblings.clone(), events.clone()));
        let registrations = session(Role::Registrations);
        let reader = Arc::new(Reader::new(name, session(Role::Discovery)));
        let leases = Leases::new(registrations.clone());
        Self(Arc::new(Inner { info, events, registrations, reader, leases }))
    }

    fn refuse(&self, operation: &'static str) -> impl Fn(Error) -> Error {
        let backend = self.0.info.name.clone();
        move |error| error.with_operation(operation).with_backend(backend.clone())
    }
}

#[async_trait]
impl Registry for ZooKeeper {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.0.leases.register(record).await.map_err(self.refuse("register"))
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.0.leases.renew(record).await.map_err(self.refuse("renew"))
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.0.leases.deregister(record).await.map_err(self.refuse("deregister"))
    }
}

#[async_trait]
impl Discovery for ZooKeeper {
    async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        self.0.reader.list(service, read).await.map_err(self.refuse("list"))
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        watch::follow(self.0.reader.clone(), service)
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        self.0.reader.services(namespace, group).await.map_err(self.refuse("services"))
    }
}

#[async_trait]
impl Backend for ZooKeeper {
    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    fn events(&self) -> EventStream {
        self.0.events.subscribe()
    }

    async fn probe(&self, level: Probe) -> Result<()> {
        self.0.reader.probe(level).await.map_err(self.refuse("probe"))
    }

    async fn close(&self) -> Result<()> {
        self.0.leases.close();
        let sessions = futures::join!(self.0.registrations.close(), self.0.reader.session().close());
        sessions.0.and(sessions.1).map_err(self.refuse("close"))
    }
}

impl fmt::Debug for ZooKeeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ZooKeeper")
            .field("name", &self.0.info.name)
            .field("registrations", &self.0.registrations)
            .field("discovery", self.0.reader.session())
            .finish_non_exhaustive()
    }
}
