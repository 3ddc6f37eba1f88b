//! The addresses of servers that speak HTTP: what may be written, and what it means.

use crate::Endpoint;

/// How the addresses of a registry's servers are written.
#[derive(Debug, Clone, Copy)]
pub struct HttpAddresses {
    /// What the documents call one of them: "endpoint".
    pub noun: &'static str,
    /// The port where none is written.
    pub port: u16,
    /// What to do instead of writing a user into it.
    pub no_user: &'static str,
    /// What to do instead of writing several into one.
    pub no_list: &'static str,
}

/// The address of one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpAddress {
    /// Whether it is `https`.
    pub encrypted: bool,
    /// Lower case, IPv6 without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

impl HttpAddresses {
    /// Reads a list of addresses: each there once, and all encrypted or none. `tls`: whether there is a `tls` table.
    ///
    /// # Errors
    /// The rule that one of them breaks.
    pub fn list(&self, texts: &[String], tls: bool) -> Result<Vec<HttpAddress>, String> {
        let noun = self.noun;
        let mut addresses: Vec<HttpAddress> = Vec::with_capacity(texts.len());
        for text in texts {
            let address = self.one(text, tls)?;
            if addresses.contains(&address) {
                return Err(format!("the {noun} `{}` is there twice", address.url()));
            }
            if tls && !address.encrypted {
                return Err(format!(
                    "the {noun} `{}` is not encrypted, and there is a `tls` table: write `https://`, or leave the table out",
                    address.url()
                ));
            }
            addresses.push(address);
        }
        let (Some(first), rest) = (addresses.first(), addresses.get(1..).unwrap_or_default()) else {
            return Err(format!(
                "there is none: name at least one, such as `http://127.0.0.1:{}`",
                self.port
            ));
        };
        match rest.iter().find(|address| address.encrypted != first.encrypted) {
            None => Ok(addresses),
            Some(other) => {
                let (first, other) = (first.url(), other.url());
                Err(format!("`{first}` and `{other}`: either all are `http` or all are `https`"))
            }
        }
    }

    /// Reads `http://host[:port]`, `https://host[:port]`, or `host[:port]`, which is encrypted as `encrypted` says.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub fn one(&self, text: &str, encrypted: bool) -> Result<HttpAddress, String> {
        let refuse = |rule: &str| format!("the {} `{}` {rule}", self.noun, HttpAddress::shown(text));
        if text.contains('@') {
            return Err(refuse(&format!("has a user in it: {}", self.no_user)));
        }
        let (encrypted, rest) = match text.split_once("://") {
            None => (encrypted, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(refuse("has a scheme that is not one of `http` and `https`")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(',') {
            return Err(refuse(self.no_list));
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
        let port = if has_port(rest) { String::new() } else { format!(":{}", self.port) };
        let endpoint = Endpoint::new(format!("{scheme}://{}{port}", rest.to_ascii_lowercase()))
            .map_err(|error| error.context().replacen("the endpoint", &format!("the {}", self.noun), 1))?;
        Ok(HttpAddress { encrypted, host: endpoint.host.to_string(), port: endpoint.port.get() })
    }
}

impl HttpAddress {
    /// `http://host:port` or `https://host:port`, with brackets around an IPv6 address.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(&self.host)
    }

    /// The same with another host: the name in the server's certificate, for instance.
    #[must_use]
    pub fn url_of(&self, host: &str) -> String {
        let scheme = if self.encrypted { "https" } else { "http" };
        if host.contains(':') {
            format!("{scheme}://[{host}]:{}", self.port)
        } else {
            format!("{scheme}://{host}:{}", self.port)
        }
    }

    /// What may be shown of an address that was not checked: not what stands before an `@`, and not all of a novel.
    #[must_use]
    pub fn shown(text: &str) -> String {
        let (hidden, rest) = text.rsplit_once('@').map_or(("", text), |(_, rest)| ("***@", rest));
        let rest: String = rest.chars().take(80).flat_map(char::escape_debug).collect();
        format!("{hidden}{rest}")
    }
}

fn has_port(text: &str) -> bool {
    text.rsplit_once(']').map_or(text, |(_, behind)| behind).contains(':')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ADDRESSES: HttpAddresses = HttpAddresses {
        noun: "endpoint",
        port: 2379,
        no_user: "write user and password as `username` and `password`",
        no_list: "names several hosts: write a list of endpoints",
    };

    fn one(text: &str, encrypted: bool) -> Result<HttpAddress, String> {
        ADDRESSES.one(text, encrypted)
    }

    #[test]
    fn of_a_list_each_is_there_once_and_all_or_none_are_encrypted() {
        let list = |texts: &[&str], tls| {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            ADDRESSES.list(&texts, tls)
        };
        assert_eq!(list(&["a", "b"], true).unwrap().len(), 2);
        for (texts, tls, message) in [
            (&[][..], false, "there is none: name at least one, such as `http://127.0.0.1:2379`"),
            (&["a", "http://A:2379/"], false, "the endpoint `http://a:2379` is there twice"),
            (
                &["http://a", "https://b"],
                false,
                "`http://a:2379` and `https://b:2379`: either all are `http` or all are `https`",
            ),
            (
                &["http://a"],
                true,
                "the endpoint `http://a:2379` is not encrypted, and there is a `tls` table: write `https://`, or leave the table out",
            ),
        ] {
            assert_eq!(list(texts, tls).unwrap_err(), message);
        }
    }

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
            assert_eq!(one(text, encrypted).unwrap().url(), url, "{text}");
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
            assert_eq!(one(text, false).unwrap_err(), message);
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics_and_what_is_taken_is_taken_again(text in "\\PC{0,40}", encrypted: bool) {
            if let Ok(address) = one(&text, encrypted) {
                prop_assert_eq!(&one(&address.url(), !encrypted).unwrap(), &address);
            }
        }
    }
}
