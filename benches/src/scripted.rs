//! A backend whose watch yields what a script pushes: what is measured above it is the client and nothing else.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use callsign_client::{Client, ServiceView};
use callsign_core::{
    Authority, Backend, BackendInfo, Capabilities, Discovery, Error, EventStream, Events, Group, Instance,
    Listing, Namespace, Probe, Read, Receipt, Record, Registry, Result, ServiceKey, ServiceName, WatchEvent,
    WatchStream, async_trait,
};
use futures::{StreamExt, stream};
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::fleet;

/// Pushes listings into the watch of its backend.
#[derive(Debug)]
pub struct Script {
    listings: UnboundedSender<Listing>,
    source: Arc<str>,
    revision: u64,
}

impl Script {
    /// The listing of `instances` that follows the last one. Made apart from being pushed, so that only the latter is
    /// measured.
    pub fn listing(&mut self, instances: Vec<Arc<Instance>>) -> Listing {
        self.revision += 1;
        Listing::new(self.source.clone(), Authority::Quorum, instances).at(0, self.revision)
    }

    /// Hands `listing` to the watch.
    pub fn push(&self, listing: Listing) {
        // Without a watch there is nobody to tell.
        let _ = self.listings.send(listing);
    }
}

#[derive(Debug)]
struct Scripted {
    info: BackendInfo,
    events: Events,
    /// For the first watch; later ones stay silent.
    listings: Mutex<Option<UnboundedReceiver<Listing>>>,
}

/// A view of `service` over a scripted backend, and the script.
///
/// # Errors
/// `ConfigInvalid` outside a tokio runtime.
pub fn view(service: &ServiceKey) -> Result<(Script, ServiceView)> {
    let info = BackendInfo::new("scripted", "main", Capabilities::all(Authority::Quorum));
    let (sender, receiver) = unbounded_channel();
    let script = Script { listings: sender, source: info.name.clone(), revision: 0 };
    let backend =
        Scripted { events: Events::new(info.name.clone()), info, listings: Mutex::new(Some(receiver)) };
    Ok((script, Client::new(Arc::new(backend))?.service(service)))
}

/// A view in which nothing changes, and whose tasks do not run any more: whoever reads it is alone.
#[derive(Debug)]
pub struct QuietView {
    /// The view.
    pub view: ServiceView,
    _script: Script,
    // Behind the view, which needs it to end.
    _runtime: Runtime,
}

/// A quiet view of so many instances.
///
/// # Errors
/// When there is no runtime to be had.
pub fn quiet_view(instances: usize) -> anyhow::Result<QuietView> {
    let service = fleet::service()?;
    let runtime = runtime::Builder::new_current_thread().enable_time().build()?;
    let (script, view) = runtime.block_on(async {
        let (mut script, view) = view(&service)?;
        let listing = script.listing(fleet::instances(&service, instances)?);
        script.push(listing);
        view.ready(Duration::from_secs(10)).await?;
        anyhow::Ok((script, view))
    })?;
    Ok(QuietView { view, _script: script, _runtime: runtime })
}

fn not_scripted<T>() -> Result<T> {
    Err(Error::unsupported("the script says nothing else than its watch"))
}

#[async_trait]
impl Registry for Scripted {
    async fn register(&self, _: &Record) -> Result<Receipt> {
        not_scripted()
    }

    async fn renew(&self, _: &Record) -> Result<Receipt> {
        not_scripted()
    }

    async fn deregister(&self, _: &Record) -> Result<Receipt> {
        not_scripted()
    }
}

#[async_trait]
impl Discovery for Scripted {
    async fn list(&self, _: &ServiceKey, _: Read) -> Result<Listing> {
        not_scripted()
    }

    fn watch(&self, _: &ServiceKey) -> WatchStream {
        let first = self.listings.lock().unwrap_or_else(PoisonError::into_inner).take();
        let listings = stream::unfold(first, |receiver| async move {
            let mut receiver = receiver?;
            let listing = receiver.recv().await?;
            Some((Ok(WatchEvent::Listing(listing)), Some(receiver)))
        });
        listings.chain(stream::pending()).boxed()
    }

    async fn services(&self, _: &Namespace, _: &Group) -> Result<Vec<ServiceName>> {
        not_scripted()
    }
}

#[async_trait]
impl Backend for Scripted {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn events(&self) -> EventStream {
        self.events.subscribe()
    }

    async fn probe(&self, _: Probe) -> Result<()> {
        Ok(())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
