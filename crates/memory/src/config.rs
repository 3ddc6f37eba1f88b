//! The registry type `memory` in a configuration.

use std::sync::Arc;

use callsign_core::config::{RegistryUrl, Table};
use callsign_core::{Backend, Dict, Error, Factory, Members, Result};
use serde::{Deserialize, Serialize};

use crate::{Memory, Store, TYPE};

/// The keys of a table of type `memory`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct MemoryConfig {
    /// The name of the store. Handles of one process that name the same store see the same records. `default`.
    pub store: String,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { store: "default".to_owned() }
    }
}

/// Makes backends of type `memory`, from tables and from `memory://` and `memory://STORE`.
#[must_use]
pub fn factory() -> impl Factory {
    MemoryFactory
}

#[derive(Debug)]
struct MemoryFactory;

impl Factory for MemoryFactory {
    fn types(&self) -> &'static [&'static str] {
        &[TYPE]
    }

    fn build(&self, table: &Table, _members: &dyn Members) -> Result<Arc<dyn Backend>> {
        let config: MemoryConfig = table.extract()?;
        if config.store.is_empty() {
            return Err(table.error("store", "the name is empty: any other text is allowed"));
        }
        Ok(Arc::new(Memory::new(Store::named(&config.store), table.name().clone())))
    }

    fn table_of(&self, url: &RegistryUrl) -> Result<Dict> {
        if url.user.is_some() || !url.path.is_empty() || !url.query.is_empty() {
            return Err(Error::config(format!(
                "the registry `{url}` has parts that mean nothing to it: write `memory://` or `memory://STORE`"
            )));
        }
        let store = Some(&url.authority).filter(|name| !name.is_empty());
        Ok(store.map(|name| ("store".to_owned(), name.as_str().into())).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_the_store_and_nothing_else() {
        let dict = |url: &str| factory().table_of(&url.parse().unwrap());
        assert!(dict("memory://").unwrap().is_empty());
        assert_eq!(dict("memory://demo").unwrap()["store"].as_str(), Some("demo"));
        assert_eq!(
            dict("memory://demo/path").unwrap_err().to_string(),
            "the registry `memory://demo/path` has parts that mean nothing to it: write `memory://` or `memory://STORE`"
        );
    }
}
