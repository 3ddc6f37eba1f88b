//! Consul as a URL: `consul://10.0.0.1:8500,10.0.0.2:8500?dc=eu&token_file=/run/secrets/consul`.

use callsign_core::config::RegistryUrl;
use callsign_core::{Dict, Error, Result};

/// What may stand behind `?`, beside [`TLS`]: the name in the URL, the table it belongs to, and the key there.
const OPTIONS: [(&str, &str, &str); 10] = [
    ("check", "check", "kind"),
    ("confirm_timeout", "", "confirm_timeout"),
    ("connect_timeout", "", "connect_timeout"),
    ("dc", "", "datacenter"),
    ("deregister_after", "check", "deregister_after"),
    ("partition", "", "partition"),
    ("request_timeout", "", "request_timeout"),
    ("tenancy", "", "tenancy"),
    ("token_file", "", "token_file"),
    ("wait", "watch", "wait"),
];
/// Keys of the `tls` table, each of which implies it.
const TLS: [&str; 4] = ["ca_file", "cert_file", "key_file", "server_name"];

/// The table that `url` stands for.
///
/// # Errors
/// `ConfigInvalid`, naming what is malformed or unknown; never showing user or password.
pub(crate) fn table_of(url: &RegistryUrl) -> Result<Dict> {
    let refuse = |rule: String| Error::config(format!("the registry `{url}` {rule}"));
    if url.user.is_some() || url.password.is_some() {
        return Err(refuse("has a user in it: Consul has tokens, write `?token_file=/path`".to_owned()));
    }
    if !url.path.is_empty() {
        return Err(refuse("has a path: only hosts and `?key=value` are allowed".to_owned()));
    }
    let (mut table, mut tls, mut encrypted) = (Dict::new(), Dict::new(), None);
    let (mut check, mut watch) = (Dict::new(), Dict::new());
    for (key, value) in &url.query {
        let option = OPTIONS.iter().find(|(name, ..)| name == key);
        let twice = if key == "tls" {
            encrypted.replace(switch(value).map_err(&refuse)?).is_some()
        } else if TLS.contains(&key.as_str()) {
            tls.insert(key.clone(), value.as_str().into()).is_some()
        } else if let Some((_, place, name)) = option {
            let place = match *place {
                "check" => &mut check,
                "watch" => &mut watch,
                _ => &mut table,
            };
            place.insert((*name).to_owned(), value.as_str().into()).is_some()
        } else {
            let key: String = key.chars().take(40).flat_map(char::escape_debug).collect();
            let mut allowed = vec!["tls"];
            allowed.extend(TLS);
            allowed.extend(OPTIONS.map(|(name, ..)| name));
            return Err(refuse(format!("has the unknown key `{key}`; allowed keys: {}", allowed.join(", "))));
        };
        if twice {
            return Err(refuse(format!("has the key `{key}` twice")));
        }
    }
    if let (Some(false), Some(key)) = (encrypted, tls.keys().next()) {
        return Err(refuse(format!("has `tls=false` and `{key}`: one of them is too many")));
    }
    let encrypted = encrypted.unwrap_or(!tls.is_empty());
    let scheme = if encrypted { "https" } else { "http" };
    let addresses: Vec<_> = url.hosts()?.iter().map(|host| format!("{scheme}://{host}")).collect();
    table.insert("addresses".to_owned(), addresses.into());
    for (key, part) in [("check", check), ("watch", watch)] {
        if !part.is_empty() {
            table.insert(key.to_owned(), part.into());
        }
    }
    if encrypted {
        table.insert("tls".to_owned(), tls.into());
    }
    Ok(table)
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("has a `tls` that is neither `true` nor `false`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use callsign_core::config::Table;
    use proptest::prelude::*;

    use super::*;
    use crate::config::{CheckConfig, CheckKind, ConsulConfig, WatchConfig};

    fn table(url: &str) -> Result<Dict> {
        table_of(&url.parse()?)
    }

    fn config(url: &str) -> ConsulConfig {
        Table::from_dict("main", "consul", table(url).unwrap()).extract().unwrap()
    }

    #[test]
    fn hosts_alone_are_enough() {
        let expected = ConsulConfig::default().with_addresses(["http://a:1", "http://[::1]:2"]);
        assert_eq!(config("consul://a:1,[::1]:2"), expected);
        assert_eq!(config("consul://a:1,[::1]:2/?tls=false"), expected);
    }

    #[test]
    fn every_option_reaches_its_key() {
        let config = config(
            "consul://a:1?dc=eu&token_file=/t&tenancy=enterprise&partition=p&check=tcp&deregister_after=2m&wait=5s\
             &request_timeout=3s&connect_timeout=1s&confirm_timeout=2s&ca_file=/ca.pem&server_name=server.eu.consul",
        );
        let seconds = Duration::from_secs;
        let check = CheckConfig::default().with_kind(CheckKind::Tcp).with_deregister_after(seconds(120));
        let tls = r#"{"ca_file":"/ca.pem","server_name":"server.eu.consul"}"#;
        let expected = ConsulConfig::default()
            .with_address("https://a:1")
            .with_datacenter("eu")
            .with_token_file("/t")
            .with_enterprise(Some("p".to_owned()))
            .with_check(check)
            .with_watch(WatchConfig::default().with_wait(seconds(5)))
            .with_tls(serde_json::from_str(tls).unwrap())
            .with_request_timeout(seconds(3))
            .with_connect_timeout(seconds(1))
            .with_confirm_timeout(seconds(2));
        assert_eq!(config, expected);
    }

    #[test]
    fn a_url_that_says_nothing_or_two_things_is_refused_and_shows_no_secret() {
        for (url, message) in [
            (
                "consul://a:1?ttl=5s",
                "the registry `consul://a:1` has the unknown key `ttl`; allowed keys: tls, ca_file, cert_file, key_file, \
                 server_name, check, confirm_timeout, connect_timeout, dc, deregister_after, partition, request_timeout, \
                 tenancy, token_file, wait",
            ),
            (
                "consul://root:hunter2@a:1",
                "the registry `consul://a:1` has a user in it: Consul has tokens, write `?token_file=/path`",
            ),
            (
                "consul://a:1/v1",
                "the registry `consul://a:1/v1` has a path: only hosts and `?key=value` are allowed",
            ),
            ("consul://a:1?dc=x&dc=y", "the registry `consul://a:1` has the key `dc` twice"),
            (
                "consul://a:1?tls=false&ca_file=/x",
                "the registry `consul://a:1` has `tls=false` and `ca_file`: one of them is too many",
            ),
            ("consul://a", "the registry `consul://a` has no port: write it as `consul://a:port`"),
        ] {
            assert_eq!(table(url).unwrap_err().to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC{0,40}") {
            let _ = table(&format!("consul://{text}"));
        }
    }
}
