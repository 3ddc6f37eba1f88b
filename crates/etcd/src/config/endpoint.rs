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
    use super::*;

    #[test]
    fn an_endpoint_has_etcds_port_and_what_does_not_belong_into_it_is_said_where_it_does() {
        let one = |text| ADDRESSES.one(text, false).map(|address| address.url());
        assert_eq!(one("etcd-1").unwrap(), "http://etcd-1:2379");
        for (text, message) in [
            (
                "http://root:hunter2@h:1",
                "the endpoint `***@h:1` has a user in it: write user and password as `username` and `password`",
            ),
            ("h1:1,h2:2", "the endpoint `h1:1,h2:2` names several hosts: write a list of endpoints"),
        ] {
            assert_eq!(one(text).unwrap_err(), message);
        }
    }
}
