//! A configuration that has been checked, before anything is connected.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use callsign_core::Result;
use callsign_core::config::{Broken, HttpAddress, Secret, Tls, TlsMaterial};

use super::address::ADDRESSES;
use super::{CheckConfig, ConsulConfig, TenancyKind, WatchConfig};

const REQUEST_TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
const SHORT: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Consul raises less than a minute to a minute, and says so in its log alone.
const DEREGISTER_AFTER: RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(7 * 24 * 3600);
/// Below the 10 s after which a quiet watch owes a sign of life, with the sixteenth that Consul adds.
const WAIT: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(9);
const MAX_STALE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
const MAX_BLOCKED: RangeInclusive<usize> = 1..=10_000;

/// What the backend needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    /// All encrypted or none, each once, at least one.
    pub(crate) addresses: Vec<HttpAddress>,
    pub(crate) datacenter: Option<String>,
    pub(crate) tenancy: Tenancy,
    pub(crate) check: CheckConfig,
    pub(crate) watch: WatchConfig,
    pub(crate) request_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) confirm_timeout: Duration,
    /// There whenever the addresses are encrypted.
    tls: Option<Tls>,
    token: Token,
}

/// How namespaces are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Tenancy {
    /// By the service's name.
    Prefix,
    /// By Consul Enterprise.
    Enterprise {
        /// The admin partition, where it is not the default one.
        partition: Option<String>,
    },
}

#[derive(Debug)]
enum Token {
    None,
    Given(Secret),
    File(PathBuf),
}

impl Settings {
    /// Checks a configuration. Reads the files it names, so that a typing error shows at once.
    pub(super) fn check(config: &ConsulConfig) -> Result<Self, Broken> {
        let addresses = addresses(config)?;
        let encrypted = addresses.first().is_some_and(|address| address.encrypted);
        check_times(config)?;
        check_path(&config.check)?;
        if !MAX_BLOCKED.contains(&config.watch.max_blocked) {
            let (min, max) = (MAX_BLOCKED.start(), MAX_BLOCKED.end());
            let rule = format!("{}: {min} to {max} are allowed", config.watch.max_blocked);
            return Err(Broken::new("watch.max_blocked", rule));
        }
        let settings = Self {
            addresses,
            datacenter: name("datacenter", config.datacenter.as_deref())?,
            tenancy: tenancy(config)?,
            check: config.check.clone(),
            watch: config.watch.clone(),
            request_timeout: config.request_timeout,
            connect_timeout: config.connect_timeout,
            confirm_timeout: config.confirm_timeout,
            tls: encrypted.then(|| config.tls.clone().unwrap_or_default()),
            token: token(config)?,
        };
        let material = settings.tls().map_err(|error| Broken::unreadable("tls", &error))?;
        if let Some(name) = material.and_then(|material| material.server_name)
            && name.parse::<IpAddr>().is_ok()
        {
            return Err(Broken::new(
                "tls.server_name",
                "an IP address is no name: leave it out, or name the server",
            ));
        }
        if let Some(token) =
            settings.token_as_it_is().map_err(|error| Broken::unreadable("token_file", &error))?
        {
            check_token(&token, if config.token.is_some() { "token" } else { "token_file" })?;
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

    /// The token, read anew.
    ///
    /// # Errors
    /// `ConfigInvalid`: a file that cannot be read any more, or has no token.
    pub(crate) fn token(&self) -> Result<Option<Secret>> {
        let token = self.token_as_it_is()?;
        if let Some(token) = &token {
            check_token(token, "token_file")?;
        }
        Ok(token)
    }

    fn token_as_it_is(&self) -> Result<Option<Secret>> {
        match &self.token {
            Token::None => Ok(None),
            Token::Given(token) => Ok(Some(token.clone())),
            Token::File(path) => Secret::from_file("token_file", path).map(Some),
        }
    }

    /// Whether another token may be read from the place where the last one came from.
    pub(crate) fn token_may_change(&self) -> bool {
        matches!(self.token, Token::File(_))
    }

    /// The longest that a query may take which waits for a change, its answer included.
    pub(crate) fn patience(&self, wait: Duration) -> Duration {
        // Consul adds up to a sixteenth to the wait itself.
        wait + wait / 16 + self.request_timeout
    }
}

fn addresses(config: &ConsulConfig) -> Result<Vec<HttpAddress>, Broken> {
    let one = config.address.as_slice();
    if !one.is_empty() && config.addresses != ConsulConfig::default().addresses {
        return Err(Broken::new("address", "there are `addresses`, too: one of them is enough"));
    }
    let (key, texts) = if one.is_empty() { ("addresses", &*config.addresses) } else { ("address", one) };
    ADDRESSES.list(texts, config.tls.is_some()).map_err(|rule| Broken::new(key, rule))
}

fn tenancy(config: &ConsulConfig) -> Result<Tenancy, Broken> {
    let partition = name("partition", config.partition.as_deref())?;
    match config.tenancy {
        TenancyKind::Enterprise => Ok(Tenancy::Enterprise { partition }),
        TenancyKind::Prefix if partition.is_some() => Err(Broken::new(
            "partition",
            "only Consul Enterprise has them: set `tenancy = \"enterprise\"`, too",
        )),
        TenancyKind::Prefix => Ok(Tenancy::Prefix),
    }
}

/// What Consul takes as the name of a datacenter or a partition.
fn name(key: &str, text: Option<&str>) -> Result<Option<String>, Broken> {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    match text {
        Some(text) if text.is_empty() || text.len() > 64 || !text.chars().all(legal) => {
            let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
            let rule = format!("`{shown}` is no name: 1 to 64 letters, digits, `-` and `_` are allowed");
            Err(Broken::new(key, rule))
        }
        text => Ok(text.map(str::to_owned)),
    }
}

fn token(config: &ConsulConfig) -> Result<Token, Broken> {
    match (&config.token, &config.token_file) {
        (None, None) => Ok(Token::None),
        (Some(token), None) => Ok(Token::Given(token.clone())),
        (None, Some(file)) => Ok(Token::File(file.clone())),
        (Some(_), Some(_)) => {
            Err(Broken::new("token_file", "there is a `token`, too: one of them is enough"))
        }
    }
}

fn check_token(token: &Secret, key: &str) -> Result<(), Broken> {
    let text = token.expose();
    if text.is_empty() {
        return Err(Broken::new(key, "the token is empty: leave it out where none is needed"));
    }
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(Broken::new(key, "the token has characters other than letters, digits and signs of ASCII"))
    }
}

fn check_path(check: &CheckConfig) -> Result<(), Broken> {
    if check.path.starts_with('/') && check.path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let shown: String = check.path.chars().take(80).flat_map(char::escape_debug).collect();
    Err(Broken::new("check.path", format!("`{shown}` is no path: write it as `/health`")))
}

fn check_times(config: &ConsulConfig) -> Result<(), Broken> {
    let (check, watch) = (&config.check, &config.watch);
    for (key, value, allowed) in [
        ("check.interval", check.interval, INTERVAL),
        ("check.timeout", check.timeout, SHORT),
        ("check.deregister_after", check.deregister_after, DEREGISTER_AFTER),
        ("watch.wait", watch.wait, WAIT),
        ("watch.max_stale", watch.max_stale, MAX_STALE),
        ("request_timeout", config.request_timeout, REQUEST_TIMEOUT),
        ("connect_timeout", config.connect_timeout, SHORT),
        ("confirm_timeout", config.confirm_timeout, SHORT),
    ] {
        if !allowed.contains(&value) {
            let text = |duration: Duration| humantime::format_duration(duration).to_string();
            let (min, max) = (text(*allowed.start()), text(*allowed.end()));
            let why = match key {
                "check.deregister_after" if value < *allowed.start() => {
                    "; Consul itself takes no less than a minute"
                }
                "watch.wait" if value > *allowed.end() => "; a quiet watch owes a sign of life every 10s",
                _ => "",
            };
            return Err(Broken::new(key, format!("{}: {min} to {max} are allowed{why}", text(value))));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::CheckKind;

    fn config() -> ConsulConfig {
        ConsulConfig::default()
    }

    fn refused(config: &ConsulConfig) -> String {
        let Broken { key, rule } = Settings::check(config).unwrap_err();
        format!("{key}: {rule}")
    }

    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn the_defaults_are_allowed() {
        let settings = config().settings().unwrap();
        assert_eq!(settings.addresses[0].url(), "http://127.0.0.1:8500");
        assert!(settings.tls().unwrap().is_none() && settings.token().unwrap().is_none());
        assert_eq!(settings.tenancy, Tenancy::Prefix);
    }

    #[test]
    fn one_address_is_a_list_of_one() {
        let one = ConsulConfig { address: Some("a".to_owned()), ..config() };
        assert_eq!(one.settings().unwrap().addresses[0].url(), "http://a:8500");
        let both = ConsulConfig { address: Some("a".to_owned()), ..config().with_addresses(["b"]) };
        let both = ConsulConfig { address: Some("a".to_owned()), ..both };
        assert_eq!(refused(&both), "address: there are `addresses`, too: one of them is enough");
    }

    #[test]
    fn addresses_are_of_one_kind_and_each_there_once() {
        for (addresses, message) in [
            (&[][..], "addresses: there is none: name at least one, such as `http://127.0.0.1:8500`"),
            (
                &["http://a", "https://b"],
                "addresses: `http://a:8500` and `https://b:8500`: either all are `http` or all are `https`",
            ),
            (&["a:8500", "http://A/"], "addresses: the address `http://a:8500` is there twice"),
        ] {
            assert_eq!(refused(&config().with_addresses(addresses.iter().copied())), message);
        }
        assert_eq!(
            refused(&config().with_tls(Tls::default())),
            "addresses: the address `http://127.0.0.1:8500` is not encrypted, and there is a `tls` table: write `https://`, or leave the table out"
        );
    }

    #[test]
    fn the_token_comes_from_one_place_and_is_one() {
        let empty = file("\n");
        let both = config().with_token("t").with_token_file("/f");
        for (config, message) in [
            (both, "token_file: there is a `token`, too: one of them is enough"),
            (config().with_token(""), "token: the token is empty: leave it out where none is needed"),
            (
                config().with_token("a b"),
                "token: the token has characters other than letters, digits and signs of ASCII",
            ),
            (
                config().with_token_file("/nowhere/token"),
                "token_file: the file /nowhere/token cannot be read: No such file or directory (os error 2)",
            ),
            (
                config().with_token_file(empty.path()),
                "token_file: the token is empty: leave it out where none is needed",
            ),
        ] {
            assert_eq!(refused(&config), message);
        }
    }

    #[test]
    fn a_token_that_was_replaced_in_its_file_is_read() {
        let file = file("old\n");
        let settings = config().with_token_file(file.path()).settings().unwrap();
        let token = || settings.token().unwrap().unwrap().expose().to_owned();
        assert_eq!(token(), "old");
        std::fs::write(file.path(), "new\n").unwrap();
        assert_eq!(token(), "new");
        std::fs::remove_file(file.path()).unwrap();
        assert!(settings.token().unwrap_err().is_misconfiguration());
    }

    #[test]
    fn names_times_and_sizes_are_bounded() {
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let check = |check: CheckConfig| config().with_check(check);
        let watch = |watch: WatchConfig| config().with_watch(watch);
        for (config, message) in [
            (
                config().with_datacenter("a b"),
                "datacenter: `a b` is no name: 1 to 64 letters, digits, `-` and `_` are allowed",
            ),
            (
                ConsulConfig { partition: Some("p".to_owned()), ..config() },
                "partition: only Consul Enterprise has them: set `tenancy = \"enterprise\"`, too",
            ),
            (config().with_request_timeout(ms(999)), "request_timeout: 999ms: 1s to 1m are allowed"),
            (config().with_connect_timeout(s(61)), "connect_timeout: 1m 1s: 100ms to 1m are allowed"),
            (config().with_confirm_timeout(s(0)), "confirm_timeout: 0s: 100ms to 1m are allowed"),
            (
                watch(WatchConfig::default().with_wait(s(10))),
                "watch.wait: 10s: 1s to 9s are allowed; a quiet watch owes a sign of life every 10s",
            ),
            (
                watch(WatchConfig::default().with_max_blocked(0)),
                "watch.max_blocked: 0: 1 to 10000 are allowed",
            ),
            (
                check(CheckConfig::default().with_deregister_after(s(59))),
                "check.deregister_after: 59s: 1m to 7days are allowed; Consul itself takes no less than a minute",
            ),
            (
                check(CheckConfig::default().with_kind(CheckKind::Http).with_path("health")),
                "check.path: `health` is no path: write it as `/health`",
            ),
        ] {
            assert_eq!(refused(&config), message);
        }
    }

    #[test]
    fn a_server_name_is_a_name_and_a_missing_file_is_named() {
        let tls = |json: &str| config().with_addresses(["h"]).with_tls(serde_json::from_str(json).unwrap());
        assert_eq!(
            refused(&tls(r#"{"server_name": "10.0.0.1"}"#)),
            "tls.server_name: an IP address is no name: leave it out, or name the server"
        );
        assert_eq!(
            refused(&tls(r#"{"ca_file": "/nowhere/ca.pem"}"#)),
            "tls.ca_file: the file /nowhere/ca.pem cannot be read: No such file or directory (os error 2)"
        );
    }
}
