//! The traits.

use std::fmt;
use std::sync::Arc;

use callsign_core::{
    Authority, Backend, BackendInfo, Capabilities, Discovery, Error, EventStream, Events, Group, Listing,
    Namespace, Probe, Read, Receipt, Record, Registry, Result, ServiceKey, ServiceName, WatchStream,
    async_trait,
};

use crate::codec::METADATA_FOR_USERS;
use crate::config::Settings;
use crate::publication::Publications;
use crate::reader::Reader;
use crate::session::Session;
use crate::watch::Subscriptions;
use crate::{NacosConfig, TYPE, watch};

/// One Nacos, of one server or several. Clones are the same handle: closing one closes all.
#[derive(Clone)]
pub struct Nacos(Arc<Inner>);

struct Inner {
    info: BackendInfo,
    events: Events,
    session: Arc<Session>,
    reader: Arc<Reader>,
    publications: Arc<Publications>,
}

impl Nacos {
    /// The Nacos that `config` describes, named `name` in listings, events and errors. Connects with the first call.
    ///
    /// # Errors
    /// `ConfigInvalid`, with the key and what is allowed; `Unsupported` for what Nacos can and callsign cannot.
    pub fn new(config: &NacosConfig, name: impl Into<Arc<str>>) -> Result<Self> {
        Ok(Self::with_settings(config.settings()?, name.into()))
    }

    pub(crate) fn with_settings(settings: Settings, name: Arc<str>) -> Self {
        let mut capabilities = Capabilities::all(Authority::Single);
        // What another connection publishes cannot be guarded, and not be taken away.
        (capabilities.compare_and_set, capabilities.removes_others) = (false, false);
        capabilities.max_metadata_bytes = Some(METADATA_FOR_USERS);
        let info = BackendInfo::new(TYPE, name.clone(), capabilities);
        let events = Events::new(name.clone());
        let subscriptions = Arc::new(Subscriptions::new());
        let session = Arc::new(Session::new(Arc::new(settings), subscriptions.clone(), events.clone()));
        let publications = Arc::new(Publications::new(session.clone(), subscriptions.clone()));
        let reader = Arc::new(Reader::new(name, session.clone(), subscriptions, publications.clone()));
        Self(Arc::new(Inner { info, events, session, reader, publications }))
    }

    fn refuse(&self, operation: &'static str) -> impl Fn(Error) -> Error {
        let backend = self.0.info.name.clone();
        move |error| error.with_operation(operation).with_backend(backend.clone())
    }
}

#[async_trait]
impl Registry for Nacos {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.0.publications.register(record).await.map_err(self.refuse("register"))
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.0.publications.renew(record).await.map_err(self.refuse("renew"))
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.0.publications.deregister(record).await.map_err(self.refuse("deregister"))
    }
}

#[async_trait]
impl Discovery for Nacos {
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
impl Backend for Nacos {
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
        self.0.publications.close();
        self.0.session.close().await.map_err(self.refuse("close"))
    }
}

impl fmt::Debug for Nacos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nacos")
            .field("name", &self.0.info.name)
            .field("session", &self.0.session)
            .finish_non_exhaustive()
    }
}
