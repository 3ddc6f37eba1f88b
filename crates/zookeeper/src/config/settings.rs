//! A configuration that has been checked, before anything is connected.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use callsign_core::Result;
use callsign_core::config::{Broken, Secret, Tls, TlsMaterial};
use tokio_rustls::rustls::pki_types::ServerName;

use super::{Acl, Login, Server, ZooKeeperConfig};
use crate::codec::Paths;

const OP_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const LIST_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
const SESSION_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(600);
const SHORTEST_CONNECTION_TIMEOUT: Duration = Duration::from_millis(200);
/// Under ZooKeeper's limit of 1 MiB for a request (`jute.maxbuffer`), beyond which a server drops the connection, and
/// with it every watch.
const VALUE_SIZE: RangeInclusive<usize> = 1024..=512 * 1024;

/// What a session needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Each once, at least one.
    pub(crate) servers: Vec<Server>,
    /// Starts with a slash and does not end with one; empty for the whole tree.
    pub(crate) chroot: String,
    pub(crate) paths: Paths,
    pub(crate) acl: Acl,
    pub(crate) session_timeout: Duration,
    pub(crate) connection_timeout: Duration,
    pub(crate) op_timeout: Duration,
    pub(crate) list_timeout: Duration,
    pub(crate) read_only: bool,
    pub(crate) max_value_size: usize,
    tls: Option<Tls>,
    login: Login,
    user: Option<(String, Password)>,
}

#[derive(Debug)]
enum Password {
    Given(Secret),
    File(PathBuf),
}

impl Password {
    fn read(&self) -> Result<Secret> {
        match self {
            Self::Given(password) => Ok(password.clone()),
            Self::File(path) => Secret::from_file("password_file", path),
        }
    }
}

impl Settings {
    /// Checks a configuration. Reads the files it names, so that a typing error shows at once.
    pub(super) fn check(config: &ZooKeeperConfig) -> Result<Self, Broken> {
        check_path("root", &config.root)?;
        if let Some(chroot) = &config.chroot {
            check_path("chroot", chroot)?;
        }
        check_times(config)?;
        if !VALUE_SIZE.contains(&config.max_value_size) {
            let (min, max) = (VALUE_SIZE.start(), VALUE_SIZE.end());
            let rule = format!("{} bytes: {min} to {max} are allowed", config.max_value_size);
            return Err(Broken::new("max_value_size", rule));
        }
        let servers = servers(config)?;
        check_tls(config, &servers)?;
        let settings = Self {
            servers,
            chroot: config.chroot.clone().unwrap_or_default(),
            paths: Paths::new(&config.root),
            acl: config.acl,
            session_timeout: config.session_timeout,
            connection_timeout: config.connection_timeout,
            op_timeout: config.op_timeout,
            list_timeout: config.list_timeout,
            read_only: config.read_only,
            max_value_size: config.max_value_size,
            tls: config.tls.clone(),
            login: config.login,
            user: user(config)?,
        };
        settings.tls().map_err(|error| Broken::unreadable("tls", &error))?;
        if let Some((_, password)) =
            settings.user().map_err(|error| Broken::unreadable("password_file", &error))?
            && password.expose().is_empty()
        {
            let key = if config.password.is_some() { "password" } else { "password_file" };
            return Err(Broken::new(key, "the password is empty"));
        }
        Ok(settings)
    }

    /// What to trust and what to show, read anew: certificates are replaced while a program runs. `None`: not
    /// encrypted.
    ///
    /// # Errors
    /// `ConfigInvalid`: a file that cannot be read any more.
    pub(crate) fn tls(&self) -> Result<Option<TlsMaterial>> {
        self.tls.as_ref().map(Tls::load).transpose()
    }

    pub(crate) fn login(&self) -> Login {
        self.login
    }

    /// User and password, read anew. `None`: no login.
    ///
    /// # Errors
    /// `ConfigInvalid`: a file that cannot be read any more.
    pub(crate) fn user(&self) -> Result<Option<(&str, Secret)>> {
        self.user.as_ref().map(|(name, password)| Ok((name.as_str(), password.read()?))).transpose()
    }
}

fn servers(config: &ZooKeeperConfig) -> Result<Vec<Server>, Broken> {
    let mut servers: Vec<Server> = Vec::with_capacity(config.servers.len());
    for text in &config.servers {
        let server = Server::parse(text).map_err(|rule| Broken::new("servers", rule))?;
        if servers.contains(&server) {
            return Err(Broken::new("servers", format!("the server `{server}` is there twice")));
        }
        servers.push(server);
    }
    if servers.is_empty() {
        return Err(Broken::new("servers", "there is none: name at least one, such as `127.0.0.1:2181`"));
    }
    Ok(servers)
}

fn check_path(key: &str, path: &str) -> Result<(), Broken> {
    let mut elements = path.split('/').skip(1);
    let rule = if !path.starts_with('/') {
        "does not start with a slash"
    } else if path.ends_with('/') {
        "ends with a slash, which is added where it is needed"
    } else if path.contains("//") {
        "has two slashes in a row"
    } else if elements.any(|element| element == "." || element == "..") {
        "has a `.` or a `..` in it, which ZooKeeper refuses"
    } else if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        "has characters other than letters, digits and signs of ASCII"
    } else {
        return Ok(());
    };
    let shown: String = path.chars().take(80).flat_map(char::escape_debug).collect();
    Err(Broken::new(key, format!("`{shown}` {rule}: write it as `/callsign/v1`")))
}

fn check_times(config: &ZooKeeperConfig) -> Result<(), Broken> {
    // The client library goes its own way where a connection is given more.
    let longest = (config.session_timeout / 5).saturating_mul(3).max(SHORTEST_CONNECTION_TIMEOUT);
    for (key, value, allowed, why) in [
        ("session_timeout", config.session_timeout, SESSION_TIMEOUT, ""),
        (
            "connection_timeout",
            config.connection_timeout,
            SHORTEST_CONNECTION_TIMEOUT..=longest,
            "; three fifths of `session_timeout` leave time for another server",
        ),
        ("op_timeout", config.op_timeout, OP_TIMEOUT, ""),
        ("list_timeout", config.list_timeout, LIST_TIMEOUT, ""),
    ] {
        if !allowed.contains(&value) {
            let text = |duration: Duration| humantime::format_duration(duration).to_string();
            let (min, max) = (text(*allowed.start()), text(*allowed.end()));
            return Err(Broken::new(key, format!("{}: {min} to {max} are allowed{why}", text(value))));
        }
    }
    if config.list_timeout < config.op_timeout {
        let rule = "a whole listing has less time than a single call: at least `op_timeout` is needed";
        return Err(Broken::new("list_timeout", rule));
    }
    Ok(())
}

fn check_tls(config: &ZooKeeperConfig, servers: &[Server]) -> Result<(), Broken> {
    let Some(tls) = &config.tls else { return Ok(()) };
    if tls.ca_file.is_none() {
        return Err(Broken::new("tls.ca_file", "missing: name whoever has signed the servers' certificates"));
    }
    if tls.server_name.is_some() {
        let rule = "the client library knows no other name than the host of the address: leave it out, and name the \
                    servers as their certificates do";
        return Err(Broken::new("tls.server_name", rule));
    }
    // The client library takes it for granted.
    match servers.iter().find(|server| ServerName::try_from(server.host.as_str()).is_err()) {
        Some(server) => {
            Err(Broken::new("servers", format!("no certificate can be for the host of `{server}`")))
        }
        None => Ok(()),
    }
}

fn user(config: &ZooKeeperConfig) -> Result<Option<(String, Password)>, Broken> {
    let password = match (&config.password, &config.password_file) {
        (Some(_), Some(_)) => {
            return Err(Broken::new("password_file", "there is a `password`, too: one of them is enough"));
        }
        (Some(password), None) => Some(("password", Password::Given(password.clone()))),
        (None, Some(file)) => Some(("password_file", Password::File(file.clone()))),
        (None, None) => None,
    };
    match (&config.username, password) {
        (None, None) => Ok(None),
        (None, Some((key, _))) => Err(Broken::new(key, "there is no `username` that it belongs to")),
        (Some(_), None) => Err(Broken::new("username", "there is no `password` and no `password_file`")),
        (Some(name), Some(_)) if name.is_empty() => Err(Broken::new("username", "the name is empty")),
        // `digest` hands both over as one text.
        (Some(name), Some(_)) if config.login == Login::Digest && name.contains(':') => {
            Err(Broken::new("username", "the name has a colon, which ends it: choose another one"))
        }
        (Some(name), Some((_, password))) => Ok(Some((name.clone(), password))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(config: &ZooKeeperConfig) -> String {
        let Broken { key, rule } = Settings::check(config).unwrap_err();
        format!("{key}: {rule}")
    }

    fn config() -> ZooKeeperConfig {
        ZooKeeperConfig::default()
    }

    #[test]
    fn the_defaults_are_right() {
        let settings = Settings::check(&config()).unwrap();
        assert_eq!(settings.servers[0].to_string(), "127.0.0.1:2181");
        assert!(settings.tls().unwrap().is_none() && settings.user().unwrap().is_none());
    }

    #[test]
    fn servers_and_paths_are_checked() {
        let none: [&str; 0] = [];
        for (config, message) in [
            (
                config().with_servers(none),
                "servers: there is none: name at least one, such as `127.0.0.1:2181`",
            ),
            (config().with_servers(["h", "H:2181"]), "servers: the server `h:2181` is there twice"),
            (
                config().with_root("/"),
                "root: `/` ends with a slash, which is added where it is needed: write it as `/callsign/v1`",
            ),
            (
                config().with_root("/a//b"),
                "root: `/a//b` has two slashes in a row: write it as `/callsign/v1`",
            ),
            (
                config().with_root("/a/../b"),
                "root: `/a/../b` has a `.` or a `..` in it, which ZooKeeper refuses: write it as `/callsign/v1`",
            ),
            (
                config().with_chroot("team"),
                "chroot: `team` does not start with a slash: write it as `/callsign/v1`",
            ),
        ] {
            assert_eq!(refused(&config), message);
        }
    }

    #[test]
    fn half_a_login_is_refused() {
        let user = |name: &str| {
            let mut config = config();
            config.username = Some(name.to_owned());
            config
        };
        assert_eq!(refused(&user("u")), "username: there is no `password` and no `password_file`");
        let mut nobody = config().with_password("u", "p");
        nobody.username = None;
        assert_eq!(refused(&nobody), "password: there is no `username` that it belongs to");
        assert_eq!(refused(&config().with_password("u", "")), "password: the password is empty");
        assert_eq!(refused(&config().with_password("", "p")), "username: the name is empty");
        let colon = config().with_password("a:b", "p");
        assert_eq!(refused(&colon), "username: the name has a colon, which ends it: choose another one");
        assert!(Settings::check(&colon.with_login(Login::Sasl)).is_ok());
        let twice = config().with_password("u", "p").with_password_file("u", "/x");
        assert_eq!(refused(&twice), "password_file: there is a `password`, too: one of them is enough");
        let missing = config().with_password_file("u", "/nowhere/password");
        assert!(refused(&missing).starts_with("password_file: the file /nowhere/password cannot be read: "));
    }

    #[test]
    fn tls_needs_an_authority_and_knows_no_other_name() {
        let mut tls = Tls::default();
        assert_eq!(
            refused(&config().with_tls(tls.clone())),
            "tls.ca_file: missing: name whoever has signed the servers' certificates"
        );
        tls.ca_file = Some("/nowhere/ca.pem".into());
        tls.server_name = Some("zoo".to_owned());
        assert!(refused(&config().with_tls(tls.clone())).starts_with("tls.server_name: the client library"));
        tls.server_name = None;
        assert_eq!(
            refused(&config().with_servers(["zoo.1"]).with_tls(tls)),
            "servers: no certificate can be for the host of `zoo.1:2181`"
        );
    }

    #[test]
    fn times_and_sizes_are_checked() {
        let (s, ms) = (Duration::from_secs, Duration::from_millis);
        for (config, message) in [
            (config().with_session_timeout(ms(999), s(1)), "session_timeout: 999ms: 1s to 10m are allowed"),
            (config().with_session_timeout(s(601), s(1)), "session_timeout: 10m 1s: 1s to 10m are allowed"),
            (
                config().with_session_timeout(s(5), s(4)),
                "connection_timeout: 4s: 200ms to 3s are allowed; three fifths of `session_timeout` leave time for \
                 another server",
            ),
            (config().with_op_timeout(ms(1)), "op_timeout: 1ms: 100ms to 1m are allowed"),
            (config().with_list_timeout(s(601)), "list_timeout: 10m 1s: 100ms to 10m are allowed"),
            (
                config().with_list_timeout(s(2)),
                "list_timeout: a whole listing has less time than a single call: at least `op_timeout` is needed",
            ),
            (config().with_max_value_size(1023), "max_value_size: 1023 bytes: 1024 to 524288 are allowed"),
        ] {
            assert_eq!(refused(&config), message);
        }
    }
}
