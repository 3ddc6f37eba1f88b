//! A configuration that has been checked, before anything is connected.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use callsign_core::Result;
use callsign_core::config::{Broken, HttpAddress, HttpAddresses, Secret, Tls, TlsMaterial};

use super::{Flavour, NacosConfig};

/// How servers are written; 8848 is Nacos' own port for HTTP.
const ADDRESSES: HttpAddresses = HttpAddresses {
    noun: "address",
    port: 8848,
    no_user: "write user and password as `username` and `password`",
    no_list: "names several servers: write a list in `addresses`",
};
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const RECONCILE: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(3600);
const OFFSET: RangeInclusive<u16> = 1..=60_000;

/// What a session needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    /// All encrypted or none, each once, at least one.
    pub(crate) servers: Vec<Server>,
    pub(crate) context_path: String,
    pub(crate) flavour: Flavour,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) reconcile_interval: Duration,
    /// There whenever the addresses are encrypted.
    tls: Option<Tls>,
    user: Option<(String, Password)>,
}

/// One server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// Where it serves HTTP.
    pub(crate) http: HttpAddress,
    /// Where it serves gRPC.
    pub(crate) grpc: HttpAddress,
}

#[derive(Debug)]
enum Password {
    Given(Secret),
    File(PathBuf),
}

impl Settings {
    /// Checks a configuration. Reads the files it names, so that a typing error shows at once.
    pub(super) fn check(config: &NacosConfig) -> Result<Self, Broken> {
        check_times(config)?;
        check_path(&config.context_path)?;
        let servers = servers(config)?;
        let encrypted = servers.first().is_some_and(|server| server.http.encrypted);
        let settings = Self {
            servers,
            context_path: config.context_path.clone(),
            flavour: config.flavour,
            connect_timeout: config.connect_timeout,
            request_timeout: config.request_timeout,
            reconcile_interval: config.reconcile_interval,
            tls: encrypted.then(|| config.tls.clone().unwrap_or_default()),
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

    pub(crate) fn has_user(&self) -> bool {
        self.user.is_some()
    }

    /// User and password, read anew. `None`: no login.
    ///
    /// # Errors
    /// `ConfigInvalid`: a file that cannot be read any more.
    pub(crate) fn user(&self) -> Result<Option<(&str, Secret)>> {
        let read = |password: &Password| match password {
            Password::Given(password) => Ok(password.clone()),
            Password::File(path) => Secret::from_file("password_file", path),
        };
        self.user.as_ref().map(|(name, password)| Ok((name.as_str(), read(password)?))).transpose()
    }
}

fn servers(config: &NacosConfig) -> Result<Vec<Server>, Broken> {
    let addresses = ADDRESSES
        .list(&config.addresses, config.tls.is_some())
        .map_err(|rule| Broken::new("addresses", rule))?;
    if !OFFSET.contains(&config.grpc_port_offset) {
        let rule = format!("{}: 1 to 60000 are allowed", config.grpc_port_offset);
        return Err(Broken::new("grpc_port_offset", rule));
    }
    if config.grpc_port == Some(0) {
        return Err(Broken::new("grpc_port", "0: 1 to 65535 are allowed"));
    }
    let server = |http: HttpAddress| {
        let port = config.grpc_port.or_else(|| http.port.checked_add(config.grpc_port_offset));
        let port = port.ok_or_else(|| {
            let rule =
                format!("`{}` and {} are no port: set `grpc_port`", http.url(), config.grpc_port_offset);
            Broken::new("grpc_port_offset", rule)
        })?;
        let grpc = HttpAddress { port, ..http.clone() };
        Ok(Server { http, grpc })
    };
    addresses.into_iter().map(server).collect()
}

fn check_path(path: &str) -> Result<(), Broken> {
    let rule = if !path.is_empty() && !path.starts_with('/') {
        "does not start with a slash"
    } else if path.ends_with('/') {
        "ends with a slash"
    } else if !path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#')) {
        "has characters that no path has"
    } else {
        return Ok(());
    };
    let shown: String = path.chars().take(80).flat_map(char::escape_debug).collect();
    Err(Broken::new("context_path", format!("`{shown}` {rule}: write it as `/nacos`, or leave it empty")))
}

fn check_times(config: &NacosConfig) -> Result<(), Broken> {
    for (key, value, allowed) in [
        ("connect_timeout", config.connect_timeout, TIMEOUT),
        ("request_timeout", config.request_timeout, TIMEOUT),
        ("reconcile_interval", config.reconcile_interval, RECONCILE),
    ] {
        if !allowed.contains(&value) {
            let text = |duration: Duration| humantime::format_duration(duration).to_string();
            let (min, max) = (text(*allowed.start()), text(*allowed.end()));
            return Err(Broken::new(key, format!("{}: {min} to {max} are allowed", text(value))));
        }
    }
    Ok(())
}

fn user(config: &NacosConfig) -> Result<Option<(String, Password)>, Broken> {
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

    fn refused(config: &NacosConfig) -> String {
        let Broken { key, rule } = Settings::check(config).unwrap_err();
        format!("{key}: {rule}")
    }

    fn config() -> NacosConfig {
        NacosConfig::default()
    }

    #[test]
    fn grpc_is_at_an_offset_or_where_it_is_told() {
        let grpc = |config: NacosConfig| -> Vec<_> {
            Settings::check(&config).unwrap().servers.iter().map(|server| server.grpc.url()).collect()
        };
        assert_eq!(grpc(config()), ["http://127.0.0.1:9848"]);
        let two = config().with_addresses(["https://a", "https://b:1"]);
        assert_eq!(grpc(two.clone()), ["https://a:9848", "https://b:1001"]);
        assert_eq!(grpc(two.with_grpc_port(7)), ["https://a:7", "https://b:7"]);
        assert_eq!(grpc(config().with_grpc_port_offset(1)), ["http://127.0.0.1:8849"]);
    }

    #[test]
    fn addresses_ports_times_and_paths_are_checked() {
        let (s, ms) = (Duration::from_secs, Duration::from_millis);
        for (config, message) in [
            (
                config().with_addresses([""; 0]),
                "addresses: there is none: name at least one, such as `http://127.0.0.1:8848`",
            ),
            (config().with_grpc_port_offset(0), "grpc_port_offset: 0: 1 to 60000 are allowed"),
            (config().with_grpc_port(0), "grpc_port: 0: 1 to 65535 are allowed"),
            (
                config().with_addresses(["h:65000"]),
                "grpc_port_offset: `http://h:65000` and 1000 are no port: set `grpc_port`",
            ),
            (config().with_request_timeout(ms(1)), "request_timeout: 1ms: 100ms to 1m are allowed"),
            (config().with_connect_timeout(s(61)), "connect_timeout: 1m 1s: 100ms to 1m are allowed"),
            (config().with_reconcile_interval(s(4)), "reconcile_interval: 4s: 5s to 1h are allowed"),
            (
                config().with_context_path("/a/"),
                "context_path: `/a/` ends with a slash: write it as `/nacos`, or leave it empty",
            ),
        ] {
            assert_eq!(refused(&config), message);
        }
        assert!(Settings::check(&config().with_context_path("")).is_ok());
    }

    #[test]
    fn half_a_login_is_refused() {
        let mut config = config();
        config.username = Some("u".to_owned());
        assert_eq!(refused(&config), "username: there is no `password` and no `password_file`");
        let mut nobody = config.clone().with_password("u", "p");
        nobody.username = None;
        assert_eq!(refused(&nobody), "password: there is no `username` that it belongs to");
        assert_eq!(refused(&config.clone().with_password("u", "")), "password: the password is empty");
        assert_eq!(refused(&config.clone().with_password("", "p")), "username: the name is empty");
        let twice = config.clone().with_password("u", "p").with_password_file("u", "/x");
        assert_eq!(refused(&twice), "password_file: there is a `password`, too: one of them is enough");
        let missing = config.with_password_file("u", "/nowhere/password");
        assert!(refused(&missing).starts_with("password_file: the file /nowhere/password cannot be read: "));
    }
}
