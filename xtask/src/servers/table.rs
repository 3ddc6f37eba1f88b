//! Which servers there are, and where they come from: Debian's packages, or a crate that cargo builds.

/// A server in one version.
#[derive(Debug)]
pub(crate) struct Server {
    /// Also the folder's name in the cache, and how test subjects that run on it start.
    pub(crate) name: &'static str,
    pub(crate) source: Source,
    /// The path of its program among its files.
    pub(crate) program: &'static str,
    /// The arguments with which the program says its version and ends; none for what cannot be started by itself.
    pub(crate) version: &'static [&'static str],
    /// Whether CI fails without it. What a suite that is still in motion holds may be gone tomorrow.
    pub(crate) required: bool,
}

/// Where a server comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    Debian {
        suite: &'static str,
        /// The server's own first, then what it needs beyond a bare system.
        packages: &'static [&'static str],
    },
    /// A program of a crate, built once: in debug, which is fast enough for tests and takes a quarter of the time.
    Crate { name: &'static str, version: &'static str },
}

/// No versions of Debian's: a point release drops the packages of the one before, so each suite's index says what there is.
pub(crate) const SERVERS: [Server; 8] = [
    Server {
        name: "etcd-3.4",
        source: Source::Debian { suite: "bookworm", packages: &["etcd-server"] },
        program: "usr/bin/etcd",
        version: &["--version"],
        required: true,
    },
    Server {
        name: "etcd-3.5",
        source: Source::Debian { suite: "trixie", packages: &["etcd-server"] },
        program: "usr/bin/etcd",
        version: &["--version"],
        required: true,
    },
    Server {
        name: "etcd-sid",
        source: Source::Debian { suite: "sid", packages: &["etcd-server"] },
        program: "usr/bin/etcd",
        version: &["--version"],
        required: false,
    },
    Server {
        name: "consul",
        source: Source::Debian { suite: "bullseye", packages: &["consul"] },
        program: "usr/bin/consul",
        version: &["version"],
        required: true,
    },
    Server {
        name: "java",
        source: Source::Debian { suite: "bookworm", packages: &["openjdk-17-jre-headless"] },
        program: JAVA,
        version: &["-version"],
        required: true,
    },
    Server {
        name: "zookeeper-3.8",
        source: Source::Debian { suite: "bookworm", packages: &ZOOKEEPER },
        program: "usr/share/java/zookeeper.jar",
        version: &[],
        required: true,
    },
    Server {
        name: "zookeeper-3.9",
        source: Source::Debian { suite: "trixie", packages: &ZOOKEEPER },
        program: "usr/share/java/zookeeper.jar",
        version: &[],
        required: true,
    },
    Server {
        name: "rnacos",
        source: Source::Crate { name: "rnacos", version: "0.8.8" },
        program: "bin/rnacos",
        version: &[],
        required: true,
    },
];

/// Runs what is no program by itself. Debian names its folder after the machine.
const JAVA: &str = if cfg!(target_arch = "aarch64") {
    "usr/lib/jvm/java-17-openjdk-arm64/bin/java"
} else {
    "usr/lib/jvm/java-17-openjdk-amd64/bin/java"
};

/// Started by `java -cp`, with all that these unpack in its class path; Netty serves TLS.
const ZOOKEEPER: [&str; 6] = [
    "libzookeeper-java",
    "libslf4j-java",
    "libnetty-java",
    "libdropwizard-metrics-java",
    "libsnappy-java",
    "libcommons-cli-java",
];

impl Source {
    /// In a few words.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::Debian { suite, .. } => format!("from Debian {suite}"),
            Self::Crate { name, version } => {
                format!("built by cargo from {name} {version}, in about six minutes")
            }
        }
    }
}

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
    fn each_server_has_a_source_and_a_program_in_it() {
        for Server { name, source, program, .. } in &SERVERS {
            if let Source::Debian { packages, .. } = source {
                assert!(!packages.is_empty(), "{name}");
            }
            assert!(!program.starts_with('/'), "{name}: {program} is to be seen from the server's folder");
        }
    }
}
