//! The registry type `nacos` in a configuration.

use std::sync::Arc;

use callsign_core::config::{RegistryUrl, Table};
use callsign_core::{Backend, Dict, Factory, Members, Result};

use crate::config::{settings_of, table_of};
use crate::{Nacos, TYPE};

/// Makes backends of type `nacos`, from tables and from `nacos://user:password@host:port,host:port?key=value`.
#[must_use]
pub fn factory() -> impl Factory {
    NacosFactory
}

#[derive(Debug)]
struct NacosFactory;

impl Factory for NacosFactory {
    fn types(&self) -> &'static [&'static str] {
        &[TYPE]
    }

    fn build(&self, table: &Table, _members: &dyn Members) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Nacos::with_settings(settings_of(table)?, table.name().clone())))
    }

    fn table_of(&self, url: &RegistryUrl) -> Result<Dict> {
        table_of(url)
    }
}
