//! The registry type `consul` in a configuration.

use std::sync::Arc;

use callsign_core::config::{RegistryUrl, Table};
use callsign_core::{Backend, Dict, Factory, Members, Result};

use crate::config::{settings_of, table_of};
use crate::{Consul, TYPE};

/// Makes backends of type `consul`, from tables and from `consul://host:port,host:port?key=value`.
#[must_use]
pub fn factory() -> impl Factory {
    ConsulFactory
}

#[derive(Debug)]
struct ConsulFactory;

impl Factory for ConsulFactory {
    fn types(&self) -> &'static [&'static str] {
        &[TYPE]
    }

    fn build(&self, table: &Table, _members: &dyn Members) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Consul::with_settings(settings_of(table)?, table.name().clone())))
    }

    fn table_of(&self, url: &RegistryUrl) -> Result<Dict> {
        table_of(url)
    }
}
