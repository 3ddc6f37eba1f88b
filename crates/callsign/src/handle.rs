//! What an application holds.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use callsign_client::{Client, RegisterOptions, Registration, ServiceView};
use callsign_core::config::RegistryUrl;
use callsign_core::{
    Backend, Error, Figment, Group, Instance, InstanceBuilder, Namespace, Result, ServiceKey, ServiceName,
};

use crate::CallsignBuilder;
use crate::config::Config;
use crate::registry::Built;

/// What an application holds: it registers instances and looks services up, in the configured registry, namespace and
/// group. Cheap to clone.
///
/// ```
/// use std::time::Duration;
/// use callsign::Callsign;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> callsign::Result<()> {
/// # #[cfg(feature = "memory")] {
/// let callsign = Callsign::connect("memory://handle-example")?;
/// let instance = callsign.instance("orders").endpoint("http://127.0.0.1:8080").build()?;
/// let registration = callsign.register(instance).await?; // kept alive for as long as this handle lives
///
/// let orders = callsign.service("orders")?;
/// assert_eq!(orders.ready(Duration::from_secs(5)).await?.instances.len(), 1);
///
/// callsign.close(Duration::from_secs(1)).await?; // deregisters
/// # }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Callsign(Arc<Inner>);

struct Inner {
    client: Client,
    registries: BTreeMap<String, Arc<dyn Backend>>,
    namespace: Namespace,
    group: Group,
}

impl Callsign {
    /// Builds what `callsign.toml` and the `CALLSIGN_*` environment describe; without either, `memory://`.
    ///
    /// Does no network I/O: a registry that is down shows in what the handle does later, not here.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming place, value and what is allowed; also outside of a tokio runtime.
    pub fn load() -> Result<Self> {
        Self::builder().build()
    }

    /// Builds the registry of `url`, such as `memory://`. Reads no file and no environment, and does no network I/O.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming the part of the URL that is wrong; also outside of a tokio runtime.
    pub fn connect(url: impl Into<String>) -> Result<Self> {
        let url = url.into();
        // `registry` also takes the name of a table, of which there is none here.
        url.parse::<RegistryUrl>()?;
        Self::builder().figment(Figment::new()).registry(url).build()
    }

    /// Starts with what [`load`](Self::load) does and changes a part of it.
    pub fn builder() -> CallsignBuilder {
        CallsignBuilder::new()
    }

    pub(crate) fn new(config: Config, registries: Built) -> Result<Self> {
        let info = registries.chosen.info();
        tracing::info!(registry = %info.name, kind = info.kind, "the registry is chosen");
        let Config { namespace, group, client, .. } = config;
        let key = |name| place(name, &namespace, &group);
        let client = client.apply(Client::builder(registries.chosen), key).build()?;
        Ok(Self(Arc::new(Inner { client, registries: registries.by_name, namespace, group })))
    }

    /// Registers `instance`, with the defaults of [`RegisterOptions`], and keeps it registered for as long as the
    /// returned handle lives.
    ///
    /// # Errors
    /// As [`Client::register`]: only what no waiting mends. A registry that is down is no error; the handle is
    /// `Pending` then, and the instance is registered when the registry is back.
    ///
    /// # Cancel safety
    /// Dropping the future gives the registration up, as dropping the handle would.
    pub async fn register(&self, instance: Instance) -> Result<Registration> {
        self.register_with(instance, RegisterOptions::new()).await
    }

    /// As [`register`](Self::register), with options: a ttl, how long to wait, whether success is required.
    ///
    /// # Errors
    /// As [`Client::register`].
    ///
    /// # Cancel safety
    /// As [`register`](Self::register).
    pub async fn register_with(&self, instance: Instance, options: RegisterOptions) -> Result<Registration> {
        self.0.client.register(instance, options).await
    }

    /// A live view of the service `name` in the configured namespace and group. Returns at once;
    /// [`ServiceView::ready`] waits for the first answer.
    ///
    /// # Errors
    /// `InvalidInput` if `name` breaks a rule of [`ServiceName`].
    pub fn service(&self, name: impl TryInto<ServiceName, Error: Into<Error>>) -> Result<ServiceView> {
        Ok(self.0.client.service(self.key(name)?))
    }

    /// Starts an instance of the service `name` in the configured namespace and group. A bad name is reported by
    /// [`InstanceBuilder::build`].
    pub fn instance(&self, name: impl TryInto<ServiceName, Error: Into<Error>>) -> InstanceBuilder {
        Instance::builder(Keyed(self.key(name)))
    }

    /// The service `name` in the configured namespace and group. Those in others are reached through
    /// [`client`](Self::client), with a [`ServiceKey`] of their own.
    ///
    /// # Errors
    /// `InvalidInput` if `name` breaks a rule of [`ServiceName`].
    pub fn key(&self, name: impl TryInto<ServiceName, Error: Into<Error>>) -> Result<ServiceKey> {
        let name = name.try_into().map_err(Into::into)?;
        Ok(place(name, &self.0.namespace, &self.0.group))
    }

    /// The client below: services of any namespace and group, and the stream of what happens.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The chosen registry.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        self.0.client.backend()
    }

    /// The registry of the table `[registries.NAME]`, if it is the chosen one or, however indirectly, a member of it:
    /// to ask one member how it is. `None` for those that stand in the configuration and are not used.
    #[must_use]
    pub fn registry(&self, name: &str) -> Option<&Arc<dyn Backend>> {
        self.0.registries.get(name)
    }

    /// The hand on the registry of type `failover` that is called `NAME` (`[registries.NAME]`), if it is the chosen one or,
    /// however indirectly, a member of it: how its members are, and the brake. `None` for other types.
    #[cfg(feature = "failover")]
    #[must_use]
    pub fn failover(&self, name: &str) -> Option<callsign_failover::Control> {
        let chosen = self.backend();
        let backend = self.registry(name).or_else(|| (&*chosen.info().name == name).then_some(chosen))?;
        let any: &dyn std::any::Any = &**backend;
        any.downcast_ref::<callsign_failover::Failover>().map(callsign_failover::Failover::control)
    }

    /// Deregisters everything that was registered through this handle and its clones, and closes the registry. Views
    /// keep their last answer. Idempotent.
    ///
    /// # Errors
    /// What the registry could not close.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the rest undone.
    pub async fn close(&self, deadline: Duration) -> Result<()> {
        self.0.client.close(deadline).await
    }
}

fn place(name: ServiceName, namespace: &Namespace, group: &Group) -> ServiceKey {
    ServiceKey::from(name).with_namespace(namespace.clone()).with_group(group.clone())
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
            .field("registry", self.backend().info())
            .field("namespace", &self.0.namespace)
            .field("group", &self.0.group)
            .finish_non_exhaustive()
    }
}
