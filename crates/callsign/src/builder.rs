//! From sources to a handle.

use std::fmt;
use std::path::PathBuf;

use callsign_core::config::extract;
use callsign_core::{Factories, Factory, Figment, Result};

use crate::backends;
use crate::config::Config;
use crate::sources::Sources;
use crate::{Callsign, registry};

/// Builds a [`Callsign`] from something other than `callsign.toml` and `CALLSIGN_*` alone.
///
/// ```
/// use callsign::Callsign;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> callsign::Result<()> {
/// # #[cfg(feature = "memory")] {
/// let callsign = Callsign::builder().registry("memory://demo").build()?;
/// assert_eq!(callsign.backend().info().kind, "memory");
/// # }
/// # Ok(())
/// # }
/// ```
#[must_use = "nothing is built before `build`"]
pub struct CallsignBuilder {
    sources: Sources,
    factories: Factories,
}

impl CallsignBuilder {
    pub(crate) fn new() -> Self {
        Self { sources: Sources::default(), factories: backends::compiled_in() }
    }

    /// Reads this file, which must exist, instead of `callsign.toml` or the one that `CALLSIGN_CONFIG` names.
    pub fn file(mut self, path: impl Into<PathBuf>) -> Self {
        self.sources.file = Some(path.into());
        self
    }

    /// Lays the table `[profiles.NAME]` over the rest of the file, whatever `CALLSIGN_PROFILE` says.
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.sources.profile = Some(name.into());
        self
    }

    /// Uses these variables instead of those of the process. Only `CALLSIGN_*` counts.
    pub fn environment<K: Into<String>, V: Into<String>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let variables = variables.into_iter();
        self.sources.environment = Some(variables.map(|(name, value)| (name.into(), value.into())).collect());
        self
    }

    /// Uses this configuration instead of file and environment, neither of which is read.
    pub fn figment(mut self, figment: Figment) -> Self {
        self.sources.figment = Some(figment);
        self
    }

    /// Chooses the registry, whatever the configuration says: the name of a table `[registries.NAME]`, or a URL.
    pub fn registry(mut self, registry: impl Into<String>) -> Self {
        self.sources.registry = Some(registry.into());
        self
    }

    /// Adds registry types. They count over compiled-in types of the same name.
    pub fn factory(mut self, factory: impl Factory) -> Self {
        self.factories = self.factories.with(factory);
        self
    }

    /// Reads the configuration and builds what it describes. Does no network I/O: a registry that is down shows in
    /// what the handle does later, not here.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming place, value and what is allowed; also outside of a tokio runtime.
    pub fn build(self) -> Result<Callsign> {
        let figment = self.sources.layer()?;
        let config: Config = extract(&figment, "")?;
        let registries = registry::build(&config, &self.factories, &figment)?;
        Callsign::new(config, registries)
    }
}

impl fmt::Debug for CallsignBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither figment, environment nor registry: each may hold a password.
        f.debug_struct("CallsignBuilder")
            .field("file", &self.sources.file)
            .field("profile", &self.sources.profile)
            .field("types", &self.factories.types().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
