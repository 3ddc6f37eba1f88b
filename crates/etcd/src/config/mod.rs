//! The registry type `etcd` in a configuration.

mod endpoint;
mod settings;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use callsign_core::Result;
use callsign_core::config::{HttpAddress, Secret, Table, Tls, duration};
use serde::{Deserialize, Serialize};

pub(crate) use settings::Settings;
pub(crate) use url::table_of;

/// The keys of a table of type `etcd`, with their defaults.
///
/// ```
/// use callsign_etcd::EtcdConfig;
///
/// let config = EtcdConfig::default()
///     .with_endpoints(["https://10.0.0.1:2379", "https://10.0.0.2:2379"])
///     .with_password("callsign", "from somewhere safe");
/// assert_eq!(config.prefix, "/callsign/v1");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EtcdConfig {
    /// The members of the cluster: `http://host:port`, `https://host:port`, or `host:port`, which is `https` where
    /// there is a `tls` table. The port is 2379 unless told. `["http://127.0.0.1:2379"]`.
    pub endpoints: Vec<String>,
    /// What all keys begin with: starts with a slash and does not end with one. `/callsign/v1`.
    pub prefix: String,
    /// The user to log in as. None: no login.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A file with the user's password, read again at each login.
    pub password_file: Option<PathBuf>,
    /// What to trust, and what to show to servers that ask for a certificate. Its files are read again for each
    /// new connection. Without it, `https` trusts the system's roots.
    pub tls: Option<Tls>,
    /// How long one call may take, the opening of a stream and the answer to a keep-alive included: 100 ms to
    /// 60 s. 3 s: with a ttl of 15 s, three members that hang one after the other are left before the lease ends.
    #[serde(with = "duration")]
    pub op_timeout: Duration,
    /// How long a whole listing may take: `op_timeout` to 10 min. 30 s.
    #[serde(with = "duration")]
    pub list_timeout: Duration,
    /// How long a connection may take to be made, TLS included: 100 ms to 60 s. 2 s.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How often a connection in use is pinged: 5 s to 60 s. Servers cut clients that ping more often than every 5 s
    /// unless they are told otherwise, hence 6 s.
    #[serde(with = "duration")]
    pub keep_alive_interval: Duration,
    /// How long the answer to a ping may take before the connection is given up: 500 ms to 60 s. 3 s.
    #[serde(with = "duration")]
    pub keep_alive_timeout: Duration,
    /// The largest record that is written, in bytes: 1 KiB to 1 MiB. 64 KiB. Servers refuse requests over 1.5 MiB
    /// unless they are told otherwise.
    pub max_value_size: usize,
}

impl Default for EtcdConfig {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            prefix: "/callsign/v1".to_owned(),
            username: None,
            password: None,
            password_file: None,
            tls: None,
            op_timeout: Duration::from_secs(3),
            list_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(2),
            keep_alive_interval: Duration::from_secs(6),
            keep_alive_timeout: Duration::from_secs(3),
            max_value_size: 64 * 1024,
        }
    }
}

impl EtcdConfig {
    /// Replaces the members of the cluster.
    #[must_use]
    pub fn with_endpoints(mut self, endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.endpoints = endpoints.into_iter().map(Into::into).collect();
        self
    }

    /// Sets what all keys begin with.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
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

    /// Sets how long one call may take.
    #[must_use]
    pub fn with_op_timeout(mut self, timeout: Duration) -> Self {
        self.op_timeout = timeout;
        self
    }

    /// Sets how long a whole listing may take.
    #[must_use]
    pub fn with_list_timeout(mut self, timeout: Duration) -> Self {
        self.list_timeout = timeout;
        self
    }

    /// Sets how long a connection may take to be made.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how often a connection is pinged, and how long the answer may take.
    #[must_use]
    pub fn with_keep_alive(mut self, interval: Duration, timeout: Duration) -> Self {
        self.keep_alive_interval = interval;
        self.keep_alive_timeout = timeout;
        self
    }

    /// Sets the largest record that is written, in bytes.
    #[must_use]
    pub fn with_max_value_size(mut self, bytes: usize) -> Self {
        self.max_value_size = bytes;
        self
    }

    /// The checked form. Reads the files it names, and connects to nothing.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming the key and what is allowed.
    pub(crate) fn settings(&self) -> Result<Settings> {
        Settings::check(self).map_err(Into::into)
    }
}

/// The checked form of a table, with errors that name the file, too.
pub(crate) fn settings_of(table: &Table) -> Result<Settings> {
    let config: EtcdConfig = table.extract()?;
    Settings::check(&config).map_err(|broken| table.error(&broken.key, broken.rule))
}

impl fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand for the endpoints: nothing was checked yet, and one may hold a password where none belongs.
        let endpoints: Vec<_> = self.endpoints.iter().map(|text| HttpAddress::shown(text)).collect();
        f.debug_struct("EtcdConfig")
            .field("endpoints", &endpoints)
            .field("prefix", &self.prefix)
            .field("username", &self.username)
            .field("password", &self.password)
            .field("password_file", &self.password_file)
            .field("tls", &self.tls)
            .field("op_timeout", &self.op_timeout)
            .field("list_timeout", &self.list_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("keep_alive_interval", &self.keep_alive_interval)
            .field("keep_alive_timeout", &self.keep_alive_timeout)
            .field("max_value_size", &self.max_value_size)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(json: &str) -> Table {
        Table::from_dict("main", "etcd", serde_json::from_str(json).unwrap())
    }

    #[test]
    fn an_error_names_the_key_with_its_table() {
        let refused = |json| settings_of(&table(json)).unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"prefix":"callsign"}"#),
            "`registries.main.prefix`: `callsign` does not start with a slash: write it as `/callsign/v1`"
        );
        assert_eq!(
            refused(r#"{"endpoints":["https://h"],"tls":{"ca_file":"/nowhere/ca.pem"}}"#),
            "`registries.main.tls.ca_file`: the file /nowhere/ca.pem cannot be read: No such file or directory (os error 2)"
        );
        assert_eq!(
            refused(r#"{"address":"h"}"#),
            "`registries.main.address`: unknown key; allowed keys: endpoints, prefix, username, password, password_file, \
             tls, op_timeout, list_timeout, connect_timeout, keep_alive_interval, keep_alive_timeout, max_value_size"
        );
        let error = EtcdConfig::default().with_prefix("x").settings().unwrap_err().to_string();
        assert_eq!(error, "`prefix`: `x` does not start with a slash: write it as `/callsign/v1`");
    }

    #[test]
    fn a_table_reads_what_a_program_can_set() {
        let json = r#"{"endpoints":["a","b:1"],"username":"u","password":"00012345","op_timeout":"1s"}"#;
        let config: EtcdConfig = table(json).extract().unwrap();
        let expected = EtcdConfig::default()
            .with_endpoints(["a", "b:1"])
            .with_password("u", "00012345")
            .with_op_timeout(Duration::from_secs(1));
        assert_eq!(config, expected);
    }

    #[test]
    fn neither_debug_nor_errors_show_a_password() {
        let right = EtcdConfig::default().with_password("u", "hunter2");
        let misplaced = right.clone().with_endpoints(["http://u:hunter2@h:1", "u:hunter2@h"]);
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
