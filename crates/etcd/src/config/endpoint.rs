//! The address of one member.
//!
//! Checked here because the client library takes nearly everything: it dials port 80 where none is given, and finds out
//! about a scheme that does not exist when it connects.

use callsign_core::config::HttpAddresses;

/// How they are written; 2379 is etcd's own port for clients.
pub(super) const ADDRESSES: HttpAddresses = HttpAddresses {
    noun: "endpoint",
    port: 2379,
    no_user: "write user and password as `username` and `password`",
    no_list: "names several hosts: write a list of endpoints",
};

#[cfg(test)]
mod tests {
    use callsign_core::config::HttpAddress;
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str, encrypted: bool) -> Result<HttpAddress, String> {
        ADDRESSES.one(text, encrypted)
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
