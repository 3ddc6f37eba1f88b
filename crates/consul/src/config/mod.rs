//! The registry type `consul` in a configuration.

mod address;
mod settings;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use callsign_core::Result;
use callsign_core::config::{HttpAddress, Secret, Table, Tls, duration};
use serde::{Deserialize, Serialize};

pub(crate) use settings::{Settings, Tenancy};
pub(crate) use url::table_of;

/// The keys of a table of type `consul`, with their defaults.
///
/// ```
/// use callsign_consul::ConsulConfig;
///
/// let config = ConsulConfig::default().with_address("http://10.0.0.1:8500").with_datacenter("eu");
/// assert_eq!(config.addresses, ["http://10.0.0.1:8500"]);
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ConsulConfig {
    /// The one agent to talk to; the same as `addresses` with one entry.
    pub address: Option<String>,
    /// The agents: `http://host:port`, `https://host:port`, or `host:port`, which is `https` where there is a `tls`
    /// table. The port is 8500 unless told. The first that answers is used; a registration stays with the agent that
    /// took it, so a load balancer is no address. `["http://127.0.0.1:8500"]`.
    pub addresses: Vec<String>,
    /// The ACL token.
    pub token: Option<Secret>,
    /// A file with the ACL token, read again when the agent refuses the one that was read before.
    pub token_file: Option<PathBuf>,
    /// The datacenter that is listed and watched. None: that of the agent. Registrations are always in the agent's own.
    pub datacenter: Option<String>,
    /// How namespaces are told apart.
    pub tenancy: TenancyKind,
    /// Consul Enterprise's admin partition; needs `tenancy = "enterprise"`.
    pub partition: Option<String>,
    /// What to trust, and what to show to agents that ask for a certificate. Without it, `https` trusts the system's
    /// roots.
    pub tls: Option<Tls>,
    /// The checks that come with a registration.
    pub check: CheckConfig,
    /// How services are followed.
    pub watch: WatchConfig,
    /// How long one call may take: 1 s to 60 s. 10 s: an agent without a leader holds a call for up to 7.5 s.
    #[serde(with = "duration")]
    pub request_timeout: Duration,
    /// How long a connection may take to be made: 100 ms to 60 s. 2 s.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// How long a registration waits until the servers have it before it is handed over as not committed: 100 ms to
    /// 60 s. 5 s.
    #[serde(with = "duration")]
    pub confirm_timeout: Duration,
}

/// How namespaces are told apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TenancyKind {
    /// By the service's name: `orders` in the namespace `default`, `shop--orders` in `shop`.
    #[default]
    Prefix,
    /// By the namespaces of Consul Enterprise.
    Enterprise,
}

/// The checks that come with a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct CheckConfig {
    /// What the agent checks beside the ttl.
    pub kind: CheckKind,
    /// The path that is asked, where `kind` is `http`. `/health`.
    pub path: String,
    /// How often the agent checks: 1 s to 1 h. 10 s.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// How long an answer may take: 100 ms to 1 min. 5 s.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// How long an instance may be critical before Consul removes it: 1 min to 7 days, as Consul itself takes no less.
    /// 5 min.
    #[serde(with = "duration")]
    pub deregister_after: Duration,
}

/// What the agent checks beside the ttl.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckKind {
    /// Nothing.
    #[default]
    Ttl,
    /// A path of the first endpoint that speaks `http`.
    Http,
    /// Whether the first endpoint takes connections.
    Tcp,
    /// The health service of the first endpoint that speaks `grpc`.
    Grpc,
}

/// How services are followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WatchConfig {
    /// How long a query may wait for a change: 1 s to 9 s. 9 s: a quiet watch owes a sign of life every 10 s.
    #[serde(with = "duration")]
    pub wait: Duration,
    /// Whether any server may answer, also one that is behind; who seems to be missing is asked for at the leader
    /// before it counts. `true`.
    pub stale: bool,
    /// How far behind the leader a server may be before its answer counts as stale: 1 s to 5 min. 10 s.
    #[serde(with = "duration")]
    pub max_stale: Duration,
    /// How many queries may wait at a time: 1 to 10 000. 100: an agent takes 200 connections of one host unless it is
    /// told otherwise (`limits.http_max_conns_per_client`), and renewals need some, too.
    pub max_blocked: usize,
}

impl Default for ConsulConfig {
    fn default() -> Self {
        Self {
            address: None,
            addresses: vec!["http://127.0.0.1:8500".to_owned()],
            token: None,
            token_file: None,
            datacenter: None,
            tenancy: TenancyKind::default(),
            partition: None,
            tls: None,
            check: CheckConfig::default(),
            watch: WatchConfig::default(),
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
            confirm_timeout: Duration::from_secs(5),
        }
    }
}

impl Default for CheckConfig {
    fn default() -> Self {
        Self {
            kind: CheckKind::default(),
            path: "/health".to_owned(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            deregister_after: Duration::from_secs(300),
        }
    }
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(9),
            stale: true,
            max_stale: Duration::from_secs(10),
            max_blocked: 100,
        }
    }
}

impl ConsulConfig {
    /// Sets the one agent to talk to.
    #[must_use]
    pub fn with_address(self, address: impl Into<String>) -> Self {
        self.with_addresses([address])
    }

    /// Replaces the agents.
    #[must_use]
    pub fn with_addresses(mut self, addresses: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.address = None;
        self.addresses = addresses.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the ACL token.
    #[must_use]
    pub fn with_token(mut self, token: impl Into<Box<str>>) -> Self {
        self.token = Some(Secret::new(token));
        self
    }

    /// Sets the file with the ACL token.
    #[must_use]
    pub fn with_token_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.token_file = Some(file.into());
        self
    }

    /// Sets the datacenter that is listed and watched.
    #[must_use]
    pub fn with_datacenter(mut self, datacenter: impl Into<String>) -> Self {
        self.datacenter = Some(datacenter.into());
        self
    }

    /// Has Consul Enterprise's namespaces keep namespaces apart, in `partition` where there is one.
    #[must_use]
    pub fn with_enterprise(mut self, partition: Option<String>) -> Self {
        self.tenancy = TenancyKind::Enterprise;
        self.partition = partition;
        self
    }

    /// Sets what to trust, and what to show.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets the checks that come with a registration.
    #[must_use]
    pub fn with_check(mut self, check: CheckConfig) -> Self {
        self.check = check;
        self
    }

    /// Sets how services are followed.
    #[must_use]
    pub fn with_watch(mut self, watch: WatchConfig) -> Self {
        self.watch = watch;
        self
    }

    /// Sets how long one call may take.
    #[must_use]
    pub fn with_request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets how long a connection may take to be made.
    #[must_use]
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Sets how long a registration waits until the servers have it.
    #[must_use]
    pub fn with_confirm_timeout(mut self, timeout: Duration) -> Self {
        self.confirm_timeout = timeout;
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

impl CheckConfig {
    /// What the agent checks beside the ttl.
    #[must_use]
    pub fn with_kind(mut self, kind: CheckKind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the path that is asked, where `kind` is `http`.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets how often the agent checks, and how long an answer may take.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration, timeout: Duration) -> Self {
        self.interval = interval;
        self.timeout = timeout;
        self
    }

    /// Sets how long an instance may be critical before Consul removes it.
    #[must_use]
    pub fn with_deregister_after(mut self, after: Duration) -> Self {
        self.deregister_after = after;
        self
    }
}

impl WatchConfig {
    /// Sets how long a query may wait for a change.
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Sets whether any server may answer.
    #[must_use]
    pub fn with_stale(mut self, stale: bool) -> Self {
        self.stale = stale;
        self
    }

    /// Sets how many queries may wait at a time.
    #[must_use]
    pub fn with_max_blocked(mut self, queries: usize) -> Self {
        self.max_blocked = queries;
        self
    }
}

/// The checked form of a table, with errors that name the file, too.
pub(crate) fn settings_of(table: &Table) -> Result<Settings> {
    let config: ConsulConfig = table.extract()?;
    Settings::check(&config).map_err(|broken| table.error(&broken.key, broken.rule))
}

impl fmt::Debug for ConsulConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand for the addresses: nothing was checked yet, and one may hold a token where none belongs.
        let shown = |text: &String| HttpAddress::shown(text);
        f.debug_struct("ConsulConfig")
            .field("address", &self.address.as_ref().map(shown))
            .field("addresses", &self.addresses.iter().map(shown).collect::<Vec<_>>())
            .field("token", &self.token)
            .field("token_file", &self.token_file)
            .field("datacenter", &self.datacenter)
            .field("tenancy", &self.tenancy)
            .field("partition", &self.partition)
            .field("tls", &self.tls)
            .field("check", &self.check)
            .field("watch", &self.watch)
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("confirm_timeout", &self.confirm_timeout)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(json: &str) -> Table {
        Table::from_dict("main", "consul", serde_json::from_str(json).unwrap())
    }

    #[test]
    fn an_error_names_the_key_with_its_table() {
        let refused = |json| settings_of(&table(json)).unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"address":"http://h/x"}"#),
            "`registries.main.address`: the address `http://h/x` has a path, a query or a fragment: only `http://host:port` is allowed"
        );
        assert_eq!(
            refused(r#"{"check":{"deregister_after":"30s"}}"#),
            "`registries.main.check.deregister_after`: 30s: 1m to 7days are allowed; Consul itself takes no less than a minute"
        );
        assert_eq!(
            refused(r#"{"endpoints":["h"]}"#),
            "`registries.main.endpoints`: unknown key; allowed keys: address, addresses, token, token_file, datacenter, \
             tenancy, partition, tls, check, watch, request_timeout, connect_timeout, confirm_timeout"
        );
        assert_eq!(
            refused(r#"{"tenancy":"auto"}"#),
            "`registries.main.tenancy`: `auto` is unknown; allowed values: prefix, enterprise"
        );
    }

    #[test]
    fn a_table_reads_what_a_program_can_set() {
        let json = r#"{"addresses":["a","b:1"],"token":"00012345","check":{"kind":"tcp","interval":"3s","timeout":"1s"},
            "watch":{"stale":false}}"#;
        let config: ConsulConfig = table(json).extract().unwrap();
        let seconds = Duration::from_secs;
        let expected = ConsulConfig::default()
            .with_addresses(["a", "b:1"])
            .with_token("00012345")
            .with_check(
                CheckConfig::default().with_kind(CheckKind::Tcp).with_interval(seconds(3), seconds(1)),
            )
            .with_watch(WatchConfig::default().with_stale(false));
        assert_eq!(config, expected);
    }

    #[test]
    fn the_readme_has_every_key_with_its_default() {
        let readme = include_str!("../../README.md");
        let rows: Vec<&str> = readme.lines().filter(|line| line.starts_with("| `")).collect();
        let settings = serde_json::to_value(ConsulConfig::default()).unwrap();
        let mut keys = 0;
        for (name, value) in settings.as_object().unwrap() {
            let inner = value.as_object().into_iter().flatten();
            let mut all: Vec<_> = inner.map(|(key, value)| (format!("{name}.{key}"), value)).collect();
            if all.is_empty() {
                all.push((name.clone(), value));
            }
            for (key, value) in all {
                let row = rows.iter().find(|row| row.contains(&format!("`{key}`")));
                let row = row.unwrap_or_else(|| panic!("`{key}` has no row"));
                let default = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let is_one = !value.is_null() && !value.is_array();
                assert!(!is_one || row.contains(&format!("`{default}`")), "`{key}` is `{default}`: {row}");
                keys += 1;
            }
        }
        assert_eq!(keys, 20);
    }

    #[test]
    fn neither_debug_nor_errors_show_a_token() {
        let right = ConsulConfig::default().with_token("hunter2");
        let misplaced = right.clone().with_addresses(["http://x:hunter2@h:1"]);
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
