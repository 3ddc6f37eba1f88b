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
