//! The registry type `etcd` in a configuration.

use std::sync::Arc;

use callsign_core::config::{RegistryUrl, Table};
use callsign_core::{Backend, Dict, Factory, Members, Result};

use crate::config::{settings_of, table_of};
use crate::{Etcd, TYPE};

/// Makes backends of type `etcd`, from tables and from `etcd://user:password@host:port,host:port/prefix?key=value`.
#[must_use]
pub fn factory() -> impl Factory {
    EtcdFactory
}

#[derive(Debug)]
struct EtcdFactory;

impl Factory for EtcdFactory {
    fn types(&self) -> &'static [&'static str] {
        &[TYPE]
    }

    fn build(&self, table: &Table, _members: &dyn Members) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Etcd::with_settings(settings_of(table)?, table.name().clone())))
    }

    fn table_of(&self, url: &RegistryUrl) -> Result<Dict> {
        table_of(url)
    }
}
