//! The address of one agent.

use callsign_core::config::HttpAddresses;

/// How they are written; 8500 is Consul's own port for HTTP.
pub(super) const ADDRESSES: HttpAddresses = HttpAddresses {
    noun: "address",
    port: 8500,
    no_user: "Consul has tokens, set `token_file` or `token`",
    no_list: "names several agents: write a list in `addresses`",
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
            ("http://127.0.0.1:8500", true, "http://127.0.0.1:8500"),
            ("http://127.0.0.1/", false, "http://127.0.0.1:8500"),
            ("https://Consul.Example:8501", false, "https://consul.example:8501"),
            ("consul", true, "https://consul:8500"),
            ("[::1]:1", false, "http://[::1]:1"),
        ] {
            assert_eq!(one(text, encrypted).unwrap().url(), url, "{text}");
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
