//! From a configuration to backends.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use figment::Figment;
use figment::value::Dict;

use crate::config::{RegistryUrl, Table, error_at};
use crate::{Backend, Error, Result};

/// Makes backends of one or more registry types. Nothing is global: a program hands its factories over.
pub trait Factory: Debug + Send + Sync + 'static {
    /// The values of `type` that this factory answers to. The first is the scheme it prefers in URLs.
    fn types(&self) -> &'static [&'static str];

    /// Makes the backend that `table` describes. Does no network I/O.
    ///
    /// # Errors
    /// `ConfigInvalid`, made by [`Table::extract`] or [`Table::error`] so that it names file and key.
    fn build(&self, table: &Table, members: &dyn Members) -> Result<Arc<dyn Backend>>;

    /// The table that `url` stands for, without `type`.
    ///
    /// # Errors
    /// `ConfigInvalid` for a part of the URL that is malformed or means nothing to this type.
    fn table_of(&self, url: &RegistryUrl) -> Result<Dict>;
}

/// Resolves other configured registries by name, for types that are made of several.
pub trait Members {
    /// The backend of `[registries.NAME]`: one for all who ask.
    ///
    /// # Errors
    /// `ConfigInvalid` for an unknown name, and for a registry that is, however indirectly, a member of itself.
    fn member(&self, name: &str) -> Result<Arc<dyn Backend>>;
}

/// The registry types that a program can use.
#[derive(Debug, Clone, Default)]
pub struct Factories {
    enabled: BTreeMap<&'static str, Arc<dyn Factory>>,
    disabled: BTreeMap<&'static str, &'static str>,
}

impl Factories {
    /// None.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a factory. Of two that answer to the same type the later one counts.
    #[must_use]
    pub fn with(mut self, factory: impl Factory) -> Self {
        let factory: Arc<dyn Factory> = Arc::new(factory);
        self.enabled.extend(factory.types().iter().map(|kind| (*kind, factory.clone())));
        self
    }

    /// Remembers that `kind` exists and needs the cargo feature `feature`, for a better error than "unknown".
    #[must_use]
    pub fn with_disabled(mut self, kind: &'static str, feature: &'static str) -> Self {
        self.disabled.insert(kind, feature);
        self
    }

    /// The types that can be used, sorted.
    pub fn types(&self) -> impl Iterator<Item = &'static str> {
        self.enabled.keys().copied()
    }

    fn of(&self, kind: &str) -> Result<&dyn Factory, String> {
        if let Some(factory) = self.enabled.get(kind) {
            return Ok(&**factory);
        }
        Err(match self.disabled.get(kind) {
            Some(feature) => format!(
                "the registry type `{kind}` is not compiled in: switch on the feature `{feature}` of the crate `callsign`"
            ),
            None => format!("the registry type `{kind}` is unknown; compiled in: {}", listed(self.types())),
        })
    }

    /// The table that `url` stands for; the registry is named `name`.
    ///
    /// # Errors
    /// `ConfigInvalid`: an unknown scheme, or what [`Factory::table_of`] refuses.
    pub fn table_of(&self, name: &str, url: &RegistryUrl) -> Result<Table> {
        let factory = self.of(&url.scheme).map_err(Error::config)?;
        Ok(Table::from_dict(name, &url.scheme, factory.table_of(url)?))
    }
}

/// The registries of one configuration, each built once and when it is first asked for.
pub struct Registries {
    factories: Factories,
    figment: Figment,
    built: RefCell<BTreeMap<String, Arc<dyn Backend>>>,
    /// Who is being built for whom: each is a member of the one before it.
    building: RefCell<Vec<String>>,
}

impl Registries {
    /// The registries of `figment`'s tables `[registries.*]`.
    #[must_use]
    pub fn new(factories: Factories, figment: Figment) -> Self {
        Self { factories, figment, built: RefCell::default(), building: RefCell::default() }
    }

    /// The backend of `table`, whose type decides the factory; for a registry that stands in no configuration.
    ///
    /// # Errors
    /// `ConfigInvalid`.
    pub fn build(&self, table: &Table) -> Result<Arc<dyn Backend>> {
        let factory = self.factories.of(table.kind()).map_err(|rule| table.error("type", rule))?;
        factory.build(table, self)
    }

    /// The registries that were built, by name.
    #[must_use]
    pub fn into_built(self) -> BTreeMap<String, Arc<dyn Backend>> {
        self.built.into_inner()
    }

    /// The way from `name` to itself, where it is being built already: `a -> b -> a`.
    fn cycle(&self, name: &str) -> Option<String> {
        let building = self.building.borrow();
        let start = building.iter().position(|one| one == name)?;
        Some(format!("{} -> {name}", building[start..].join(" -> ")))
    }

    fn names(&self) -> Vec<String> {
        let registries = self.figment.find_value("registries").ok();
        registries
            .and_then(figment::value::Value::into_dict)
            .map(|dict| dict.into_keys().collect())
            .unwrap_or_default()
    }
}

impl Members for Registries {
    fn member(&self, name: &str) -> Result<Arc<dyn Backend>> {
        if let Some(backend) = self.built.borrow().get(name) {
            return Ok(backend.clone());
        }
        let names = self.names();
        if !names.iter().any(|known| known == name) {
            let known = listed(names.iter().map(String::as_str));
            return Err(Error::config(format!(
                "there is no registry `{name}`: no table `[registries.{name}]`; configured: {known}"
            )));
        }
        if let Some(cycle) = self.cycle(name) {
            return Err(error_at(
                &self.figment,
                &format!("registries.{name}"),
                format!("the registry is a member of itself: {cycle}"),
            ));
        }
        self.building.borrow_mut().push(name.to_owned());
        let built = Table::new(&self.figment, name).and_then(|table| self.build(&table));
        self.building.borrow_mut().pop();
        if let Ok(backend) = &built {
            self.built.borrow_mut().insert(name.to_owned(), backend.clone());
        }
        built
    }
}

/// The names, or that there are none.
fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the figment: it holds every secret in the clear.
        f.debug_struct("Registries").field("names", &self.names()).finish_non_exhaustive()
    }
}
