//! A backend whose way to its registry may be in trouble.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callsign_core::{
    Authority, Backend, BackendInfo, Discovery, Error, EventStream, Group, Listing, Namespace, Probe, Read,
    Receipt, Record, Registry, Result, ServiceKey, ServiceName, WatchStream, async_trait,
};
use futures::StreamExt;
use tokio::time::{sleep, timeout};

use super::watching;
use super::{Trouble, Way};

/// After which a backend gives up a call that nobody answers.
const GIVES_UP: Duration = Duration::from_secs(5);

/// A backend behind a [`Way`].
#[derive(Debug)]
pub(crate) struct Through {
    inner: Arc<dyn Backend>,
    way: Way,
    known: Arc<Known>,
}

/// What the registry has last shown, for a server that is cut off from the others.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<ServiceKey, Listing>>);

impl Known {
    pub(super) fn note(&self, service: &ServiceKey, listing: &Listing) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.insert(service.clone(), listing.clone());
    }

    /// What a minority answers.
    pub(super) fn stale(&self, service: &ServiceKey) -> Option<Listing> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listing = known.get(service)?.clone();
        listing.authority = Authority::Stale;
        Some(listing)
    }
}

/// What a call is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Read,
    Write,
}

impl Through {
    pub(crate) fn new(inner: Arc<dyn Backend>, way: Way) -> Self {
        Self { inner, way, known: Arc::default() }
    }

    async fn call<T>(
        &self,
        operation: &'static str,
        what: What,
        call: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        self.way.called();
        let named =
            |error: Error| error.with_operation(operation).with_backend(self.inner.info().name.clone());
        let unknown = || {
            let error = named(Error::timeout(format!("no answer within {GIVES_UP:?}")));
            if what == What::Write { error.with_outcome_unknown() } else { error }
        };
        let trouble = self.way.trouble();
        if let Some(error) = trouble.refusal(what == What::Write) {
            return Err(named(error));
        }
        match trouble {
            // What was sent before it is over arrives late.
            Trouble::Silent if timeout(GIVES_UP, self.way.turned(trouble)).await.is_err() => {
                return Err(unknown());
            }
            Trouble::Hanging => std::future::pending().await,
            #[expect(clippy::panic, reason = "what it is for")]
            Trouble::Panicking => panic!("this backend is broken"),
            Trouble::Lossy(share) if fastrand::u8(..100) < share => {
                sleep(GIVES_UP).await;
                return Err(unknown());
            }
            Trouble::Slow(by) => sleep(by).await,
            _ => {}
        }
        let answer = call.await;
        // An answer has to come back, too.
        match self.way.trouble() {
            Trouble::Deaf | Trouble::Silent => {
                sleep(GIVES_UP).await;
                Err(unknown())
            }
            Trouble::Hanging => std::future::pending().await,
            Trouble::Refused if what == What::Write => {
                Err(named(Error::unavailable("connection reset")).with_outcome_unknown())
            }
            Trouble::Refused => Err(named(Error::unavailable("connection reset"))),
            _ => answer,
        }
    }
}

#[async_trait]
impl Registry for Through {
    async fn register(&self, record: &Record) -> Result<Receipt> {
        self.call("register", What::Write, self.inner.register(record)).await
    }

    async fn renew(&self, record: &Record) -> Result<Receipt> {
        self.call("renew", What::Write, self.inner.renew(record)).await
    }

    async fn deregister(&self, record: &Record) -> Result<Receipt> {
        self.call("deregister", What::Write, self.inner.deregister(record)).await
    }
}

#[async_trait]
impl Discovery for Through {
    async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        let list = async {
            if self.way.trouble() == Trouble::Minority {
                let stale = self.known.stale(service).filter(|_| read == Read::Any);
                return stale.ok_or_else(|| Error::unavailable("there is no leader"));
            }
            let listing = self.inner.list(service, read).await?;
            self.known.note(service, &listing);
            Ok(listing)
        };
        self.call("list", What::Read, list).await
    }

    fn watch(&self, service: &ServiceKey) -> WatchStream {
        watching::through(self.inner.clone(), self.way.clone(), self.known.clone(), service.clone())
    }

    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        self.call("services", What::Read, self.inner.services(namespace, group)).await
    }
}

#[async_trait]
impl Backend for Through {
    fn info(&self) -> &BackendInfo {
        self.inner.info()
    }

    fn events(&self) -> EventStream {
        let way = self.way.clone();
        let heard = self.inner.events().filter(move |_| {
            let heard = way.trouble() == Trouble::None;
            async move { heard }
        });
        futures::stream::select(self.way.events(), heard).boxed()
    }

    async fn probe(&self, level: Probe) -> Result<()> {
        // What proves a quorum is a write, but for its traces.
        let what = if self.way.trouble() == Trouble::Minority && level == Probe::Authority {
            What::Write
        } else {
            What::Read
        };
        self.call("probe", what, self.inner.probe(level)).await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}
