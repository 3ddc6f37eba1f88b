//! ZooKeeper as a URL: `zookeeper://user:password@10.0.0.1:2181,10.0.0.2:2181/chroot?root=/callsign/v1&ca_file=/ca.pem`.

use callsign_core::config::RegistryUrl;
use callsign_core::{Dict, Error, Result};

/// What may stand behind `?`, beside [`TLS`], `read_only` and `max_value_size`. Keys of the table by the same names.
const OPTIONS: [&str; 8] = [
    "acl",
    "connection_timeout",
    "list_timeout",
    "login",
    "op_timeout",
    "password_file",
    "root",
    "session_timeout",
];
/// Keys of the `tls` table, each of which implies it.
const TLS: [&str; 4] = ["ca_file", "cert_file", "key_file", "server_name"];

/// The table that `url` stands for.
///
/// # Errors
/// `ConfigInvalid`, naming what is malformed or unknown; never showing user or password.
pub(crate) fn table_of(url: &RegistryUrl) -> Result<Dict> {
    let refuse = |rule: String| Error::config(format!("the registry `{url}` {rule}"));
    let (mut table, mut tls) = (Dict::new(), Dict::new());
    for (key, value) in &url.query {
        let known = |keys: &[&str]| keys.contains(&key.as_str());
        let twice = if known(&TLS) {
            tls.insert(key.clone(), value.as_str().into()).is_some()
        } else if key == "max_value_size" {
            let bytes: u64 = value
                .parse()
                .map_err(|_| refuse("has a `max_value_size` that is not a number of bytes".to_owned()))?;
            table.insert(key.clone(), bytes.into()).is_some()
        } else if key == "read_only" {
            let read_only: bool = value
                .parse()
                .map_err(|_| refuse("has a `read_only` that is neither `true` nor `false`".to_owned()))?;
            table.insert(key.clone(), read_only.into()).is_some()
        } else if known(&OPTIONS) {
            table.insert(key.clone(), value.as_str().into()).is_some()
        } else {
            let key: String = key.chars().take(40).flat_map(char::escape_debug).collect();
            let allowed = [&["max_value_size", "read_only"], &TLS[..], &OPTIONS[..]].concat().join(", ");
            return Err(refuse(format!("has the unknown key `{key}`; allowed keys: {allowed}")));
        };
        if twice {
            return Err(refuse(format!("has the key `{key}` twice")));
        }
    }
    let servers: Vec<_> = url.hosts()?.iter().map(ToString::to_string).collect();
    table.insert("servers".to_owned(), servers.into());
    if !tls.is_empty() {
        table.insert("tls".to_owned(), tls.into());
    }
    // `host:2181/chroot/?key=value` is how URLs are written.
    let chroot = url.path.strip_suffix('/').unwrap_or(&url.path);
    if !chroot.is_empty() {
        table.insert("chroot".to_owned(), format!("/{chroot}").into());
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
    use crate::{Acl, Login, ZooKeeperConfig};

    fn table(url: &str) -> Result<Dict> {
        table_of(&url.parse()?)
    }

    fn config(url: &str) -> ZooKeeperConfig {
        Table::from_dict("main", "zookeeper", table(url).unwrap()).extract().unwrap()
    }

    #[test]
    fn servers_alone_are_enough() {
        let expected = ZooKeeperConfig::default().with_servers(["a:1", "[::1]:2"]);
        assert_eq!(config("zookeeper://a:1,[::1]:2"), expected);
        assert_eq!(config("zookeeper://a:1,[::1]:2/"), expected);
    }

    #[test]
    fn every_key_can_be_said_in_a_url() {
        let config = config(
            "zookeeper://root:p%40ss@a:1/team/a/?root=/registry&login=sasl&acl=creator&ca_file=/ca.pem&cert_file=/c.pem\
             &key_file=/k.pem&op_timeout=1s&list_timeout=2s&session_timeout=30s&connection_timeout=7s&read_only=false\
             &max_value_size=2048",
        );
        let seconds = std::time::Duration::from_secs;
        let tls = r#"{"ca_file":"/ca.pem","cert_file":"/c.pem","key_file":"/k.pem"}"#;
        let expected = ZooKeeperConfig::default()
            .with_servers(["a:1"])
            .with_chroot("/team/a")
            .with_root("/registry")
            .with_password("root", "p@ss")
            .with_login(Login::Sasl)
            .with_acl(Acl::Creator)
            .with_tls(serde_json::from_str(tls).unwrap())
            .with_op_timeout(seconds(1))
            .with_list_timeout(seconds(2))
            .with_session_timeout(seconds(30), seconds(7))
            .with_read_only(false)
            .with_max_value_size(2048);
        assert_eq!(config, expected);
    }

    #[test]
    fn a_url_with_what_means_nothing_is_refused_and_shows_no_password() {
        for (query, message) in [
            (
                "ttl=5s",
                "the registry `zookeeper://a:1` has the unknown key `ttl`; allowed keys: max_value_size, read_only, \
                 ca_file, cert_file, key_file, server_name, acl, connection_timeout, list_timeout, login, op_timeout, \
                 password_file, root, session_timeout",
            ),
            ("op_timeout=1s&op_timeout=2s", "the registry `zookeeper://a:1` has the key `op_timeout` twice"),
            (
                "read_only=yes",
                "the registry `zookeeper://a:1` has a `read_only` that is neither `true` nor `false`",
            ),
            (
                "max_value_size=64KiB",
                "the registry `zookeeper://a:1` has a `max_value_size` that is not a number of bytes",
            ),
        ] {
            let error = table(&format!("zookeeper://root:hunter2@a:1?{query}")).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn no_text_behind_the_scheme_panics(text in "\\PC{0,40}") {
            let _ = table(&format!("zookeeper://{text}"));
        }
    }
}
