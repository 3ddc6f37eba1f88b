//! Writes down what an owner's backend has said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callsign_core::{
    Backend, BackendInfo, Discovery, Error, EventStream, Group, Listing, Namespace, Probe, Read, Receipt,
    Record, Registry, Result, ServiceKey, ServiceName, WatchStream, async_trait,
};

use super::book::Book;

/// An owner's backend, with its writes recorded.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) inner: Arc<dyn Backend>,
    pub(crate) book: Book,
    /// Whether its presence is not owed until a registry next proves it.
    pub(crate) lapsed: Arc<AtomicBool>,
    /// Whether the process is dead: what is left of its tasks here does not write any more.
    pub(crate) dead: Arc<AtomicBool>,
    /// Whether nothing is written down any more.
    pub(crate) unheard: Arc<AtomicBool>,
}

impl Recorded {
    fn alive(&self) -> Result<()> {
        if self.dead.load(Ordering::SeqCst) { Err(Error::unavailable("the process is dead")) } else { Ok(()) }
    }

    fn book(&self) -> Book {
        if self.unheard.load(Ordering::SeqCst) { self.book.aside() } else { self.book.clone() }
    }

    fn proven(&self, record: &Record) {
        if self.lapsed.swap(false, Ordering::SeqCst) {
            let history = self.book.history(&record.key().service);
            history.registers(record.instance.id(), record.pair()).acknowledged();
        }
    }
}

#[async_trait]
impl Registry for Recorded {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.alive()?;
        let history = self.book().history(&record.key().service);
        let pending = history.registers(record.instance.id(), record.pair());
        let receipt = self.inner.register(record).await?;
        self.alive()?;
        pending.acknowledged();
        self.book.wrote(record.instance.id(), record.pair());
        self.proven(record);
        Ok(receipt)
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.alive()?;
        let receipt = self.inner.renew(record).await?;
        self.alive()?;
        self.proven(record);
        Ok(receipt)
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.alive()?;
        let history = self.book().history(&record.key().service);
        let pending = history.deregisters(record.instance.id(), record.pair());
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
