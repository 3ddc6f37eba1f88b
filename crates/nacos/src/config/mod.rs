//! The registry type `nacos` in a configuration.

mod settings;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use callsign_core::config::{HttpAddress, Secret, Table, Tls, duration};
use callsign_core::{Error, Result};
use serde::{Deserialize, Serialize};

pub(crate) use settings::{Server, Settings};
pub(crate) use url::table_of;

/// The keys of a table of type `nacos`, with their defaults.
///
/// ```
/// use callsign_nacos::NacosConfig;
///
/// let config = NacosConfig::default()
///     .with_addresses(["http://10.0.0.1:8848", "http://10.0.0.2:8848"])
///     .with_password("callsign", "from somewhere safe");
/// assert_eq!(config.grpc_port_offset, 1000);
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct NacosConfig {
    /// The servers, or some of them, by their HTTP addresses: `http://host:port`, `https://host:port` or `host:port`. The
    /// port is 8848 unless told. `["http://127.0.0.1:8848"]`.
    pub addresses: Vec<String>,
    /// What is added to an address's port for gRPC: 1 to 60000. 1000.
    pub grpc_port_offset: u16,
    /// The port for gRPC of all servers, where it is not to be found by the offset. None.
    pub grpc_port: Option<u16>,
    /// The path that the servers' HTTP API is below, for logging in: starts with a slash, or is empty. `/nacos`.
    pub context_path: String,
    /// What the servers are. `auto`.
    pub flavour: Flavour,
    /// The user. None: no login.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A file with the user's password, read again for each login.
    pub password_file: Option<PathBuf>,
    /// What to trust, and what to show to servers that ask for a certificate. Its files are read again for each
    /// connection.
    pub tls: Option<Tls>,
    /// How long connecting may take: 100 ms to 60 s. 3 s.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long one request may take: 100 ms to 60 s. 3 s.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// How often what was pushed of a service is compared with what the server says when it is asked, give or take 20 %:
    /// 5 s to 1 h. 60 s.
    #[serde(with = "duration")]
    pub reconcile_interval: Duration,
    /// How instances live. `ephemeral`.
    pub instances: Instances,
    /// How records are laid out. `callsign`.
    pub layout: Layout,
}

/// What a server is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Flavour {
    /// What it seems to be.
    #[default]
    Auto,
    /// Nacos 2.0 or newer: a connection publishes one set of instances of a service.
    Nacos,
    /// r-nacos: a connection publishes instances one by one, each address once.
    RNacos,
}

/// How instances live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Instances {
    /// For as long as the connection that has registered them.
    #[default]
    Ephemeral,
    /// Until they are removed: not supported.
    Persistent,
}

/// How records are laid out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Layout {
    /// callsign's own.
    #[default]
    Callsign,
    /// Dubbo's: not supported.
    Dubbo,
    /// Spring Cloud's: not supported.
    Spring,
    /// Kratos': not supported.
    Kratos,
}

impl Default for NacosConfig {
    fn default() -> Self {
        Self {
            addresses: vec!["http://127.0.0.1:8848".to_owned()],
            grpc_port_offset: 1000,
            grpc_port: None,
            context_path: "/nacos".to_owned(),
            flavour: Flavour::Auto,
            username: None,
            password: None,
            password_file: None,
            tls: None,
            connect_timeout: Duration::from_secs(3),
            request_timeout: Duration::from_secs(3),
            reconcile_interval: Duration::from_secs(60),
            instances: Instances::Ephemeral,
            layout: Layout::Callsign,
        }
    }
}

impl NacosConfig {
    /// Replaces the servers' addresses.
    #[must_use]
    pub fn with_addresses(mut self, addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.addresses = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Sets what is added to an address's port for gRPC.
    #[must_use]
    pub fn with_grpc_port_offset(mut self, offset: u16) -> Self {
        self.grpc_port_offset = offset;
        self
    }

    /// Sets the port for gRPC of all servers.
    #[must_use]
    pub fn with_grpc_port(mut self, port: u16) -> Self {
        self.grpc_port = Some(port);
        self
    }

    /// Sets the path that the servers' HTTP API is below.
    #[must_use]
    pub fn with_context_path(mut self, path: impl Into<String>) -> Self {
        self.context_path = path.into();
        self
    }

    /// Sets what the servers are.
    #[must_use]
    pub fn with_flavour(mut self, flavour: Flavour) -> Self {
        self.flavour = flavour;
        self
    }

    /// Sets user and password.
    #[must_use]
    pub fn with_password(mut self, username: impl Into<String>, password: impl Into<Box<str>>) -> Self {
        self.username = Some(username.into());
        self.password = Some(Secret::new(password));
        self
    }

    /// Sets user and the file with the password.
    #[must_use]
    pub fn with_password_file(mut self, username: impl Into<String>, file: impl Into<PathBuf>) -> Self {
        self.username = Some(username.into());
        self.password_file = Some(file.into());
        self
    }

    /// Sets what to trust, and what to show.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets how long connecting may take.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long one request may take.
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets how often what was pushed is compared with what the server says.
    #[must_use]
    pub fn with_reconcile_interval(mut self, interval: Duration) -> Self {
        self.reconcile_interval = interval;
        self
    }

    /// Sets how instances live.
    #[must_use]
    pub fn with_instances(mut self, instances: Instances) -> Self {
        self.instances = instances;
        self
    }

    /// Sets how records are laid out.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// The checked form. Reads the files it names, and connects to nothing.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming the key and what is allowed; `Unsupported` for what Nacos can and callsign cannot.
    pub(crate) fn settings(&self) -> Result<Settings> {
        self.supported()?;
        Settings::check(self).map_err(Into::into)
    }

    /// What Nacos can and callsign cannot is no mistake of the configuration.
    fn supported(&self) -> Result<()> {
        if self.instances == Instances::Persistent {
            return Err(Error::unsupported(
                "`instances`: persistent instances stay when their owners die, and cannot be renewed: only `ephemeral` ones \
                 are registered",
            ));
        }
        let layout = match self.layout {
            Layout::Callsign => return Ok(()),
            Layout::Dubbo => "dubbo",
            Layout::Spring => "spring",
            Layout::Kratos => "kratos",
        };
        Err(Error::unsupported(format!(
            "`layout`: records are not written as `{layout}` does, only as `callsign`; instances of other software are read"
        )))
    }
}

/// The checked form of a table, with errors that name the file, too.
pub(crate) fn settings_of(table: &Table) -> Result<Settings> {
    let config: NacosConfig = table.extract()?;
    config.supported().map_err(|error| error.with_backend(table.name().clone()))?;
    Settings::check(&config).map_err(|broken| table.error(&broken.key, broken.rule))
}

impl fmt::Debug for NacosConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand for the addresses: nothing was checked yet, and one may hold a password where none belongs.
        let addresses: Vec<_> = self.addresses.iter().map(|text| HttpAddress::shown(text)).collect();
        f.debug_struct("NacosConfig")
            .field("addresses", &addresses)
            .field("grpc_port_offset", &self.grpc_port_offset)
            .field("grpc_port", &self.grpc_port)
            .field("context_path", &self.context_path)
            .field("flavour", &self.flavour)
            .field("username", &self.username)
            .field("password", &self.password)
            .field("password_file", &self.password_file)
            .field("tls", &self.tls)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("reconcile_interval", &self.reconcile_interval)
            .field("instances", &self.instances)
            .field("layout", &self.layout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use callsign_core::ErrorKind;

    use super::*;

    fn table(json: &str) -> Table {
        Table::from_dict("main", "nacos", serde_json::from_str(json).unwrap())
    }

    #[test]
    fn an_error_names_the_key_with_its_table() {
        let refused = |json| settings_of(&table(json)).unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"context_path":"nacos"}"#),
            "`registries.main.context_path`: `nacos` does not start with a slash: write it as `/nacos`, or leave it empty"
        );
        assert_eq!(
            refused(r#"{"server":"h"}"#),
            "`registries.main.server`: unknown key; allowed keys: addresses, grpc_port_offset, grpc_port, context_path, \
             flavour, username, password, password_file, tls, connect_timeout, request_timeout, reconcile_interval, \
             instances, layout"
        );
        assert_eq!(
            refused(r#"{"flavour":"x"}"#),
            "`registries.main.flavour`: `x` is unknown; allowed values: auto, nacos, rnacos"
        );
    }

    #[test]
    fn what_callsign_cannot_is_unsupported_and_says_what_it_can() {
        for (json, message) in [
            (
                r#"{"instances":"persistent"}"#,
                "main: unsupported: `instances`: persistent instances stay when their owners die, and cannot be renewed: \
                 only `ephemeral` ones are registered",
            ),
            (
                r#"{"layout":"dubbo"}"#,
                "main: unsupported: `layout`: records are not written as `dubbo` does, only as `callsign`; instances of \
                 other software are read",
            ),
        ] {
            let error = settings_of(&table(json)).unwrap_err();
            assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unsupported, message));
        }
    }

    #[test]
    fn a_table_reads_what_a_program_can_set() {
        let json = r#"{"addresses":["a","b:1"],"username":"u","password":"00012345","flavour":"rnacos","grpc_port":7,
            "reconcile_interval":"20s"}"#;
        let config: NacosConfig = table(json).extract().unwrap();
        let expected = NacosConfig::default()
            .with_addresses(["a", "b:1"])
            .with_password("u", "00012345")
            .with_flavour(Flavour::RNacos)
            .with_grpc_port(7)
            .with_reconcile_interval(Duration::from_secs(20));
        assert_eq!(config, expected);
    }

    #[test]
    fn neither_debug_nor_errors_show_a_password() {
        let right = NacosConfig::default().with_password("u", "hunter2");
        let misplaced = right.clone().with_addresses(["http://u:hunter2@h:1"]);
        for shown in [
            format!("{right:?}"),
            format!("{misplaced:?}"),
            format!("{:?}", right.settings().unwrap()),
            format!("{:?}", misplaced.settings().unwrap_err()),
            misplaced.settings().unwrap_err().to_string(),
            serde_json::to_string(&right).unwrap(),
        ] {
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
