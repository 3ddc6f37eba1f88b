//! The registry type `zookeeper` in a configuration.

mod server;
mod settings;
mod url;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use callsign_core::Result;
use callsign_core::config::{Secret, Table, Tls, duration};
use serde::{Deserialize, Serialize};

pub(crate) use server::Server;
pub(crate) use settings::Settings;
pub(crate) use url::table_of;

/// The keys of a table of type `zookeeper`, with their defaults.
///
/// ```
/// use callsign_zookeeper::{Acl, ZooKeeperConfig};
///
/// let config = ZooKeeperConfig::default()
///     .with_servers(["10.0.0.1:2181", "10.0.0.2:2181"])
///     .with_password("callsign", "from somewhere safe")
///     .with_acl(Acl::Creator);
/// assert_eq!(config.root, "/callsign/v1");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ZooKeeperConfig {
    /// The servers of the ensemble, or some of them: `host:port`, or `host`. The port is 2181 unless told.
    /// `["127.0.0.1:2181"]`.
    pub servers: Vec<String>,
    /// A node that all paths are below, `root` included. It has to be there. None: the whole tree.
    pub chroot: Option<String>,
    /// The node that all records are below: starts with a slash and does not end with one. `/callsign/v1`.
    pub root: String,
    /// How `username` and `password` are shown to the servers. `digest`.
    pub login: Login,
    /// The user. None: no login.
    pub username: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// A file with the user's password, read again for each new session.
    pub password_file: Option<PathBuf>,
    /// Who may do what with the nodes that are made. `open`.
    pub acl: Acl,
    /// What to trust, and what to show to servers that ask for a certificate. `ca_file` is needed: ZooKeeper's
    /// certificates come from an authority of one's own. Its files are read again for each new session.
    pub tls: Option<Tls>,
    /// How long the servers keep the records of a process that has died: 1 s to 10 min, as far as they grant it. 15 s.
    #[serde(with = "duration")]
    pub session_timeout: Duration,
    /// How long a server may be silent before another one is tried: 200 ms to three fifths of `session_timeout`. 4 s.
    #[serde(with = "duration")]
    pub connection_timeout: Duration,
    /// How long one call may take once it is sent: 100 ms to 60 s. 3 s.
    #[serde(with = "duration")]
    pub op_timeout: Duration,
    /// How long a whole listing may take, and a write may wait for its turn behind others: `op_timeout` to 10 min. 30 s.
    #[serde(with = "duration")]
    pub list_timeout: Duration,
    /// Whether services are read from a server that has lost its quorum, as `Stale`. `true`.
    pub read_only: bool,
    /// The largest record that is written, in bytes: 1 KiB to 512 KiB. 64 KiB. Servers drop the connection of whoever
    /// sends more than 1 MiB.
    pub max_value_size: usize,
}

/// How a user logs in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Login {
    /// ZooKeeper's scheme `digest`: servers know nobody, a wrong password makes another identity.
    #[default]
    Digest,
    /// SASL with DIGEST-MD5: servers know their users.
    Sasl,
}

/// Who may do what with the nodes that are made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Acl {
    /// Everybody everything.
    #[default]
    Open,
    /// Whoever has the identity of who made them everything, nobody else anything.
    Creator,
    /// Whoever has the identity of who made them everything, everybody else may read.
    CreatorAndRead,
}

impl Default for ZooKeeperConfig {
    fn default() -> Self {
        Self {
            servers: vec!["127.0.0.1:2181".to_owned()],
            chroot: None,
            root: "/callsign/v1".to_owned(),
            login: Login::Digest,
            username: None,
            password: None,
            password_file: None,
            acl: Acl::Open,
            tls: None,
            session_timeout: Duration::from_secs(15),
            connection_timeout: Duration::from_secs(4),
            op_timeout: Duration::from_secs(3),
            list_timeout: Duration::from_secs(30),
            read_only: true,
            max_value_size: 64 * 1024,
        }
    }
}

impl ZooKeeperConfig {
    /// Replaces the servers.
    #[must_use]
    pub fn with_servers(mut self, servers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.servers = servers.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the node that all paths are below.
    #[must_use]
    pub fn with_chroot(mut self, chroot: impl Into<String>) -> Self {
        self.chroot = Some(chroot.into());
        self
    }

    /// Sets the node that all records are below.
    #[must_use]
    pub fn with_root(mut self, root: impl Into<String>) -> Self {
        self.root = root.into();
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

    /// Sets how the user logs in.
    #[must_use]
    pub fn with_login(mut self, login: Login) -> Self {
        self.login = login;
        self
    }

    /// Sets who may do what with the nodes that are made.
    #[must_use]
    pub fn with_acl(mut self, acl: Acl) -> Self {
        self.acl = acl;
        self
    }

    /// Sets what to trust, and what to show.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Sets how long the servers keep the records of a process that has died, and how long one of them may be silent.
    #[must_use]
    pub fn with_session_timeout(mut self, session: Duration, connection: Duration) -> Self {
        self.session_timeout = session;
        self.connection_timeout = connection;
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

    /// Sets whether services are read from a server that has lost its quorum.
    #[must_use]
    pub fn with_read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
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
    let config: ZooKeeperConfig = table.extract()?;
    Settings::check(&config).map_err(|broken| table.error(&broken.key, broken.rule))
}

impl fmt::Debug for ZooKeeperConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // By hand for the servers: nothing was checked yet, and one may hold a password where none belongs.
        let servers: Vec<_> = self.servers.iter().map(|text| server::shown(text)).collect();
        f.debug_struct("ZooKeeperConfig")
            .field("servers", &servers)
            .field("chroot", &self.chroot)
            .field("root", &self.root)
            .field("login", &self.login)
            .field("username", &self.username)
            .field("password", &self.password)
            .field("password_file", &self.password_file)
            .field("acl", &self.acl)
            .field("tls", &self.tls)
            .field("session_timeout", &self.session_timeout)
            .field("connection_timeout", &self.connection_timeout)
            .field("op_timeout", &self.op_timeout)
            .field("list_timeout", &self.list_timeout)
            .field("read_only", &self.read_only)
            .field("max_value_size", &self.max_value_size)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(json: &str) -> Table {
        Table::from_dict("main", "zookeeper", serde_json::from_str(json).unwrap())
    }

    #[test]
    fn an_error_names_the_key_with_its_table() {
        let refused = |json| settings_of(&table(json)).unwrap_err().to_string();
        assert_eq!(
            refused(r#"{"root":"callsign"}"#),
            "`registries.main.root`: `callsign` does not start with a slash: write it as `/callsign/v1`"
        );
        assert_eq!(
            refused(r#"{"tls":{"ca_file":"/nowhere/ca.pem"}}"#),
            "`registries.main.tls.ca_file`: the file /nowhere/ca.pem cannot be read: No such file or directory (os error 2)"
        );
        assert_eq!(
            refused(r#"{"endpoints":"h"}"#),
            "`registries.main.endpoints`: unknown key; allowed keys: servers, chroot, root, login, username, password, \
             password_file, acl, tls, session_timeout, connection_timeout, op_timeout, list_timeout, read_only, \
             max_value_size"
        );
        assert_eq!(
            refused(r#"{"acl":"all"}"#),
            "`registries.main.acl`: `all` is unknown; allowed values: open, creator, creator_and_read"
        );
        let error = ZooKeeperConfig::default().with_root("x").settings().unwrap_err().to_string();
        assert_eq!(error, "`root`: `x` does not start with a slash: write it as `/callsign/v1`");
    }

    #[test]
    fn a_table_reads_what_a_program_can_set() {
        let json = r#"{"servers":["a","b:1"],"username":"u","password":"00012345","login":"sasl","acl":"creator_and_read",
            "session_timeout":"20s","connection_timeout":"5s"}"#;
        let config: ZooKeeperConfig = table(json).extract().unwrap();
        let expected = ZooKeeperConfig::default()
            .with_servers(["a", "b:1"])
            .with_password("u", "00012345")
            .with_login(Login::Sasl)
            .with_acl(Acl::CreatorAndRead)
            .with_session_timeout(Duration::from_secs(20), Duration::from_secs(5));
        assert_eq!(config, expected);
    }

    #[test]
    fn neither_debug_nor_errors_show_a_password() {
        let right = ZooKeeperConfig::default().with_password("u", "hunter2");
        let misplaced = right.clone().with_servers(["u:hunter2@h:1", "zookeeper://u:hunter2@h"]);
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
