//! The registry type `failover` in a configuration.

use std::sync::Arc;

use callsign_core::config::{Broken, RegistryUrl, Table};
use callsign_core::{Backend, Dict, Error, Factory, Members, Result};

use crate::{Failover, Settings, TYPE};

/// Makes backends of type `failover`, from tables and from `failover://MEMBER,MEMBER?KEY=VALUE`, whose members are
/// tables of the configuration.
#[must_use]
pub fn factory() -> impl Factory {
    FailoverFactory
}

#[derive(Debug)]
struct FailoverFactory;

impl Factory for FailoverFactory {
    fn types(&self) -> &'static [&'static str] {
        &[TYPE]
    }

    fn build(&self, table: &Table, members: &dyn Members) -> Result<Arc<dyn Backend>> {
        let settings: Settings = table.extract()?;
        let refuse = |Broken { key, rule }: Broken| table.error(&key, rule);
        settings.check().map_err(refuse)?;
        let mut builder = Failover::builder(table.name().clone()).journal(settings.journal.clone());
        for name in &settings.members {
            let member = members.member(name).map_err(|error| table.error("members", error.context()))?;
            builder = builder.member(name.as_str(), member);
        }
        builder.settings(settings).check().map_err(refuse)?.start().map(|made| Arc::new(made) as _)
    }

    fn table_of(&self, url: &RegistryUrl) -> Result<Dict> {
        let refuse = |rule: &str| Err(Error::config(format!("the registry `{url}` {rule}")));
        if url.user.is_some() || !url.path.is_empty() {
            return refuse("has parts that mean nothing to it: write `failover://MEMBER,MEMBER?KEY=VALUE`");
        }
        let members = url.authority.split(',').filter(|name| !name.is_empty());
        let mut dict = Dict::from([("members".to_owned(), members.collect::<Vec<_>>().into())]);
        for (key, value) in &url.query {
            let value = match (value.parse::<u32>(), value.parse::<f64>()) {
                (Ok(count), _) if key != "coverage_min" => count.into(),
                (_, Ok(share)) => share.into(),
                _ => value.as_str().into(),
            };
            if dict.insert(key.clone(), value).is_some() {
                return refuse(&format!("has the key `{}` twice", key.escape_debug()));
            }
        }
        Ok(dict)
    }
}
