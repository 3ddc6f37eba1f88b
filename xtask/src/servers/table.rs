//! Which servers there are, and which Debian packages they come from.

/// A server in one version.
#[derive(Debug)]
pub(crate) struct Server {
    /// Also the folder's name in the cache, and how test subjects that run on it start.
    pub(crate) name: &'static str,
    pub(crate) suite: &'static str,
    /// The server's own first, then what it needs beyond a bare system.
    pub(crate) packages: &'static [&'static str],
    /// The path of its program among the packages' files.
    pub(crate) program: &'static str,
    /// The arguments with which the program says its version and ends; none for what cannot be started by itself.
    pub(crate) version: &'static [&'static str],
    /// Whether CI fails without it. What a suite that is still in motion holds may be gone tomorrow.
    pub(crate) required: bool,
}

/// No versions: a point release drops the packages of the one before, so each suite's index says what there is.
pub(crate) const SERVERS: [Server; 4] = [
    Server {
        name: "etcd-3.4",
        suite: "bookworm",
        packages: &["etcd-server"],
        program: "usr/bin/etcd",
        version: &["--version"],
        required: true,
    },
    Server {
        name: "etcd-3.5",
        suite: "trixie",
        packages: &["etcd-server"],
        program: "usr/bin/etcd",
        version: &["--version"],
        required: true,
    },
    Server {
        name: "etcd-sid",
        suite: "sid",
        packages: &["etcd-server"],
        program: "usr/bin/etcd",
        version: &["--version"],
        required: false,
    },
    Server {
        name: "consul",
        suite: "bullseye",
        packages: &["consul"],
        program: "usr/bin/consul",
        version: &["version"],
        required: true,
    },
];

impl Server {
    /// The variable that holds the path of a program to use instead: `CALLSIGN_TEST_ETCD_3_4`.
    pub(crate) fn variable(&self) -> String {
        let word = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        format!("CALLSIGN_TEST_{}", self.name.chars().map(word).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_server_has_a_name_and_a_variable_of_its_own() {
        let names: BTreeSet<_> = SERVERS.iter().map(|server| server.name).collect();
        let variables: BTreeSet<_> = SERVERS.iter().map(Server::variable).collect();
        assert_eq!((names.len(), variables.len()), (SERVERS.len(), SERVERS.len()));
        assert!(variables.contains("CALLSIGN_TEST_ETCD_3_4"), "{variables:?}");
    }

    #[test]
    fn each_server_has_a_package_and_a_program_in_it() {
        for Server { name, packages, program, .. } in &SERVERS {
            assert!(!packages.is_empty(), "{name}");
            assert!(!program.starts_with('/'), "{name}: {program} is to be seen from the server's folder");
        }
    }
}
