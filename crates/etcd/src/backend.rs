//! The traits.

use std::fmt;
use std::sync::Arc;

use callsign_core::{
    Authority, Backend, BackendInfo, Capabilities, Discovery, Error, EventStream, Events, Group, Listing,
    Namespace, Probe, Read, Receipt, Record, Registry, Result, ServiceKey, ServiceName, WatchStream,
    async_trait, stored,
};

use crate::config::Settings;
use crate::lease::Leases;
use crate::reader::Reader;
use crate::session::{Session, Verb};
use crate::{EtcdConfig, TYPE, watch};

/// One etcd cluster. Clones are the same handle: closing one closes all.
#[derive(Clone)]
pub struct Etcd(Arc<Inner>);

struct Inner {
    info: BackendInfo,
    events: Events,
    session: Arc<Session>,
    reader: Arc<Reader>,
    leases: Leases,
}

impl Etcd {
    /// The cluster that `config` describes, named `name` in listings, events and errors. Connects with the first call.
    ///
    /// # Errors
    /// `ConfigInvalid`, with the key and what is allowed.
    pub fn new(config: &EtcdConfig, name: impl Into<Arc<str>>) -> Result<Self> {
        Ok(Self::with_settings(config.settings()?, name.into()))
    }

    pub(crate) fn with_settings(settings: Settings, name: Arc<str>) -> Self {
        let info = BackendInfo::new(TYPE, name.clone(), Capabilities::all(Authority::Quorum));
        let events = Events::new(name.clone());
        let session = Arc::new(Session::new(settings, events.clone()));
        let reader = Arc::new(Reader::new(name, session.clone()));
        let leases = Leases::new(session.clone());
        Self(Arc::new(Inner { info, events, session, reader, leases }))
    }

    fn refuse(&self, operation: &'static str) -> impl Fn(Error) -> Error {
        let backend = self.0.info.name.clone();
        move |error| error.with_operation(operation).with_backend(backend.clone())
    }

    async fn write(&self, verb: Verb, record: &Record) -> Result<Receipt> {
        let value = if verb == Verb::Register { self.encoded(record)? } else { Vec::new() };
        self.0.session.at_home_in(&record.key().service.namespace);
        self.0.leases.call(verb, record, value).await
    }

    fn encoded(&self, record: &Record) -> Result<Vec<u8>> {
        let value = stored::encode(&record.instance)?;
        let limit = self.0.session.settings().max_value_size;
        if value.len() > limit {
            return Err(Error::limit_exceeded(format!(
                "the record of {} takes {} bytes: up to {limit} are allowed (`max_value_size`)",
                record.key(),
                value.len()
            )));
        }
        Ok(value)
    }
}

#[async_trait]
impl Registry for Etcd {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.write(Verb::Register, record).await.map_err(self.refuse("register"))
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.write(Verb::Renew, record).await.map_err(self.refuse("renew"))
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.write(Verb::Deregister, record).await.map_err(self.refuse("deregister"))
    }
}

#[async_trait]
impl Discovery for Etcd {
    async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        self.0.session.at_home_in(&service.namespace);
        self.0.reader.list(service, read).await.map_err(self.refuse("list"))
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        self.0.session.at_home_in(&service.namespace);
        watch::follow(self.0.reader.clone(), service)
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        self.0.session.at_home_in(namespace);
        self.0.reader.services(namespace, group).await.map_err(self.refuse("services"))
    }
}

#[async_trait]
impl Backend for Etcd {
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
        self.0.session.close();
        self.0.leases.close();
        Ok(())
    }
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd")
            .field("name", &self.0.info.name)
            .field("session", &self.0.session)
            .finish_non_exhaustive()
    }
}
