//! From the key `registry` to a backend.

use std::collections::BTreeMap;
use std::sync::Arc;

use callsign_core::config::{RegistryUrl, error_at};
use callsign_core::{Backend, Error, Factories, Figment, Members, Registries, Result};

use crate::config::{Config, RegistryName, Selection};

/// What is used when nothing at all is configured, so that a first program needs no file.
const DEFAULT: &str = "memory://";

/// The chosen registry, and all that it is made of.
pub(crate) struct Built {
    pub(crate) chosen: Arc<dyn Backend>,
    /// The tables among them, by name.
    pub(crate) by_name: BTreeMap<String, Arc<dyn Backend>>,
}

/// Builds the registry that the configuration chooses.
///
/// # Errors
/// `ConfigInvalid`: no choice between configured registries, an unknown name or type, or what the type refuses.
pub(crate) fn build(config: &Config, factories: &Factories, figment: &Figment) -> Result<Built> {
    let registries = Registries::new(factories.clone(), figment.clone());
    let refuse = |error: Error| error_at(figment, "registry", error.context());
    let chosen = match &config.registry {
        Some(Selection::Name(name)) if !config.registries.contains_key(name) => {
            return Err(refuse(Error::config(format!(
                "there is no table `[registries.{name}]`; configured: {}",
                names(config)
            ))));
        }
        Some(Selection::Name(name)) => registries.member(name.as_str())?,
        Some(Selection::Url(url)) => from_url(url, factories, &registries).map_err(refuse)?,
        None if config.registries.is_empty() => {
            tracing::warn!("no registry is configured: using `{DEFAULT}`, which no other process can see");
            from_url(&DEFAULT.parse()?, factories, &registries).map_err(|error| {
                Error::config(format!(
                    "no `registry` is configured, and the default `{DEFAULT}` cannot be used: {}",
                    error.context()
                ))
            })?
        }
        None => {
            return Err(Error::config(format!(
                "`registry`: missing; choose one of the configured registries: {}",
                names(config)
            )));
        }
    };
    let by_name = registries.into_built();
    Ok(Built { chosen, by_name })
}

/// The registry is named after its type: a URL has no name.
fn from_url(url: &RegistryUrl, factories: &Factories, registries: &Registries) -> Result<Arc<dyn Backend>> {
    registries.build(&factories.table_of(&url.scheme, url)?)
}

fn names(config: &Config) -> String {
    if config.registries.is_empty() {
        return "none".to_owned();
    }
    let names: Vec<_> = config.registries.keys().map(RegistryName::as_str).collect();
    names.join(", ")
}
