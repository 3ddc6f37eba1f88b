//! The address of one agent: what may be written, and what it means.

use callsign_core::Endpoint;

/// Consul's own port for HTTP.
const PORT: u16 = 8500;

/// One agent's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) encrypted: bool,
    /// Lower case, IPv6 without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    /// Reads `http://host[:port]`, `https://host[:port]`, or `host[:port]`, which is encrypted as `encrypted` says.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub(super) fn parse(text: &str, encrypted: bool) -> Result<Self, String> {
        let refuse = |rule: &str| format!("the address `{}` {rule}", shown(text));
        if text.contains('@') {
            return Err(refuse("has a user in it: Consul has tokens, set `token_file` or `token`"));
        }
        let (encrypted, rest) = match text.split_once("://") {
            None => (encrypted, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(refuse("has a scheme that is not one of `http` and `https`")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(',') {
            return Err(refuse("names several agents: write a list in `addresses`"));
        }
        if rest.contains(['/', '?', '#']) {
            return Err(refuse("has a path, a query or a fragment: only `http://host:port` is allowed"));
        }
        if rest.is_empty() || rest.starts_with(':') && !rest.starts_with("::") {
            return Err(refuse("has no host: write it as `http://host:port`"));
        }
        if !rest.starts_with('[') && rest.matches(':').count() > 1 {
            return Err(refuse("has more than one colon: write an IPv6 address in brackets"));
        }
        let scheme = if encrypted { "https" } else { "http" };
        let port = if has_port(rest) { String::new() } else { format!(":{PORT}") };
        let endpoint = Endpoint::new(format!("{scheme}://{}{port}", rest.to_ascii_lowercase()))
            .map_err(|error| error.context().replacen("the endpoint", "the address", 1))?;
        Ok(Self { encrypted, host: endpoint.host.to_string(), port: endpoint.port.get() })
    }

    /// `http://host:port` or `https://host:port`.
    pub(crate) fn url(&self) -> String {
        self.url_of(&self.host)
    }

    /// The same with another host: the name in the server's certificate, for instance.
    pub(crate) fn url_of(&self, host: &str) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        if host.contains(':') {
            format!("{scheme}://[{host}]:{}", self.port)
        } else {
            format!("{scheme}://{host}:{}", self.port)
        }
    }
}

fn has_port(text: &str) -> bool {
    text.rsplit_once(']').map_or(text, |(_, behind)| behind).contains(':')
}

/// What may be shown of an address that was not checked: not what stands before an `@`, and not all of a novel.
pub(super) fn shown(text: &str) -> String {
    let (hidden, rest) = text.rsplit_once('@').map_or(("", text), |(_, rest)| ("***@", rest));
    let rest: String = rest.chars().take(80).flat_map(char::escape_debug).collect();
    format!("{hidden}{rest}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_a_host_and_whatever_else_is_known() {
        for (text, encrypted, url) in [
            ("http://127.0.0.1:8500", true, "http://127.0.0.1:8500"),
            ("http://127.0.0.1/", false, "http://127.0.0.1:8500"),
            ("https://Consul.Example:8501", false, "https://consul.example:8501"),
            ("consul", true, "https://consul:8500"),
            ("[::1]:1", false, "http://[::1]:1"),
        ] {
            assert_eq!(Address::parse(text, encrypted).unwrap().url(), url, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_rule_it_breaks() {
        for (text, message) in [
            ("", "the address `` has no host: write it as `http://host:port`"),
            ("http://:8500", "the address `http://:8500` has no host: write it as `http://host:port`"),
            ("http://h:0", "the address `http://h:0` has the port `0`: 1 to 65535 are allowed"),
            (
                "http://h/consul",
                "the address `http://h/consul` has a path, a query or a fragment: only `http://host:port` is allowed",
            ),
            ("consul://h", "the address `consul://h` has a scheme that is not one of `http` and `https`"),
            ("::1", "the address `::1` has more than one colon: write an IPv6 address in brackets"),
            ("a,b", "the address `a,b` names several agents: write a list in `addresses`"),
            (
                "http://x:hunter2@h",
                "the address `***@h` has a user in it: Consul has tokens, set `token_file` or `token`",
            ),
        ] {
            assert_eq!(Address::parse(text, false).unwrap_err(), message);
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_what_is_taken_is_taken_again(text in "\\PC{0,40}", encrypted: bool) {
            if let Ok(address) = Address::parse(&text, encrypted) {
                prop_assert_eq!(&Address::parse(&address.url(), !encrypted).unwrap(), &address);
            }
        }
    }
}
