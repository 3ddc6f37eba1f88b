//! A backend that passes the suite, broken in one way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use callsign_core::task::Spawner;
use callsign_core::{
    Backend, BackendInfo, Capabilities, Discovery, Error, ErrorKind, EventStream, Group, Instance,
    InstanceKey, Listing, Metadata, Namespace, Pair, Probe, Read, Receipt, Record, Registry, Result,
    ServiceKey, ServiceName, Ttl, WatchEvent, WatchStream, async_trait,
};
use callsign_testkit::{Guard, Harness};
use futures::StreamExt;

use crate::toy::{Server, ToyHarness};

/// One way in which a backend breaks its contract; each was found in some registry or client library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    None,
    BuildingWaits,
    SwallowsWrites,
    DeletesAndCreates,
    LastWriterWins,
    ConflictHidesItsHolder,
    DeletesAnybodys,
    MissingIsAnError,
    RenewalRegisters,
    NeverExpires,
    PromisesTwiceTheTtl,
    KeepsWhatIsEmpty,
    PairsAreDoubles,
    SlashesAreUnderscores,
    PrefixesMatch,
    GroupsAreIgnored,
    ErrorsAreEmptyListings,
    HangsDuringOutage,
    RevisionStands,
    EpochStands,
    ServicesAreUnsorted,
    LimitIsAnotherError,
    WatchLosesRemovals,
    WatchEndsOnError,
    WatchNeverSaysProgress,
    WatchCopiesEverything,
    WatchBeginsAtOnce,
    WatchShowsEverything,
    CloseIsForgotten,
    ErrorsAreNameless,
}

#[derive(Debug)]
struct Flawed {
    inner: Arc<dyn Backend>,
    toy: Arc<Server>,
    flaw: Flaw,
}

/// A receipt for what has not happened.
fn lie() -> Receipt {
    Receipt::new(Ttl::default().get())
}

impl Flawed {
    /// What the flaw makes of a record on its way to the registry.
    fn bend(&self, record: &Record) -> Result<Record> {
        let builder = record.instance.to_builder();
        let builder = match self.flaw {
            Flaw::KeepsWhatIsEmpty => {
                let entries = record.instance.metadata.iter().filter(|(_, value)| !value.is_empty());
                builder.all_metadata(Metadata::from_entries(entries)?)
            }
            #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            Flaw::PairsAreDoubles => {
                let Pair { incarnation, seq, .. } = record.pair();
                builder.pair(Pair::new(incarnation as f64 as u64, seq as f64 as u64))
            }
            _ => builder,
        };
        let mut instance = builder.build()?;
        instance.key.service = self.bend_service(&record.key().service)?;
        let ttl = if self.flaw == Flaw::NeverExpires { Ttl::new(Ttl::MAX)? } else { record.ttl };
        Ok(Record::new(instance, ttl))
    }

    fn bend_service(&self, service: &ServiceKey) -> Result<ServiceKey> {
        let mut bent = service.clone();
        match self.flaw {
            Flaw::SlashesAreUnderscores => {
                bent.name = ServiceName::new(service.name.as_str().replace('/', "_"))?;
            }
            Flaw::GroupsAreIgnored => bent.group = Group::default(),
            _ => {}
        }
        Ok(bent)
    }

    /// What the flaw makes of an instance on its way back.
    fn unbend(&self, instance: &Arc<Instance>, service: &ServiceKey) -> Arc<Instance> {
        if instance.key.service == *service && self.flaw != Flaw::WatchCopiesEverything {
            return instance.clone();
        }
        let mut copy = Instance::clone(instance);
        copy.key.service = service.clone();
        Arc::new(copy)
    }

    fn unbend_listing(&self, mut listing: Listing, service: &ServiceKey) -> Listing {
        listing.instances = listing.instances.iter().map(|instance| self.unbend(instance, service)).collect();
        match self.flaw {
            Flaw::RevisionStands => listing.revision = 7,
            Flaw::EpochStands => listing.epoch = 7,
            _ => {}
        }
        listing
    }

    fn bend_error(&self, error: Error) -> Error {
        match self.flaw {
            Flaw::ErrorsAreNameless => Error::new(error.kind(), error.context().to_owned()),
            Flaw::LimitIsAnotherError if error.kind() == ErrorKind::LimitExceeded => {
                Error::unexpected("HTTP 400")
            }
            Flaw::ConflictHidesItsHolder if error.kind() == ErrorKind::Conflict => {
                Error::new(ErrorKind::Conflict, "compare failed")
            }
            _ => error,
        }
    }
}

#[async_trait]
impl Registry for Flawed {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        let asked = record.ttl.get();
        let record = &self.bend(record)?;
        match self.flaw {
            Flaw::SwallowsWrites => return Ok(lie()),
            Flaw::DeletesAndCreates => {
                self.inner.deregister(record).await?;
                tokio::task::yield_now().await;
            }
            Flaw::LastWriterWins => self.toy.delete(record.key()),
            _ => {}
        }
        let receipt = self.inner.register(record).await.map_err(|error| self.bend_error(error))?;
        Ok(match self.flaw {
            Flaw::PromisesTwiceTheTtl => Receipt::new(receipt.ttl * 2),
            Flaw::NeverExpires => Receipt::new(asked),
            _ => receipt,
        })
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        let record = &self.bend(record)?;
        let renewed = self.inner.renew(record).await;
        match renewed {
            Err(error) if self.flaw == Flaw::RenewalRegisters && error.kind() == ErrorKind::NotFound => {
                self.inner.register(record).await
            }
            renewed => renewed.map_err(|error| self.bend_error(error)),
        }
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        let record = &self.bend(record)?;
        match self.flaw {
            Flaw::DeletesAnybodys => {
                self.toy.delete(record.key());
                return Ok(lie());
            }
            Flaw::MissingIsAnError => {
                let listing = self.inner.list(&record.key().service, Read::Quorum).await?;
                if !listing.instances.iter().any(|instance| instance.key == *record.key()) {
                    return Err(Error::not_found("no such record"));
                }
            }
            _ => {}
        }
        self.inner.deregister(record).await.map_err(|error| self.bend_error(error))
    }
}

#[async_trait]
impl Discovery for Flawed {
    async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        let bent = self.bend_service(service)?;
        let listed = self.inner.list(&bent, read).await;
        let mut listing = match listed {
            Err(error)
                if self.flaw == Flaw::ErrorsAreEmptyListings && error.kind() == ErrorKind::Unavailable =>
            {
                Listing::new("toy", callsign_core::Authority::Quorum, Vec::new())
            }
            Err(error) if self.flaw == Flaw::HangsDuringOutage && error.kind() == ErrorKind::Unavailable => {
                std::future::pending().await
            }
            listed => listed.map_err(|error| self.bend_error(error))?,
        };
        if self.flaw == Flaw::PrefixesMatch {
            let mut instances = listing.instances.to_vec();
            for name in self.inner.services(&service.namespace, &service.group).await? {
                if name.as_str().starts_with(service.name.as_str()) {
                    instances.extend(self.inner.list(&name.into(), read).await?.instances.iter().cloned());
                }
            }
            listing = Listing::new("toy", listing.authority, instances).at(listing.epoch, listing.revision);
        }
        Ok(self.unbend_listing(listing, service))
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        if self.flaw == Flaw::WatchBeginsAtOnce
            && let Ok(spawner) = Spawner::current()
        {
            spawner.detach(std::future::pending());
        }
        let flaw = self.flaw;
        let this = Self { inner: self.inner.clone(), toy: self.toy.clone(), flaw };
        let unbent = service.clone();
        let Ok(bent) = self.bend_service(service) else {
            return futures::stream::empty().boxed();
        };
        let mut most = 0;
        let mut ended = false;
        self.inner
            .watch(&bent)
            .map(move |item| match item {
                Ok(WatchEvent::Listing(listing)) => {
                    Ok(WatchEvent::Listing(this.unbend_listing(listing, &unbent)))
                }
                Ok(event) => Ok(event),
                Err(error) => Err(this.bend_error(error)),
            })
            .take_while(move |item| {
                let go_on = !ended;
                ended |= item.is_err() && flaw == Flaw::WatchEndsOnError;
                async move { go_on }
            })
            .filter(move |item| {
                let passes = match item {
                    Ok(WatchEvent::Listing(listing)) if flaw == Flaw::WatchLosesRemovals => {
                        let shrinks = listing.instances.len() < most;
                        most = most.max(listing.instances.len());
                        !shrinks
                    }
                    Ok(WatchEvent::Progress { .. }) => flaw != Flaw::WatchNeverSaysProgress,
                    _ => true,
                };
                async move { passes }
            })
            .flat_map(move |item| {
                // Stands for a backend that hands over one listing per change.
                let times = if flaw == Flaw::WatchShowsEverything { 600 } else { 1 };
                futures::stream::iter(std::iter::repeat_n(item, times))
            })
            .boxed()
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        let mut services =
            self.inner.services(namespace, group).await.map_err(|error| self.bend_error(error))?;
        if self.flaw == Flaw::ServicesAreUnsorted {
            services.reverse();
        }
        Ok(services)
    }
}

#[async_trait]
impl Backend for Flawed {
    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    fn events(&self) -> EventStream {
        self.inner.events()
    }

    async fn probe(&self, level: Probe) -> Result<()> {
        self.inner.probe(level).await.map_err(|error| self.bend_error(error))
    }

    async fn close(&self) -> Result<()> {
        if self.flaw == Flaw::CloseIsForgotten {
            return Ok(());
        }
        self.inner.close().await
    }
}

/// How the suites reach a toy with a flaw.
pub(crate) struct FlawedHarness {
    toy: ToyHarness,
    flaw: Flaw,
    down: AtomicBool,
}

impl FlawedHarness {
    pub(crate) fn new(flaw: Flaw) -> Self {
        Self { toy: ToyHarness::default(), flaw, down: AtomicBool::new(false) }
    }
}

#[async_trait]
impl Harness for FlawedHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        if self.flaw == Flaw::BuildingWaits && self.down.load(Ordering::SeqCst) {
            return Err(Error::unavailable("connection refused"));
        }
        Ok(Arc::new(Flawed { inner: self.toy.client().await?, toy: self.toy.0.clone(), flaw: self.flaw }))
    }

    fn capabilities(&self) -> Capabilities {
        self.toy.capabilities()
    }

    fn paused(&self) -> bool {
        true
    }

    async fn outage(&self) -> Result<Guard> {
        self.down.store(true, Ordering::SeqCst);
        self.toy.outage().await
    }

    async fn wipe(&self) -> Result<()> {
        self.toy.wipe().await
    }

    async fn delete(&self, key: &InstanceKey) -> Result<()> {
        self.toy.delete(key).await
    }
}
