//! The address of one server: what may be written, and what it means.
//!
//! Checked here because the client library takes nearly everything, and panics on a host that no certificate can be for.

use std::fmt;

use callsign_core::Endpoint;

/// ZooKeeper's own port for clients.
const PORT: u16 = 2181;

/// One server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// `host:port`, in lower case, with brackets around an IPv6 address.
    authority: String,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Server {
    /// Reads `host[:port]`.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refuse = |rule: &str| format!("the server `{}` {rule}", shown(text));
        if text.contains('@') {
            return Err(refuse("has a user in it: write user and password as `username` and `password`"));
        }
        if text.contains("://") {
            return Err(refuse("has a scheme: write `host:port`, and a table `tls` for TLS"));
        }
        if text.contains(',') {
            return Err(refuse("names several hosts: write a list of servers"));
        }
        if text.contains('/') {
            return Err(refuse("has a path: write it as `chroot`"));
        }
        if text.contains(['?', '#']) {
            return Err(refuse("has a query or a fragment: only `host:port` is allowed"));
        }
        if text.is_empty() || text.starts_with(':') && !text.starts_with("::") {
            return Err(refuse("has no host: write it as `host:port`"));
        }
        if !text.starts_with('[') && text.matches(':').count() > 1 {
            return Err(refuse("has more than one colon: write an IPv6 address in brackets"));
        }
        let port = if has_port(text) { String::new() } else { format!(":{PORT}") };
        let endpoint = Endpoint::new(format!("tcp://{}{port}", text.to_ascii_lowercase()))
            .map_err(|error| error.context().to_owned())?;
        Ok(Self {
            authority: endpoint.authority(),
            host: endpoint.host.to_string(),
            port: endpoint.port.get(),
        })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.authority)
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
    fn a_server_is_a_host_and_a_port() {
        for (text, authority) in [
            ("127.0.0.1:2182", "127.0.0.1:2182"),
            ("Zoo-1.Example", "zoo-1.example:2181"),
            ("[::1]", "[::1]:2181"),
            ("[FE80::1]:1", "[fe80::1]:1"),
        ] {
            assert_eq!(Server::parse(text).unwrap().to_string(), authority, "{text}");
        }
        assert_eq!(Server::parse("[::1]:7").unwrap().host, "::1");
    }

    #[test]
    fn what_is_no_server_is_refused_with_the_rule_it_breaks() {
        for (text, message) in [
            ("", "the server `` has no host: write it as `host:port`"),
            (":2181", "the server `:2181` has no host: write it as `host:port`"),
            ("h:0", "the endpoint `tcp://h:0` has the port `0`: 1 to 65535 are allowed"),
            ("::1", "the server `::1` has more than one colon: write an IPv6 address in brackets"),
            ("h:1/chroot", "the server `h:1/chroot` has a path: write it as `chroot`"),
            ("h1:1,h2:2", "the server `h1:1,h2:2` names several hosts: write a list of servers"),
            (
                "tcp+tls://h:1",
                "the server `tcp+tls://h:1` has a scheme: write `host:port`, and a table `tls` for TLS",
            ),
            (
                "u:hunter2@h:1",
                "the server `***@h:1` has a user in it: write user and password as `username` and `password`",
            ),
        ] {
            assert_eq!(Server::parse(text).unwrap_err(), message);
        }
    }

    proptest! {
        #[test]
        fn garbage_is_no_server_and_what_is_taken_is_taken_again(text in "\\PC{0,40}") {
            if let Ok(server) = Server::parse(&text) {
                prop_assert_eq!(&Server::parse(&server.to_string()).unwrap(), &server);
            }
        }
    }
}
