//! The address of one member: what may be written, and what it means.
//!
//! Checked here because the client library takes nearly everything: it dials port 80 where none is given, and finds out
//! about a scheme that does not exist when it connects.

use callsign_core::Endpoint;

/// etcd's own port for clients.
const PORT: u16 = 2379;

/// One member's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) encrypted: bool,
    /// `host:port`, in lower case, with brackets around an IPv6 address.
    authority: String,
}

impl Address {
    /// Reads `http://host[:port]`, `https://host[:port]`, or `host[:port]`, which is encrypted as `encrypted` says.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub(super) fn parse(text: &str, encrypted: bool) -> Result<Self, String> {
        let refuse = |rule: &str| format!("the endpoint `{}` {rule}", shown(text));
        if text.contains('@') {
            return Err(refuse("has a user in it: write user and password as `username` and `password`"));
        }
        let (encrypted, rest) = match text.split_once("://") {
            None => (encrypted, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(refuse("has a scheme that is not one of `http` and `https`")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(',') {
            return Err(refuse("names several hosts: write a list of endpoints"));
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
            .map_err(|error| error.context().to_owned())?;
        Ok(Self { encrypted, authority: endpoint.authority() })
    }

    /// As the client library wants it.
    pub(super) fn url(&self) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        format!("{scheme}://{}", self.authority)
    }
}

fn has_port(text: &str) -> bool {
    text.rsplit_once(']').map_or(text, |(_, behind)| behind).contains(':')
}

/// What may be shown of an endpoint that was not checked: not what stands before an `@`, and not all of a novel.
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
            ("http://127.0.0.1:2379", false, "http://127.0.0.1:2379"),
            ("http://127.0.0.1:2379/", true, "http://127.0.0.1:2379"),
            ("https://Etcd-1.Example", false, "https://etcd-1.example:2379"),
            ("etcd-1", false, "http://etcd-1:2379"),
            ("etcd-1:1234", true, "https://etcd-1:1234"),
            ("[::1]", false, "http://[::1]:2379"),
            ("https://[FE80::1]:1", false, "https://[fe80::1]:1"),
        ] {
            assert_eq!(Address::parse(text, encrypted).unwrap().url(), url, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_rule_it_breaks() {
        for (text, message) in [
            ("", "the endpoint `` has no host: write it as `http://host:port`"),
            ("https://", "the endpoint `https://` has no host: write it as `http://host:port`"),
            ("http://:2379", "the endpoint `http://:2379` has no host: write it as `http://host:port`"),
            ("http://h:0", "the endpoint `http://h:0` has the port `0`: 1 to 65535 are allowed"),
            ("h:99999", "the endpoint `http://h:99999` has the port `99999`: 1 to 65535 are allowed"),
            ("h:etcd", "the endpoint `http://h:etcd` has the port `etcd`: 1 to 65535 are allowed"),
            ("h:", "the endpoint `http://h:` has the port ``: 1 to 65535 are allowed"),
            (
                "http://h:1/v3",
                "the endpoint `http://h:1/v3` has a path, a query or a fragment: only `http://host:port` is allowed",
            ),
            (
                "h?x=1",
                "the endpoint `h?x=1` has a path, a query or a fragment: only `http://host:port` is allowed",
            ),
            (
                "http://h:1#x",
                "the endpoint `http://h:1#x` has a path, a query or a fragment: only `http://host:port` is allowed",
            ),
            (
                "unix:///run/etcd.sock",
                "the endpoint `unix:///run/etcd.sock` has a scheme that is not one of `http` and `https`",
            ),
            ("HTTP://h", "the endpoint `HTTP://h` has a scheme that is not one of `http` and `https`"),
            ("::1", "the endpoint `::1` has more than one colon: write an IPv6 address in brackets"),
            ("h1:1,h2:2", "the endpoint `h1:1,h2:2` names several hosts: write a list of endpoints"),
            (
                "[etcd]:1",
                "the endpoint `http://[etcd]:1` has a host in brackets that is not an IPv6 address: `etcd`",
            ),
            (
                "http://root:hunter2@h:1",
                "the endpoint `***@h:1` has a user in it: write user and password as `username` and `password`",
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
