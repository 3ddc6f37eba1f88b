//! A handle of a store: the traits.

use std::fmt;
use std::sync::Arc;

use callsign_core::{
    Authority, Backend, BackendInfo, Capabilities, Discovery, Error, EventStream, Events, Group, Listing,
    LostSignal, Namespace, Probe, Read, Receipt, Record, Registry, Result, ServiceKey, ServiceName,
    WatchStream, async_trait,
};
use tokio::sync::watch as signal;

use crate::store::out_of_reach;
use crate::{Fault, Store, TYPE, watch};

/// A handle of a [`Store`].
///
/// Its clones are the same handle: closing one closes all. Other handles of the store are made by [`Memory::new`].
#[derive(Clone)]
pub struct Memory {
    store: Store,
    info: Arc<BackendInfo>,
    events: Events,
    closed: Arc<signal::Sender<bool>>,
}

impl Memory {
    /// A handle of `store`, named `name` in listings, events and errors.
    #[must_use]
    pub fn new(store: Store, name: impl Into<Arc<str>>) -> Self {
        let info = BackendInfo::new(TYPE, name, Capabilities::all(Authority::Quorum));
        let events = Events::new(info.name.clone());
        store.listen(events.clone());
        Self { store, info: Arc::new(info), events, closed: Arc::default() }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.info.name
    }

    /// Resolves when the handle is closed.
    pub(crate) async fn closed(&self) -> Error {
        // The sender lives as long as `self`.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
        Error::closed("the backend was closed")
    }

    /// Lets a call through, as the faults allow.
    async fn enter(&self) -> Result<()> {
        if *self.closed.borrow() {
            return Err(self.closed().await);
        }
        let mut faults = self.store.watch_faults();
        loop {
            {
                let now = faults.borrow_and_update();
                if now.has(Fault::Unavailable) {
                    return Err(out_of_reach());
                }
                if !now.has(Fault::Frozen) {
                    return Ok(());
                }
            }
            tokio::select! {
                biased;
                error = self.closed() => return Err(error),
                _ = faults.changed() => {}
            }
        }
    }

    fn refuse(&self, operation: &'static str) -> impl Fn(Error) -> Error {
        let backend = self.name().clone();
        move |error| error.with_operation(operation).with_backend(backend.clone())
    }

    fn receipt(&self, record: &Record, lost: LostSignal) -> Result<Receipt> {
        if self.store.faults().has(Fault::LostAcknowledgement) {
            return Err(
                Error::timeout("the acknowledgement was lost (an injected fault)").with_outcome_unknown()
            );
        }
        Ok(Receipt::new(record.ttl.get()).with_lost(lost))
    }
}

#[async_trait]
impl Registry for Memory {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        let write = async {
            self.enter().await?;
            self.receipt(record, self.store.put(record)?)
        };
        write.await.map_err(self.refuse("register"))
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        let write = async {
            self.enter().await?;
            self.receipt(record, self.store.renew(record)?)
        };
        write.await.map_err(self.refuse("renew"))
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        let write = async {
            self.enter().await?;
            self.store.remove(record)?;
            self.receipt(record, LostSignal::never())
        };
        write.await.map_err(self.refuse("deregister"))
    }
}

#[async_trait]
impl Discovery for Memory {
    async fn list(&self, service: &ServiceKey, _read: Read) -> Result<Listing> {
        self.enter().await.map_err(self.refuse("list"))?;
        Ok(self.store.list(service, self.name()))
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        watch::open(self.clone(), service.clone())
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        self.enter().await.map_err(self.refuse("services"))?;
        Ok(self.store.services(namespace, group))
    }
}

#[async_trait]
impl Backend for Memory {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn events(&self) -> EventStream {
        self.events.subscribe()
    }

    async fn probe(&self, level: Probe) -> Result<()> {
        self.enter().await.map_err(self.refuse("probe"))?;
        if level == Probe::Authority && self.store.faults().has(Fault::Stale) {
            let error = Error::unavailable("the embedded registry proves no quorum (an injected fault)");
            return Err(self.refuse("probe")(error));
        }
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        self.closed.send_replace(true);
        Ok(())
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("name", self.name())
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
