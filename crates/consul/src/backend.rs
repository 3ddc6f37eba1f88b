//! The traits.

use std::fmt;
use std::sync::Arc;

use callsign_core::{
    Authority, Backend, BackendInfo, Capabilities, Discovery, Error, EventStream, Events, Group, Listing,
    Namespace, Probe, Read, Receipt, Record, Registry, Result, ServiceKey, ServiceName, WatchStream,
    async_trait,
};

use crate::agent::Agents;
use crate::codec::MAX_METADATA;
use crate::config::Settings;
use crate::presence::Presence;
use crate::reader::Reader;
use crate::{ConsulConfig, TYPE, watch};

/// One Consul datacenter, through its agents. Clones are the same handle: closing one closes all.
#[derive(Clone)]
pub struct Consul(Arc<Inner>);

struct Inner {
    info: BackendInfo,
    events: Events,
    agents: Arc<Agents>,
    presence: Presence,
    reader: Arc<Reader>,
}

impl Consul {
    /// The registry that `config` describes, named `name` in listings, events and errors. Connects with the first call.
    ///
    /// # Errors
    /// `ConfigInvalid`, with the key and what is allowed.
    pub fn new(config: &ConsulConfig, name: impl Into<Arc<str>>) -> Result<Self> {
        Ok(Self::with_settings(config.settings()?, name.into()))
    }

    pub(crate) fn with_settings(settings: Settings, name: Arc<str>) -> Self {
        let info = BackendInfo::new(TYPE, name.clone(), capabilities());
        let events = Events::new(name.clone());
        let agents = Arc::new(Agents::new(settings, events.clone()));
        let presence = Presence::new(agents.clone());
        let reader = Arc::new(Reader::new(name, agents.clone()));
        Self(Arc::new(Inner { info, events, agents, presence, reader }))
    }

    fn refuse(&self, operation: &'static str) -> impl Fn(Error) -> Error {
        let backend = self.0.info.name.clone();
        move |error| error.with_operation(operation).with_backend(backend.clone())
    }
}

/// What Consul can do: an agent overwrites whatever it has.
fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::all(Authority::Quorum);
    capabilities.compare_and_set = false;
    capabilities.max_metadata_bytes = Some(MAX_METADATA);
    capabilities
}

#[async_trait]
impl Registry for Consul {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.0.presence.register(record).await.map_err(self.refuse("register"))
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.0.presence.renew(record).await.map_err(self.refuse("renew"))
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.0.presence.deregister(record).await.map_err(self.refuse("deregister"))
    }
}

#[async_trait]
impl Discovery for Consul {
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
impl Backend for Consul {
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
        self.0.agents.close();
        Ok(())
    }
}

impl fmt::Debug for Consul {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consul")
            .field("name", &self.0.info.name)
            .field("agents", &self.0.agents)
            .finish_non_exhaustive()
    }
}
