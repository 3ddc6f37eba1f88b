//! One registry, both sides of it.

use std::any::Any;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Authority, Discovery, Error, EventStream, Group, Listing, Namespace, Read, Receipt, Record, Registry,
    Result, ServiceKey, ServiceName, WatchStream,
};

/// What a backend can do whatever its server's version and state: an upper bound.
///
/// A call that goes beyond it is refused with `Unsupported`, never half done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a question of its own, asked by name")]
#[non_exhaustive]
pub struct Capabilities {
    /// The best authority that its listings can have.
    pub authority: Authority,
    /// Whether a write refuses to overwrite a higher pair. Without it the last writer wins.
    pub compare_and_set: bool,
    /// Whether one client can remove what another has registered. Without it a record goes with its owner alone.
    pub removes_others: bool,
    /// Whether namespaces other than `default` exist.
    pub namespaces: bool,
    /// Whether groups other than `default` exist.
    pub groups: bool,
    /// Whether services can be listed.
    pub services: bool,
    /// The most bytes that an instance's metadata may have, keys and values together.
    pub max_metadata_bytes: Option<usize>,
}

impl Capabilities {
    /// Everything, with listings of `authority`. Take away what the registry cannot do.
    #[must_use]
    pub const fn all(authority: Authority) -> Self {
        Self {
            authority,
            compare_and_set: true,
            removes_others: true,
            namespaces: true,
            groups: true,
            services: true,
            max_metadata_bytes: None,
        }
    }

    /// Checks that `service` lies where this backend can reach.
    ///
    /// # Errors
    /// `Unsupported` for a namespace or a group that is not `default` where there are no others.
    pub fn check(&self, service: &ServiceKey) -> Result<()> {
        self.check_place(&service.namespace, &service.group)
    }

    /// As [`check`](Self::check), for a namespace and a group.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_place(&self, namespace: &Namespace, group: &Group) -> Result<()> {
        if !self.namespaces && *namespace != Namespace::default() {
            return Err(Error::unsupported(format!(
                "this registry has no namespaces: `{namespace}` cannot be reached, only `default`"
            )));
        }
        if !self.groups && *group != Group::default() {
            return Err(Error::unsupported(format!(
                "this registry has no groups: `{group}` cannot be reached, only `default`"
            )));
        }
        Ok(())
    }
}

/// What a backend is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BackendInfo {
    /// The registry's type, as in the configuration: `memory`, `etcd`, ...
    pub kind: &'static str,
    /// Its configured name. Listings, events and errors carry it.
    pub name: Arc<str>,
    /// What it can do.
    pub capabilities: Capabilities,
}

impl BackendInfo {
    /// A backend of type `kind`, named `name`.
    #[must_use]
    pub fn new(kind: &'static str, name: impl Into<Arc<str>>, capabilities: Capabilities) -> Self {
        Self { kind, name: name.into(), capabilities }
    }
}

/// How much a probe proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Probe {
    /// A server answers.
    Reachable,
    /// A quorum stands behind the answer; the same as `Reachable` where the registry has none.
    Authority,
}

/// One registry. Building one does no network I/O, so an application starts while its registry is down.
///
/// It is [`Any`], so that who holds one can ask for more than all of them have in common.
///
/// ```
/// use std::sync::Arc;
/// use callsign_core::{Backend, Discovery, Registry};
///
/// fn both_sides(backend: Arc<dyn Backend>) -> (Arc<dyn Registry>, Arc<dyn Discovery>) {
///     (backend.clone(), backend)
/// }
/// ```
#[async_trait]
pub trait Backend: Registry + Discovery + Any {
    /// What this is.
    fn info(&self) -> &BackendInfo;

    /// What happens to the connection from now on, with causes.
    fn events(&self) -> EventStream;

    /// Asks the registry for a sign of life.
    ///
    /// # Errors
    /// Whatever stands in the way.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn probe(&self, level: Probe) -> Result<()>;

    /// Ends every stream with one `Closed`, refuses every later call with `Closed`, and lets connections go.
    /// Idempotent, and bounded in time whatever the registry does. Deregisters nothing.
    ///
    /// # Errors
    /// What could not be closed in time; the backend is closed all the same.
    async fn close(&self) -> Result<()>;
}

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Registry + ?Sized> Registry for $pointer<T> {
            async fn register(&self, record: &Record) -> Result<Receipt> {
                (**self).register(record).await
            }

            async fn renew(&self, record: &Record) -> Result<Receipt> {
                (**self).renew(record).await
            }

            async fn deregister(&self, record: &Record) -> Result<Receipt> {
                (**self).deregister(record).await
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Discovery + ?Sized> Discovery for $pointer<T> {
            async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
                (**self).list(service, read).await
            }

            fn watch(&self, service: &ServiceKey) -> WatchStream {
                (**self).watch(service)
            }

            async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
                (**self).services(namespace, group).await
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<T: Backend + ?Sized> Backend for $pointer<T> {
            fn info(&self) -> &BackendInfo {
                (**self).info()
            }

            fn events(&self) -> EventStream {
                (**self).events()
            }

            async fn probe(&self, level: Probe) -> Result<()> {
                (**self).probe(level).await
            }

            async fn close(&self) -> Result<()> {
                (**self).close().await
            }
        }
    )*};
}

forward!(Arc, Box);
