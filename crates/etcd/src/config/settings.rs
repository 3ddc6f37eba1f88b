//! A configuration that has been checked, before anything is connected.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use callsign_core::Result;
use callsign_core::config::{Broken, HttpAddress, Secret, Tls, TlsMaterial};

use super::EtcdConfig;
use super::endpoint::ADDRESSES;
use crate::codec::Keys;

const OP_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const LIST_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(600);
/// etcd's `--grpc-keepalive-min-time` is 5 s: it closes the connections of whoever pings more often. More than a
/// minute, and a member that hangs is noticed later than any ttl allows.
const KEEP_ALIVE_INTERVAL: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(60);
const KEEP_ALIVE_TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(500)..=Duration::from_secs(60);
/// Under etcd's limit of 1.5 MiB for a request.
const VALUE_SIZE: RangeInclusive<usize> = 1024..=1024 * 1024;

/// What a session needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    /// `http://host:port` or `https://host:port`: all the one or all the other, each once, at least one.
    pub(crate) endpoints: Vec<String>,
    pub(crate) keys: Keys,
    pub(crate) op_timeout: Duration,
    pub(crate) list_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) keep_alive_interval: Duration,
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) max_value_size: usize,
    /// There whenever the endpoints are encrypted.
    tls: Option<Tls>,
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
    pub(super) fn check(config: &EtcdConfig) -> Result<Self, Broken> {
        let addresses = addresses(config)?;
        let encrypted = addresses.first().is_some_and(|address| address.encrypted);
        check_prefix(&config.prefix)?;
        check_times(config)?;
        if !VALUE_SIZE.contains(&config.max_value_size) {
            let (min, max) = (VALUE_SIZE.start(), VALUE_SIZE.end());
            let rule = format!("{} bytes: {min} to {max} are allowed", config.max_value_size);
            return Err(Broken::new("max_value_size", rule));
        }
        let settings = Self {
            endpoints: addresses.iter().map(HttpAddress::url).collect(),
            keys: Keys::new(&config.prefix),
            op_timeout: config.op_timeout,
            list_timeout: config.list_timeout,
            connect_timeout: config.connect_timeout,
            keep_alive_interval: config.keep_alive_interval,
            keep_alive_timeout: config.keep_alive_timeout,
            max_value_size: config.max_value_size,
            tls: encrypted.then(|| config.tls.clone().unwrap_or_default()),
            user: user(config)?,
        };
        settings.tls().map_err(|error| Broken::unreadable("tls", &error))?;
        if let Some((_, password)) =
            settings.login().map_err(|error| Broken::unreadable("password_file", &error))?
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

    /// User and password, read anew. `None`: no login.
    ///
    /// # Errors
    /// `ConfigInvalid`: a file that cannot be read any more.
    pub(crate) fn login(&self) -> Result<Option<(&str, Secret)>> {
        self.user.as_ref().map(|(name, password)| Ok((name.as_str(), password.read()?))).transpose()
    }
}

fn addresses(config: &EtcdConfig) -> Result<Vec<HttpAddress>, Broken> {
    ADDRESSES.list(&config.endpoints, config.tls.is_some()).map_err(|rule| Broken::new("endpoints", rule))
}

fn check_prefix(prefix: &str) -> Result<(), Broken> {
    let rule = if !prefix.starts_with('/') {
        "does not start with a slash"
    } else if prefix.ends_with('/') {
        "ends with a slash, which is added where it is needed"
    } else if prefix.contains("//") {
        "has two slashes in a row"
    } else if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        "has characters other than letters, digits and signs of ASCII"
    } else {
        return Ok(());
    };
    let shown: String = prefix.chars().take(80).flat_map(char::escape_debug).collect();
    Err(Broken::new("prefix", format!("`{shown}` {rule}: write it as `/callsign/v1`")))
}

fn check_times(config: &EtcdConfig) -> Result<(), Broken> {
    for (key, value, allowed) in [
        ("op_timeout", config.op_timeout, OP_TIMEOUT),
        ("list_timeout", config.list_timeout, LIST_TIMEOUT),
        ("connect_timeout", config.connect_timeout, OP_TIMEOUT),
        ("keep_alive_interval", config.keep_alive_interval, KEEP_ALIVE_INTERVAL),
        ("keep_alive_timeout", config.keep_alive_timeout, KEEP_ALIVE_TIMEOUT),
    ] {
        if !allowed.contains(&value) {
            let text = |duration: Duration| humantime::format_duration(duration).to_string();
            let (min, max) = (text(*allowed.start()), text(*allowed.end()));
            let why = match key {
                "keep_alive_interval" if value < *allowed.start() => {
                    "; servers cut clients that ping more often"
                }
                _ => "",
            };
            return Err(Broken::new(key, format!("{}: {min} to {max} are allowed{why}", text(value))));
        }
    }
    if config.list_timeout < config.op_timeout {
        let rule = "a whole listing has less time than a single call: at least `op_timeout` is needed";
        return Err(Broken::new("list_timeout", rule));
    }
    Ok(())
}

fn user(config: &EtcdConfig) -> Result<Option<(String, Password)>, Broken> {
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
        (Some(name), Some((_, password))) => Ok(Some((name.clone(), password))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &EtcdConfig) -> Result<Settings, Broken> {
        Settings::check(config)
    }

    fn config() -> EtcdConfig {
        EtcdConfig::default()
    }

    /// `key: rule`.
    fn refused(config: &EtcdConfig) -> String {
        let Broken { key, rule } = check(config).unwrap_err();
        format!("{key}: {rule}")
    }

    /// A file with `content` that is there for as long as the test.
    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    fn tls(json: &str) -> Tls {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_defaults_are_allowed() {
        let settings = check(&config()).unwrap();
        assert_eq!(settings.endpoints, ["http://127.0.0.1:2379"]);
        assert!(settings.tls().unwrap().is_none() && settings.login().unwrap().is_none());
    }

    #[test]
    fn bare_endpoints_are_encrypted_where_there_is_a_tls_table() {
        let bare = config().with_endpoints(["h1", "[::1]:1"]);
        assert_eq!(check(&bare).unwrap().endpoints, ["http://h1:2379", "http://[::1]:1"]);
        let settings = check(&bare.with_tls(Tls::default())).unwrap();
        assert_eq!(settings.endpoints, ["https://h1:2379", "https://[::1]:1"]);
        assert!(settings.tls().unwrap().is_some());
    }

    #[test]
    fn encrypted_endpoints_without_a_tls_table_trust_the_systems_roots() {
        let settings = check(&config().with_endpoints(["https://h1"])).unwrap();
        let material = settings.tls().unwrap().unwrap();
        assert!(material.ca.is_none() && material.identity.is_none());
    }

    #[test]
    fn endpoints_are_of_one_kind_and_each_there_once() {
        for (endpoints, message) in [
            (&[][..], "endpoints: there is none: name at least one, such as `http://127.0.0.1:2379`"),
            (&["http://"], "endpoints: the endpoint `http://` has no host: write it as `http://host:port`"),
            (
                &["http://a", "https://b", "http://c"],
                "endpoints: `http://a:2379` and `https://b:2379`: either all are `http` or all are `https`",
            ),
            (&["a:2379", "http://A/"], "endpoints: the endpoint `http://a:2379` is there twice"),
        ] {
            assert_eq!(refused(&config().with_endpoints(endpoints.iter().copied())), message);
        }
        assert_eq!(
            refused(&config().with_tls(Tls::default())),
            "endpoints: the endpoint `http://127.0.0.1:2379` is not encrypted, and there is a `tls` table: write `https://`, or leave the table out"
        );
    }

    #[test]
    fn the_prefix_starts_with_a_slash_and_does_not_end_with_one() {
        for (prefix, rule) in [
            ("", "does not start with a slash"),
            ("callsign", "does not start with a slash"),
            ("/", "ends with a slash, which is added where it is needed"),
            ("/callsign/", "ends with a slash, which is added where it is needed"),
            ("/a//b", "has two slashes in a row"),
            ("/a b", "has characters other than letters, digits and signs of ASCII"),
            ("/颜色", "has characters other than letters, digits and signs of ASCII"),
        ] {
            let message = format!("prefix: `{prefix}` {rule}: write it as `/callsign/v1`");
            assert_eq!(refused(&config().with_prefix(prefix)), message);
        }
        assert!(check(&config().with_prefix("/team-a/callsign")).is_ok());
    }

    #[test]
    fn user_and_password_come_together_and_the_password_from_one_place() {
        let user = |username: Option<&str>, password: Option<&str>, file: Option<&str>| EtcdConfig {
            username: username.map(Into::into),
            password: password.map(Secret::new),
            password_file: file.map(Into::into),
            ..config()
        };
        for (config, message) in [
            (user(Some("u"), None, None), "username: there is no `password` and no `password_file`"),
            (user(None, Some("p"), None), "password: there is no `username` that it belongs to"),
            (user(None, None, Some("/f")), "password_file: there is no `username` that it belongs to"),
            (
                user(Some("u"), Some("p"), Some("/f")),
                "password_file: there is a `password`, too: one of them is enough",
            ),
            (user(Some(""), Some("p"), None), "username: the name is empty"),
            (user(Some("u"), Some(""), None), "password: the password is empty"),
            (
                user(Some("u"), None, Some("/nowhere/password")),
                "password_file: the file /nowhere/password cannot be read: No such file or directory (os error 2)",
            ),
        ] {
            assert_eq!(refused(&config), message);
        }
        let empty = file("\n");
        assert_eq!(
            refused(&config().with_password_file("u", empty.path())),
            "password_file: the password is empty"
        );
    }

    #[test]
    fn a_password_that_was_replaced_in_its_file_is_used_for_the_next_login() {
        let file = file("old\n");
        let settings = check(&config().with_password_file("u", file.path())).unwrap();
        let password = || settings.login().unwrap().unwrap().1.expose().to_owned();
        assert_eq!(password(), "old");
        std::fs::write(file.path(), "new\n").unwrap();
        assert_eq!(password(), "new");
        std::fs::remove_file(file.path()).unwrap();
        assert!(settings.login().unwrap_err().is_misconfiguration());
    }

    #[test]
    fn a_certificate_that_was_replaced_in_its_file_is_used_for_the_next_connection() {
        let file = file("-----BEGIN CERTIFICATE-----old");
        let json = serde_json::json!({"ca_file": file.path()}).to_string();
        let settings = check(&config().with_endpoints(["h"]).with_tls(tls(&json))).unwrap();
        std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----new").unwrap();
        assert!(settings.tls().unwrap().unwrap().ca.unwrap().ends_with(b"new"));
    }

    #[test]
    fn half_an_identity_and_a_missing_file_are_refused_under_their_keys() {
        let config = config().with_endpoints(["h"]);
        assert_eq!(
            refused(&config.clone().with_tls(tls(r#"{"cert_file": "/c.pem"}"#))),
            "tls: `tls.cert_file` is set and `tls.key_file` is not: set both"
        );
        assert_eq!(
            refused(&config.with_tls(tls(r#"{"ca_file": "/nowhere/ca.pem"}"#))),
            "tls.ca_file: the file /nowhere/ca.pem cannot be read: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn times_and_sizes_are_bounded() {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        for (config, message) in [
            (config().with_op_timeout(ms(99)), "op_timeout: 99ms: 100ms to 1m are allowed"),
            (config().with_op_timeout(s(61)), "op_timeout: 1m 1s: 100ms to 1m are allowed"),
            (config().with_list_timeout(s(601)), "list_timeout: 10m 1s: 100ms to 10m are allowed"),
            (
                config().with_list_timeout(s(2)),
                "list_timeout: a whole listing has less time than a single call: at least `op_timeout` is needed",
            ),
            (config().with_connect_timeout(s(0)), "connect_timeout: 0s: 100ms to 1m are allowed"),
            (
                config().with_keep_alive(ms(4_999), s(3)),
                "keep_alive_interval: 4s 999ms: 5s to 1m are allowed; servers cut clients that ping more often",
            ),
            (config().with_keep_alive(s(61), s(3)), "keep_alive_interval: 1m 1s: 5s to 1m are allowed"),
            (config().with_keep_alive(s(6), ms(1)), "keep_alive_timeout: 1ms: 500ms to 1m are allowed"),
            (config().with_max_value_size(1023), "max_value_size: 1023 bytes: 1024 to 1048576 are allowed"),
            (
                config().with_max_value_size(1_048_577),
                "max_value_size: 1048577 bytes: 1024 to 1048576 are allowed",
            ),
        ] {
            assert_eq!(refused(&config), message);
        }
        assert!(check(&config().with_keep_alive(s(5), ms(500)).with_op_timeout(s(30))).is_ok());
    }
}
