//! Writes down what an owner's registry has said.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callsign_core::{
    Backend, BackendInfo, Discovery, Error, EventStream, Group, Listing, Namespace, Probe, Read, Receipt,
    Record, Registry, Result, ServiceKey, ServiceName, WatchStream, async_trait,
};
use callsign_testkit::history::History;

/// An owner's backend, with its writes recorded.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) inner: Arc<dyn Backend>,
    pub(crate) history: History,
    /// Whether the owner has missed a renewal since the registry last proved its record.
    pub(crate) lapsed: Arc<AtomicBool>,
    /// Whether a write of the whole record is under way.
    pub(crate) writing: Arc<AtomicBool>,
    /// Whether the process is dead: what is left of its tasks here does not write any more.
    pub(crate) dead: Arc<AtomicBool>,
}

impl Recorded {
    fn alive(&self) -> Result<()> {
        if self.dead.load(Ordering::SeqCst) { Err(Error::unavailable("the process is dead")) } else { Ok(()) }
    }
}

#[async_trait]
impl Registry for Recorded {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.alive()?;
        let pending = self.history.registers(record.instance.id(), record.pair());
        self.writing.store(true, Ordering::SeqCst);
        let answer = self.inner.register(record).await;
        self.writing.store(false, Ordering::SeqCst);
        self.alive()?;
        let receipt = answer?;
        pending.acknowledged();
        if self.lapsed.swap(false, Ordering::SeqCst) {
            // What lapsed while the write was under way is there again.
            self.history.registers(record.instance.id(), record.pair()).acknowledged();
        }
        Ok(receipt)
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.alive()?;
        let receipt = self.inner.renew(record).await?;
        self.alive()?;
        if self.lapsed.swap(false, Ordering::SeqCst) {
            self.history.registers(record.instance.id(), record.pair()).acknowledged();
        }
        Ok(receipt)
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.alive()?;
        let pending = self.history.deregisters(record.instance.id(), record.pair());
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
