//! The keys of a configuration, without those that belong to a registry's type.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use callsign_client::ClientBuilder;
use callsign_core::config::{RegistryUrl, duration};
use callsign_core::{Dict, Group, Namespace, ServiceKey, ServiceName, Ttl};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// The top level. Without `Debug`: it holds every secret in the clear.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct Config {
    pub(crate) registry: Option<Selection>,
    /// Read by the factory of each table's type.
    pub(crate) registries: BTreeMap<RegistryName, Dict>,
    /// Laid over the rest before the rest is read.
    #[serde(rename = "profiles")]
    _profiles: BTreeMap<String, Dict>,
    pub(crate) namespace: Namespace,
    pub(crate) group: Group,
    pub(crate) client: ClientConfig,
}

/// The table `[client]`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct ClientConfig {
    #[serde(deserialize_with = "ttl")]
    pub(crate) ttl: Option<Ttl>,
    pub(crate) store_dir: Option<PathBuf>,
    pub(crate) protection: Option<bool>,
    pub(crate) services: BTreeMap<ServiceName, ServiceConfig>,
}

/// A table `[client.services.NAME]`, for the service of that name in the configured namespace and group.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(crate) struct ServiceConfig {
    pub(crate) protection: Option<bool>,
}

impl ClientConfig {
    /// Hands the settings over; `key` places a service's name.
    pub(crate) fn apply(
        self,
        mut builder: ClientBuilder,
        key: impl Fn(ServiceName) -> ServiceKey,
    ) -> ClientBuilder {
        if let Some(ttl) = self.ttl {
            builder = builder.ttl(ttl);
        }
        if let Some(dir) = self.store_dir {
            builder = builder.store_dir(dir);
        }
        if let Some(on) = self.protection {
            builder = builder.protection(on);
        }
        for (name, service) in self.services {
            if let Some(on) = service.protection {
                builder = builder.service_protection(key(name), on);
            }
        }
        builder
    }
}

fn ttl<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Ttl>, D::Error> {
    let ttl = duration::deserialize(deserializer)?;
    Ttl::new(ttl).map(Some).map_err(D::Error::custom)
}

/// The name of a table `[registries.NAME]`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct RegistryName(String);

impl RegistryName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn is_one(text: &str) -> bool {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        !text.is_empty() && text.chars().all(legal)
    }
}

impl TryFrom<String> for RegistryName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if Self::is_one(&text) {
            Ok(Self(text))
        } else {
            Err(format!(
                "`{}` cannot be the name of a registry: letters, digits, `-` and `_` are allowed",
                text.escape_debug()
            ))
        }
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What `registry` says.
#[derive(Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Selection {
    Name(RegistryName),
    Url(RegistryUrl),
}

impl TryFrom<String> for Selection {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.contains("://") {
            return text
                .parse()
                .map(Self::Url)
                .map_err(|error: callsign_core::Error| error.context().to_owned());
        }
        // Without the text: it may be a URL whose scheme was forgotten, with a password in it.
        RegistryName::try_from(text).map(Self::Name).map_err(|_| {
            "neither a name nor a URL: allowed are the name of a table `[registries.NAME]` (letters, digits, \
             `-` and `_`) and a URL such as `memory://`"
                .to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use callsign_client::Client;
    use callsign_core::Figment;
    use callsign_core::config::extract;
    use callsign_memory::{Memory, Store};
    use figment::providers::{Format, Toml};

    use super::*;

    #[test]
    fn every_client_setting_reaches_the_client() {
        let toml = r#"
            [client]
            ttl = "30s"
            store_dir = "some/folder"
            protection = false
            services.orders.protection = true
        "#;
        let config: Config = extract(&Figment::from(Toml::string(toml)), "").unwrap();
        let backend = Arc::new(Memory::new(Store::named("config"), "config"));
        let builder = config.client.apply(Client::builder(backend), ServiceKey::from);
        let shown = format!("{builder:?}");
        for setting in ["ttl: 30s", "some/folder", "protected: false", "\"orders\" }: true"] {
            assert!(shown.contains(setting), "{setting}: {shown}");
        }
    }
}
