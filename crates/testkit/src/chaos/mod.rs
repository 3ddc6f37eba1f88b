//! The worst backend that is still legal, for everything that is built over backends.
//!
//! ```
//! use std::sync::Arc;
//! use callsign_core::Backend;
//! use callsign_testkit::chaos::{Chaos, Rates};
//!
//! fn one_client_of_a_partitioned_registry(registry: Arc<dyn Backend>, seed: u64) -> Chaos {
//!     let chaos = Chaos::new(registry, seed);
//!     chaos.control().set_rates(Rates::hostile());
//!     chaos.control().cut();
//!     chaos
//! }
//! ```

mod control;
mod rates;
mod watch;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use callsign_core::{
    Authority, Backend, BackendInfo, Discovery, Error, EventStream, Group, Listing, LostSignal, Namespace,
    Probe, Read, Receipt, Record, Registry, Result, ServiceKey, ServiceName, WatchStream, async_trait,
};
use futures::StreamExt;

pub use control::{ChaosControl, Link};
pub use rates::Rates;

/// Wraps a backend and does to its caller whatever the contract allows, by dice that one seed decides.
///
/// Each client of a registry gets a `Chaos` of its own, so that [`ChaosControl`] can cut off one and not the others.
pub struct Chaos {
    inner: Arc<dyn Backend>,
    control: ChaosControl,
    /// What each service looked like, for answers that are stale.
    former: Mutex<HashMap<ServiceKey, Listing>>,
}

impl Chaos {
    /// Wraps `inner`; with the same seed and the same schedule it does the same. Starts with
    /// [`Rates::healthy`].
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>, seed: u64) -> Self {
        let control = ChaosControl::new(seed, inner.info().name.clone());
        Self { inner, control, former: Mutex::default() }
    }

    /// The switches.
    #[must_use]
    pub fn control(&self) -> ChaosControl {
        self.control.clone()
    }

    fn named(&self, operation: &'static str, error: Error) -> Error {
        error.with_operation(operation).with_backend(self.inner.info().name.clone())
    }

    async fn write(
        &self,
        operation: &'static str,
        write: impl Future<Output = Result<Receipt>> + Send,
    ) -> Result<Receipt> {
        self.control.delay().await;
        self.control.pass().await.map_err(|error| self.named(operation, error))?;
        let mut receipt = write.await?;
        self.control.delay().await;
        let rates = self.control.rates();
        // Cut off between the write and its answer: the oldest of all troubles.
        if self.control.link() != Link::Up || self.control.strikes(rates.lost_acknowledgement) {
            let error = Error::timeout("the acknowledgement was lost").with_outcome_unknown();
            return Err(self.named(operation, error));
        }
        if self.control.strikes(rates.deaf) {
            receipt.lost = LostSignal::never();
        }
        Ok(receipt)
    }

    async fn read<T: Send>(
        &self,
        operation: &'static str,
        read: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.control.delay().await;
        self.control.pass().await.map_err(|error| self.named(operation, error))?;
        let answer = read.await?;
        if self.control.link() != Link::Up {
            return Err(self.named(operation, control::cut()));
        }
        Ok(answer)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Registry for Chaos {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.write("register", self.inner.register(record)).await
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.write("renew", self.inner.renew(record)).await
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.write("deregister", self.inner.deregister(record)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Discovery for Chaos {
    async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        let listing = self.read("list", self.inner.list(service, read)).await?;
        let former = self
            .former
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(service.clone(), listing.clone());
        match former {
            Some(former) if read == Read::Any && self.control.strikes(self.control.rates().stale) => {
                Ok(stale(former))
            }
            _ => Ok(listing),
        }
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        watch::watch(self.inner.clone(), self.control.clone(), service.clone())
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        self.read("services", self.inner.services(namespace, group)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Chaos {
    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    fn events(&self) -> EventStream {
        let control = self.control.clone();
        let inner = self.inner.events().filter(move |_| {
            // Who is cut off hears nothing.
            let heard = control.link() == Link::Up;
            async move { heard }
        });
        futures::stream::select(self.control.events().subscribe(), inner).boxed()
    }

    async fn probe(&self, level: Probe) -> Result<()> {
        self.read("probe", self.inner.probe(level)).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

fn stale(mut listing: Listing) -> Listing {
    listing.authority = Authority::Stale;
    listing
}

impl fmt::Debug for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos")
            .field("inner", &self.inner)
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}
