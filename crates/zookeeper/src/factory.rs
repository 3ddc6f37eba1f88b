//! The registry type `zookeeper` in a configuration.

use std::sync::Arc;

use callsign_core::config::{RegistryUrl, Table};
use callsign_core::{Backend, Dict, Factory, Members, Result};

use crate::config::{settings_of, table_of};
use crate::{TYPE, ZooKeeper};

/// Makes backends of type `zookeeper`, from tables and from `zookeeper://user:password@host:port,host:port/chroot?key=value`.
#[must_use]
pub fn factory() -> impl Factory {
    ZooKeeperFactory
}

#[derive(Debug)]
struct ZooKeeperFactory;

impl Factory for ZooKeeperFactory {
    fn types(&self) -> &'static [&'static str] {
        &[TYPE]
    }

    fn build(&self, table: &Table, _members: &dyn Members) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(ZooKeeper::with_settings(settings_of(table)?, table.name().clone())))
    }

    fn table_of(&self, url: &RegistryUrl) -> Result<Dict> {
        table_of(url)
    }
}
