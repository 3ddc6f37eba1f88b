//! Nacos as a URL: `nacos://user:password@10.0.0.1:8848,10.0.0.2:8848?flavour=nacos&request_timeout=2s`.

use callsign_core::config::RegistryUrl;
use callsign_core::{Dict, Error, Result};

/// What may stand behind `?`, beside [`TLS`], [`NUMBERS`] and `tls`. Keys of the table by the same names.
const OPTIONS: [&str; 8] = [
    "connect_timeout",
    "context_path",
    "flavour",
    "instances",
    "layout",
    "password_file",
    "reconcile_interval",
    "request_timeout",
];
const NUMBERS: [&str; 2] = ["grpc_port", "grpc_port_offset"];
/// Keys of the `tls` table, each of which implies it.
const TLS: [&str; 4] = ["ca_file", "cert_file", "key_file", "server_name"];

/// The table that `url` stands for.
///
/// # Errors
/// `ConfigInvalid`, naming what is malformed or unknown; never showing user or password.
pub(crate) fn table_of(url: &RegistryUrl) -> Result<Dict> {
    let refuse = |rule: String| Error::config(format!("the registry `{url}` {rule}"));
    if !url.path.is_empty() {
        return Err(refuse("has a path: only hosts and `?key=value` are allowed".to_owned()));
    }
    let (mut table, mut tls, mut encrypted) = (Dict::new(), Dict::new(), None);
    for (key, value) in &url.query {
        let known = |keys: &[&str]| keys.contains(&key.as_str());
        let twice = if key == "tls" {
            let switch = value.parse::<bool>();
            let switch =
                switch.map_err(|_| refuse("has a `tls` that is neither `true` nor `false`".to_owned()))?;
            encrypted.replace(switch).is_some()
        } else if known(&TLS) {
            tls.insert(key.clone(), value.as_str().into()).is_some()
        } else if known(&NUMBERS) {
            let port: u16 =
                value.parse().map_err(|_| refuse(format!("has a `{key}` that is not a number of a port")))?;
            table.insert(key.clone(), port.into()).is_some()
        } else if known(&OPTIONS) {
            table.insert(key.clone(), value.as_str().into()).is_some()
        } else {
            let key: String = key.chars().take(40).flat_map(char::escape_debug).collect();
            let allowed = [&["tls"], &NUMBERS[..], &TLS[..], &OPTIONS[..]].concat().join(", ");
            return Err(refuse(format!("has the unknown key `{key}`; allowed keys: {allowed}")));
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
    if encrypted {
        table.insert("tls".to_owned(), tls.into());
    }
    if let Some(user) = &url.user {
        table.insert("username".to_owned(), user.as_str().into());
    }
    if let Some(password) = &url.password {
        table.insert("password".to_owned(), password.expose().into());
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use callsign_core::config::Table;
    use proptest::prelude::*;

    use super::*;
    use crate::{Flavour, NacosConfig};

    fn table(url: &str) -> Result<Dict> {
        table_of(&url.parse()?)
    }

    fn config(url: &str) -> NacosConfig {
        Table::from_dict("main", "nacos", table(url).unwrap()).extract().unwrap()
    }

    #[test]
    fn servers_alone_are_enough() {
        let expected = NacosConfig::default().with_addresses(["http://a:1", "http://[::1]:2"]);
        assert_eq!(config("nacos://a:1,[::1]:2"), expected);
    }

    #[test]
    fn every_key_can_be_said_in_a_url() {
        let config = config(
            "nacos://root:p%40ss@a:1?grpc_port=7&grpc_port_offset=9&ca_file=/ca.pem&server_name=n&flavour=rnacos\
             &connect_timeout=1s&request_timeout=2s&reconcile_interval=30s&context_path=/x",
        );
        let seconds = std::time::Duration::from_secs;
        let tls = serde_json::from_str(r#"{"ca_file":"/ca.pem","server_name":"n"}"#).unwrap();
        let expected = NacosConfig::default()
            .with_addresses(["https://a:1"])
            .with_password("root", "p@ss")
            .with_grpc_port(7)
            .with_grpc_port_offset(9)
            .with_tls(tls)
            .with_flavour(Flavour::RNacos)
            .with_connect_timeout(seconds(1))
            .with_request_timeout(seconds(2))
            .with_reconcile_interval(seconds(30))
            .with_context_path("/x");
        assert_eq!(config, expected);
    }

    #[test]
    fn a_url_with_what_means_nothing_is_refused_and_shows_no_password() {
        for (rest, message) in [
            (
                "?ttl=5s",
                "the registry `nacos://a:1` has the unknown key `ttl`; allowed keys: tls, grpc_port, grpc_port_offset, \
                 ca_file, cert_file, key_file, server_name, connect_timeout, context_path, flavour, instances, layout, \
                 password_file, reconcile_interval, request_timeout",
            ),
            ("?flavour=nacos&flavour=auto", "the registry `nacos://a:1` has the key `flavour` twice"),
            ("?tls=yes", "the registry `nacos://a:1` has a `tls` that is neither `true` nor `false`"),
            (
                "?tls=false&ca_file=x",
                "the registry `nacos://a:1` has `tls=false` and `ca_file`: one of them is too many",
            ),
            ("?grpc_port=x", "the registry `nacos://a:1` has a `grpc_port` that is not a number of a port"),
            ("/x", "the registry `nacos://a:1/x` has a path: only hosts and `?key=value` are allowed"),
        ] {
            let error = table(&format!("nacos://root:hunter2@a:1{rest}")).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn no_text_behind_the_scheme_panics(text in "\\PC{0,40}") {
            let _ = table(&format!("nacos://{text}"));
        }
    }
}
