//! Where an instance listens.

use std::fmt;
use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// An address that speaks a protocol: `grpc://10.0.0.5:9000`.
///
/// Printed and parsed as a URL without path. `secure` (TLS) shows in the scheme: `https`, `grpcs`, `wss` and `tcps`
/// for the four protocols that have such a spelling, `+tls` behind any other (`thrift+tls://...`).
///
/// ```
/// use callsign_core::Endpoint;
///
/// let endpoint: Endpoint = "grpcs://[::1]:9000".parse()?;
/// assert_eq!((&*endpoint.protocol, &*endpoint.host, endpoint.port.get()), ("grpc", "::1", 9000));
/// assert!(endpoint.secure);
/// assert_eq!(endpoint.to_string(), "grpcs://[::1]:9000");
/// # Ok::<(), callsign_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub struct Endpoint {
    /// The protocol without its secure spelling, in lower case: `http`, `grpc`, `tcp`, ...
    pub protocol: Arc<str>,
    /// A host name or an IP address; IPv6 without brackets.
    pub host: Arc<str>,
    /// The port.
    pub port: NonZeroU16,
    /// Whether the protocol runs over TLS.
    pub secure: bool,
}

/// Protocols that have a spelling of their own for "over TLS".
const SECURE: [(&str, &str); 4] = [("http", "https"), ("grpc", "grpcs"), ("ws", "wss"), ("tcp", "tcps")];
const TLS_SUFFIX: &str = "+tls";
/// The longest host name, RFC 1035.
const MAX_HOST: usize = 253;

fn refuse(text: &str, rule: impl fmt::Display) -> Error {
    let shown: String = text.chars().take(80).collect();
    Error::invalid_input(format!("the endpoint `{}` {rule}", shown.escape_debug()))
}

impl Endpoint {
    /// Parses `protocol://host:port`.
    ///
    /// # Errors
    /// `InvalidInput`, naming the part that is wrong and what is allowed.
    pub fn new(url: impl AsRef<str>) -> Result<Self> {
        let text = url.as_ref();
        let (scheme, rest) = text.split_once("://").ok_or_else(|| {
            refuse(
                text,
                "has no protocol: write it as `protocol://host:port`, for example `http://10.0.0.5:8080`",
            )
        })?;
        let (protocol, secure) = split_scheme(scheme);
        if !is_protocol(protocol) {
            return Err(refuse(
                text,
                "has a protocol that is not one: a lower-case letter, then letters, digits, `-` and `.`",
            ));
        }
        let (host, port) = split_host_port(rest)
            .ok_or_else(|| refuse(text, "has no port: write it as `protocol://host:port`"))?;
        let host = check_host(host).map_err(|rule| refuse(text, rule))?;
        let port = parse_port(port).map_err(|rule| refuse(text, rule))?;
        Ok(Self { protocol: protocol.into(), host: host.into(), port, secure })
    }

    /// `host:port`, with brackets around an IPv6 address: what a socket wants.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

fn split_scheme(scheme: &str) -> (&str, bool) {
    if let Some((plain, _)) = SECURE.iter().find(|(_, secure)| *secure == scheme) {
        return (plain, true);
    }
    scheme.strip_suffix(TLS_SUFFIX).map_or((scheme, false), |plain| (plain, true))
}

fn is_protocol(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.'))
}

/// Splits at the last colon that is not inside brackets. `None` without a port.
pub(crate) fn split_host_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    (!port.contains(']') && (!host.contains(':') || host.ends_with(']'))).then_some((host, port))
}

/// The host without brackets, or the rule it breaks.
pub(crate) fn check_host(host: &str) -> Result<&str, String> {
    if host.is_empty() {
        return Err("has no host: write it as `protocol://host:port`".to_owned());
    }
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return match inner.parse::<Ipv6Addr>() {
            Ok(_) => Ok(inner),
            Err(_) => Err(format!("has a host in brackets that is not an IPv6 address: `{inner}`")),
        };
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if host.len() > MAX_HOST || !host.chars().all(legal) {
        return Err(format!(
            "has a host that is neither a name nor an IP address: letters, digits, `-`, `.` and `_`, at most \
             {MAX_HOST}, or an IPv6 address in brackets"
        ));
    }
    Ok(host)
}

/// The port, or the rule it breaks.
pub(crate) fn parse_port(port: &str) -> Result<NonZeroU16, String> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    digits
        .then(|| port.parse::<NonZeroU16>().ok())
        .flatten()
        .ok_or_else(|| format!("has the port `{port}`: 1 to 65535 are allowed"))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spelling = SECURE.iter().find(|(plain, _)| *plain == &*self.protocol).map(|(_, secure)| *secure);
        match (self.secure, spelling) {
            (false, _) => f.write_str(&self.protocol)?,
            (true, Some(secure)) => f.write_str(secure)?,
            (true, None) => write!(f, "{}{TLS_SUFFIX}", self.protocol)?,
        }
        write!(f, "://{}", self.authority())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<String> for Endpoint {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<Endpoint> for String {
    fn from(endpoint: Endpoint) -> Self {
        endpoint.to_string()
    }
}

/// The endpoints of an instance: one or more, in the owner's order.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<Endpoint>", into = "Vec<Endpoint>")]
pub struct Endpoints(Box<[Endpoint]>);

impl Endpoints {
    /// Checks that there is at least one.
    ///
    /// # Errors
    /// `InvalidInput` when `endpoints` is empty.
    pub fn new(endpoints: Vec<Endpoint>) -> Result<Self> {
        if endpoints.is_empty() {
            return Err(Error::invalid_input("the instance has no endpoint: at least one is needed"));
        }
        Ok(Self(endpoints.into_boxed_slice()))
    }

    /// The first endpoint whose protocol is `protocol`.
    #[must_use]
    pub fn by_protocol(&self, protocol: &str) -> Option<&Endpoint> {
        self.0.iter().find(|endpoint| &*endpoint.protocol == protocol)
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Endpoint> {
        self.0.iter_mut()
    }

    /// The first endpoint.
    #[must_use]
    pub fn primary(&self) -> &Endpoint {
        // Not empty: `new` is the only way to make one.
        &self.0[0]
    }
}

impl Deref for Endpoints {
    type Target = [Endpoint];

    fn deref(&self) -> &[Endpoint] {
        &self.0
    }
}

impl fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<Vec<Endpoint>> for Endpoints {
    type Error = Error;

    fn try_from(endpoints: Vec<Endpoint>) -> Result<Self> {
        Self::new(endpoints)
    }
}

impl From<Endpoints> for Vec<Endpoint> {
    fn from(endpoints: Endpoints) -> Self {
        endpoints.0.into_vec()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bad_endpoint_is_refused_with_the_part_that_is_wrong() {
        for (text, part) in [
            ("127.0.0.1:80", "has no protocol"),
            ("://h:80", "has a protocol that is not one"),
            ("HTTP://h:80", "has a protocol that is not one"),
            ("http://h", "has no port"),
            ("http://[::1]", "has no port"),
            ("http://::1:80", "has no port"),
            ("http://:80", "has no host"),
            ("http://h:70000", "has the port `70000`: 1 to 65535 are allowed"),
            ("http://h:0", "has the port `0`: 1 to 65535 are allowed"),
            ("http://h:+80", "has the port `+80`: 1 to 65535 are allowed"),
            ("http://h:", "has the port ``: 1 to 65535 are allowed"),
            ("http://h:80/path", "has the port `80/path`"),
            ("http://user@h:80", "neither a name nor an IP address"),
            ("http://[nonsense]:80", "not an IPv6 address"),
        ] {
            let error = Endpoint::new(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
            assert!(error.contains(text), "{text}: {error}");
        }
        assert!(Endpoints::new(vec![]).is_err());
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(
            protocol in "[a-z][a-z0-9.-]{0,8}",
            host in prop_oneof!["[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?(\\.[a-z]{1,5})?", Just("::1".to_owned()), Just("fe80::2".to_owned())],
            port in 1..=u16::MAX,
            secure: bool,
        ) {
            prop_assume!(!SECURE.iter().any(|(_, secure)| *secure == protocol));
            let endpoint = Endpoint {
                protocol: protocol.as_str().into(),
                host: host.as_str().into(),
                port: NonZeroU16::new(port).unwrap(),
                secure,
            };
            prop_assert_eq!(&Endpoint::new(endpoint.to_string()).unwrap(), &endpoint);
        }

        #[test]
        fn garbage_never_panics(text in ".{0,40}") {
            let _ = Endpoint::new(text);
        }
    }
}
