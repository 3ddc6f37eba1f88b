//! Registries as URLs: `etcd://user:password@10.0.0.1:2379,10.0.0.2:2379/?key=value`.

use std::fmt;
use std::num::NonZeroU16;

use super::Secret;
use crate::model::{check_host, parse_port, split_host_port};
use crate::{Error, Result};

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostPort {
    /// A host name or an IP address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: NonZeroU16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// A registry written as a URL. The scheme is the registry's type; several hosts are separated by commas. What stands
/// before the last `@` is user and password; further on, an `@` is written `%40`.
///
/// ```
/// use callsign_core::config::RegistryUrl;
///
/// let url: RegistryUrl = "etcd://10.0.0.1:2379,10.0.0.2:2379".parse()?;
/// assert_eq!(url.scheme, "etcd");
/// assert_eq!(url.hosts()?.len(), 2);
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct RegistryUrl {
    /// The registry's type.
    pub scheme: String,
    /// The user, where given.
    pub user: Option<String>,
    /// The password, where given.
    pub password: Option<Secret>,
    /// What stands between `//` and the path, without user and password.
    pub authority: String,
    /// What follows the hosts, without its leading slash.
    pub path: String,
    /// `key=value` pairs behind `?`.
    pub query: Vec<(String, String)>,
}

impl RegistryUrl {
    /// The hosts, each with its port.
    ///
    /// # Errors
    /// `ConfigInvalid` when there is none, one has no port, or one is malformed.
    pub fn hosts(&self) -> Result<Vec<HostPort>> {
        self.authority.split(',').map(|text| self.host(text)).collect()
    }

    fn host(&self, text: &str) -> Result<HostPort> {
        let refuse = |rule: &str| Error::config(format!("the registry `{self}` {rule}"));
        if text.is_empty() {
            return Err(refuse(&format!("has no host: write it as `{}://host:port`", self.scheme)));
        }
        let (host, port) = split_host_port(text)
            .ok_or_else(|| refuse(&format!("has no port: write it as `{}://{text}:port`", self.scheme)))?;
        let host = check_host(host).map_err(|rule| refuse(&rule))?;
        let port = parse_port(port).map_err(|rule| refuse(&rule))?;
        Ok(HostPort { host: host.to_owned(), port })
    }
}

impl std::str::FromStr for RegistryUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Nothing of the text is shown before user and password are taken out of it.
        let (scheme, rest) =
            text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).ok_or_else(|| {
                Error::config(
                    "the registry URL has no scheme: write it as `type://host:port`, such as `memory://`",
                )
            })?;
        // First, and at the last `@`: a password may hold `/` and `?` as they are, and must not end up in the path.
        let (credentials, rest) = match rest.rsplit_once('@') {
            Some((credentials, rest)) => (Some(credentials), rest),
            None => (None, rest),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, password) = match credentials.map(|text| text.split_once(':').unwrap_or((text, ""))) {
            Some((user, password)) => (
                Some(decode(user)?),
                (!password.is_empty()).then(|| decode(password)).transpose()?.map(Secret::new),
            ),
            None => (None, None),
        };
        let query = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Ok((decode(key)?, decode(value)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            scheme: scheme.to_owned(),
            user,
            password,
            authority: authority.to_owned(),
            path: decode(path)?,
            query,
        })
    }
}

/// `root:password@host` before a stray `://` is none.
fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_'))
}

/// Undoes percent-encoding.
fn decode(text: &str) -> Result<String> {
    percent_encoding::percent_decode_str(text).decode_utf8().map(Into::into).map_err(|error| {
        Error::config("the registry URL has `%` escapes that are not UTF-8").with_source(error)
    })
}

/// Without user, password and query: what may be shown.
impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority)?;
        if !self.path.is_empty() {
            write!(f, "/{}", self.path)?;
        }
        Ok(())
    }
}

impl fmt::Debug for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_is_taken_apart_and_its_password_is_never_shown() {
        let url: RegistryUrl = "etcd://root:p%40ss@a:1,[::1]:2/prefix/x?lease=4s&x".parse().unwrap();
        assert_eq!(url.user.as_deref(), Some("root"));
        assert_eq!(url.password.as_ref().map(Secret::expose), Some("p@ss"));
        assert_eq!(
            url.hosts().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["a:1", "[::1]:2"]
        );
        assert_eq!(url.path, "prefix/x");
        assert_eq!(url.query, [("lease".to_owned(), "4s".to_owned()), ("x".to_owned(), String::new())]);
        assert_eq!(format!("{url} {url:?}").matches("ss").count(), 0);
    }

    #[test]
    fn a_password_with_separators_in_it_stays_whole_and_hidden() {
        let url: RegistryUrl = "etcd://root:hun/ter2?@x@h:1/p".parse().unwrap();
        assert_eq!(url.password.as_ref().map(Secret::expose), Some("hun/ter2?@x"));
        assert_eq!(url.to_string(), "etcd://h:1/p");
    }

    #[test]
    fn bad_urls_say_what_is_wrong() {
        for (text, message) in [
            (
                "127.0.0.1",
                "the registry URL has no scheme: write it as `type://host:port`, such as `memory://`",
            ),
            (
                "root:hunter2@h:1://",
                "the registry URL has no scheme: write it as `type://host:port`, such as `memory://`",
            ),
            ("etcd://", "the registry `etcd://` has no host: write it as `etcd://host:port`"),
            ("etcd://h", "the registry `etcd://h` has no port: write it as `etcd://h:port`"),
            ("etcd://h:70000", "the registry `etcd://h:70000` has the port `70000`: 1 to 65535 are allowed"),
            ("etcd://h:1/%ff", "the registry URL has `%` escapes that are not UTF-8"),
        ] {
            let error = text.parse::<RegistryUrl>().and_then(|url| url.hosts()).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<RegistryUrl>().and_then(|url| url.hosts());
        }
    }
}
