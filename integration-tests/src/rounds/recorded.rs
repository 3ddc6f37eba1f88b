//! An owner's backend, with what the registry says written down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callsign_core::{
    Backend, BackendInfo, Discovery, Error, EventStream, Group, Listing, Namespace, Probe, Read, Receipt,
    Record, Registry, Result, ServiceKey, ServiceName, WatchStream, async_trait,
};

use super::book::Book;

/// A backend whose writes are recorded.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) inner: Arc<dyn Backend>,
    pub(crate) book: Book,
    /// Whether the process is dead: what is left of its tasks here does not write any more.
    pub(crate) dead: Arc<AtomicBool>,
}

impl Recorded {
    fn alive(&self) -> Result<()> {
        if self.dead.load(Ordering::SeqCst) { Err(Error::closed("the process is dead")) } else { Ok(()) }
    }
}

#[async_trait]
impl Registry for Recorded {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.alive()?;
        let id = record.instance.id();
        let pending = self.book.history.registers(id, record.pair());
        let _writing = self.book.writes(id);
        let answer = self.inner.register(record).await;
        self.alive()?;
        let receipt = answer?;
        pending.acknowledged();
        self.book.proves(id, record.pair());
        Ok(receipt)
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.alive()?;
        let receipt = self.inner.renew(record).await?;
        self.alive()?;
        self.book.proves(record.instance.id(), record.pair());
        Ok(receipt)
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.alive()?;
        let pending = self.book.history.deregisters(record.instance.id(), record.pair());
        let receipt = self.inner.deregister(record).await?;
        pending.acknowledged();
        Ok(receipt)
    }
}

#[async_trait]
impl Discovery for Recorded {
    async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        self.inner.list(service, read).await
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        self.inner.watch(service)
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        self.inner.services(namespace, group).await
    }
}

#[async_trait]
impl Backend for Recorded {
    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    fn events(&self) -> EventStream {
        self.inner.events()
    }

    async fn probe(&self, level: Probe) -> Result<()> {
        self.inner.probe(level).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
