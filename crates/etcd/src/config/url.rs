//! etcd as a URL: `etcd://user:password@10.0.0.1:2379,10.0.0.2:2379/prefix?tls=true&ca_file=/etc/etcd/ca.pem`.

use callsign_core::config::RegistryUrl;
use callsign_core::{Dict, Error, Result};

/// What may stand behind `?`, beside [`TLS`]. Keys of the table by the same names.
const OPTIONS: [&str; 7] = [
    "connect_timeout",
    "keep_alive_interval",
    "keep_alive_timeout",
    "list_timeout",
    "max_value_size",
    "op_timeout",
    "password_file",
];
/// Keys of the `tls` table, each of which implies it.
const TLS: [&str; 4] = ["ca_file", "cert_file", "key_file", "server_name"];

/// The table that `url` stands for.
///
/// # Errors
/// `ConfigInvalid`, naming what is malformed or unknown; never showing user or password.
pub(crate) fn table_of(url: &RegistryUrl) -> Result<Dict> {
    let refuse = |rule: String| Error::config(format!("the registry `{url}` {rule}"));
    let (mut table, mut tls, mut encrypted) = (Dict::new(), Dict::new(), None);
    for (key, value) in &url.query {
        let known = |keys: &[&str]| keys.contains(&key.as_str());
        let twice = if key == "tls" {
            encrypted.replace(switch(value).map_err(&refuse)?).is_some()
        } else if known(&TLS) {
            tls.insert(key.clone(), value.as_str().into()).is_some()
        } else if key == "max_value_size" {
            let bytes: u64 = value
                .parse()
                .map_err(|_| refuse("has a `max_value_size` that is not a number of bytes".to_owned()))?;
            table.insert(key.clone(), bytes.into()).is_some()
        } else if known(&OPTIONS) {
            table.insert(key.clone(), value.as_str().into()).is_some()
        } else {
            let key: String = key.chars().take(40).flat_map(char::escape_debug).collect();
            let allowed = [&["tls"], &TLS[..], &OPTIONS[..]].concat().join(", ");
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
    let endpoints: Vec<_> = url.hosts()?.iter().map(|host| format!("{scheme}://{host}")).collect();
    table.insert("endpoints".to_owned(), endpoints.into());
    if encrypted {
        table.insert("tls".to_owned(), tls.into());
    }
    // `host:2379/prefix/?key=value` is how URLs are written.
    let prefix = url.path.strip_suffix('/').unwrap_or(&url.path);
    if !prefix.is_empty() {
        table.insert("prefix".to_owned(), format!("/{prefix}").into());
    }
    if let Some(user) = &url.user {
        table.insert("username".to_owned(), user.as_str().into());
    }
    if let Some(password) = &url.password {
        table.insert("password".to_owned(), password.expose().into());
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
    use callsign_core::config::Table;
    use proptest::prelude::*;

    use super::*;
    use crate::EtcdConfig;

    fn table(url: &str) -> Result<Dict> {
        table_of(&url.parse()?)
    }

    fn config(url: &str) -> EtcdConfig {
        Table::from_dict("main", "etcd", table(url).unwrap()).extract().unwrap()
    }

    #[test]
    fn hosts_alone_are_enough() {
        let expected = EtcdConfig::default().with_endpoints(["http://a:1", "http://[::1]:2"]);
        assert_eq!(config("etcd://a:1,[::1]:2"), expected);
        assert_eq!(config("etcd://a:1,[::1]:2/"), expected);
        assert_eq!(config("etcd://a:1,[::1]:2?tls=false"), expected);
    }

    #[test]
    fn every_key_of_the_table_can_be_said() {
        let config = config(
            "etcd://root:p%40ss@a:1/team/callsign/?tls=true&ca_file=/ca.pem&cert_file=/c.pem&key_file=/k.pem\
             &server_name=etcd.example&op_timeout=1s&list_timeout=2s&connect_timeout=3s&keep_alive_interval=7s\
             &keep_alive_timeout=4s&max_value_size=2048",
        );
        let seconds = std::time::Duration::from_secs;
        let tls =
            r#"{"ca_file":"/ca.pem","cert_file":"/c.pem","key_file":"/k.pem","server_name":"etcd.example"}"#;
        let expected = EtcdConfig::default()
            .with_endpoints(["https://a:1"])
            .with_prefix("/team/callsign")
            .with_password("root", "p@ss")
            .with_tls(serde_json::from_str(tls).unwrap())
            .with_op_timeout(seconds(1))
            .with_list_timeout(seconds(2))
            .with_connect_timeout(seconds(3))
            .with_keep_alive(seconds(7), seconds(4))
            .with_max_value_size(2048);
        assert_eq!(config, expected);
    }

    #[test]
    fn a_password_may_come_from_a_file_and_a_key_of_tls_is_enough_to_encrypt() {
        let config = config("etcd://root@a:1?password_file=/run/secrets/etcd&ca_file=/ca.pem");
        assert_eq!(config.password_file.as_deref(), Some("/run/secrets/etcd".as_ref()));
        assert_eq!((config.username.as_deref(), config.password), (Some("root"), None));
        assert_eq!(config.endpoints, ["https://a:1"]);
    }

    #[test]
    fn a_url_that_says_nothing_or_two_things_is_refused_and_shows_no_password() {
        for (query, message) in [
            (
                "ttl=5s",
                "the registry `etcd://a:1` has the unknown key `ttl`; allowed keys: tls, ca_file, cert_file, key_file, \
                 server_name, connect_timeout, keep_alive_interval, keep_alive_timeout, list_timeout, max_value_size, \
                 op_timeout, password_file",
            ),
            ("tls=yes", "the registry `etcd://a:1` has a `tls` that is neither `true` nor `false`"),
            ("tls", "the registry `etcd://a:1` has a `tls` that is neither `true` nor `false`"),
            ("tls=true&tls=true", "the registry `etcd://a:1` has the key `tls` twice"),
            ("op_timeout=1s&op_timeout=2s", "the registry `etcd://a:1` has the key `op_timeout` twice"),
            (
                "tls=false&ca_file=/x",
                "the registry `etcd://a:1` has `tls=false` and `ca_file`: one of them is too many",
            ),
            (
                "max_value_size=64KiB",
                "the registry `etcd://a:1` has a `max_value_size` that is not a number of bytes",
            ),
        ] {
            assert_eq!(table(&format!("etcd://root:hunter2@a:1?{query}")).unwrap_err().to_string(), message);
        }
        let no_port = table("etcd://root:hunter2@a").unwrap_err().to_string();
        assert_eq!(no_port, "the registry `etcd://a` has no port: write it as `etcd://a:port`");
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC{0,40}") {
            let _ = table(&format!("etcd://{text}"));
        }
    }
}
