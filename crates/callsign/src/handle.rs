//! What an application holds.

use std::fmt;
use std::sync::Arc;

use callsign_core::{
    Backend, Error, Figment, Group, Instance, InstanceBuilder, Namespace, Result, ServiceKey, ServiceName,
};

use crate::CallsignBuilder;
use crate::config::Config;

/// The way into a registry: register instances, look up services. Cloning is cheap.
#[derive(Clone)]
pub struct Callsign(Arc<Inner>);

struct Inner {
    backend: Arc<dyn Backend>,
    namespace: Namespace,
    group: Group,
}

impl Callsign {
    /// Builds what `callsign.toml` and the `CALLSIGN_*` environment describe; without either, `memory://`.
    ///
    /// Does no network I/O: a registry that is down shows in what the handle does later, not here.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming place, value and what is allowed. `InvalidInput` outside of a tokio runtime.
    pub fn load() -> Result<Self> {
        Self::builder().build()
    }

    /// Builds the registry of `url`, such as `memory://`. Reads no file and no environment, and does no network I/O.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming the part of the URL that is wrong. `InvalidInput` outside of a tokio runtime.
    pub fn connect(url: impl Into<String>) -> Result<Self> {
        Self::builder().figment(Figment::new()).registry(url).build()
    }

    /// Starts with what [`load`](Self::load) does and changes a part of it.
    pub fn builder() -> CallsignBuilder {
        CallsignBuilder::new()
    }

    pub(crate) fn new(config: Config, backend: Arc<dyn Backend>) -> Result<Self> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::invalid_input(
                "callsign needs a tokio runtime: build the handle inside of one, for example under `#[tokio::main]`",
            ));
        }
        Ok(Self(Arc::new(Inner {
            backend,
            namespace: config.namespace,
            group: config.group,
        })))
    }

    /// The service `name` in the configured namespace and group. Others are reached through
    /// [`client`](Self::client), with a [`ServiceKey`] of their own.
    ///
    /// # Errors
    /// `InvalidInput` if `name` breaks a rule of [`ServiceName`].
    pub fn key(&self, name: impl TryInto<ServiceName, Error: Into<Error>>) -> Result<ServiceKey> {
        let name = name.try_into().map_err(Into::into)?;
        Ok(ServiceKey::from(name)
            .with_namespace(self.0.namespace.clone())
            .with_group(self.0.group.clone()))
    }

    /// Starts an instance of the service `name` in the configured namespace and group.
    pub fn instance(&self, name: impl TryInto<ServiceName, Error: Into<Error>>) -> InstanceBuilder {
        Instance::builder(Keyed(self.key(name)))
    }

    /// The chosen registry.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.0.backend
    }
}

/// A key that may have been refused, for [`Instance::builder`], which keeps the error.
struct Keyed(Result<ServiceKey>);

impl TryFrom<Keyed> for ServiceKey {
    type Error = Error;

    fn try_from(key: Keyed) -> Result<Self> {
        key.0
    }
}

impl fmt::Debug for Callsign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callsign")
            .field("registry", self.0.backend.info())
            .field("namespace", &self.0.namespace)
            .field("group", &self.0.group)
            .finish_non_exhaustive()
    }
}
