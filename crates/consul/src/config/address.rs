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
    use super::*;

    #[test]
    fn an_address_has_consuls_port_and_what_does_not_belong_into_it_is_said_where_it_does() {
        let one = |text| ADDRESSES.one(text, false).map(|address| address.url());
        assert_eq!(one("consul").unwrap(), "http://consul:8500");
        for (text, message) in [
            ("http://h:0", "the address `http://h:0` has the port `0`: 1 to 65535 are allowed"),
            (
                "http://x:hunter2@h",
                "the address `***@h` has a user in it: Consul has tokens, set `token_file` or `token`",
            ),
            ("a,b", "the address `a,b` names several agents: write a list in `addresses`"),
        ] {
            assert_eq!(one(text).unwrap_err(), message);
        }
    }
}
