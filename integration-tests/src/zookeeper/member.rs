//! One server: its address, its configuration and its process.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;

use callsign_core::{Error, Result};

use super::archive;
use super::keys::Keys;
use super::options::{Options, PASSWORD, USER};
use super::raw::SUPER_DIGEST;
use super::version::java;
use crate::{Address, Launch, Server};

/// ZooKeeper's own ports.
const CLIENTS: u16 = 2181;
const TLS_CLIENTS: u16 = 2281;
const PEERS: u16 = 2888;
const ELECTION: u16 = 3888;

/// What keeps a server of a test small, and its start short.
const JAVA: [&str; 8] = [
    "-Xms64m",
    "-Xmx160m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Xshare:auto",
    "-Djava.net.preferIPv4Stack=true",
    "-Dzookeeper.jmx.log4j.disable=true",
];

/// One server of a ZooKeeper.
#[derive(Debug)]
pub struct Member {
    plain: String,
    endpoint: String,
    server: Arc<Server>,
    _address: Address,
}

impl Member {
    /// All servers of a ZooKeeper, not yet started; their data is below `folder`.
    pub(super) fn all(
        options: &Options,
        folder: &Path,
        keys: Option<&Keys>,
        addresses: Vec<Address>,
    ) -> Result<Vec<Self>> {
        let missing = |reason| Error::unsupported(format!("cannot start zookeeper: {reason}"));
        let java = java().map_err(missing)?;
        let jar = options.version.jar().map_err(missing)?;
        let jars = jar.parent().unwrap_or(&jar).join("*");
        let peers: String =
            addresses.iter().enumerate().fold(String::new(), |mut lines, (number, address)| {
                // Writing into a `String` cannot fail.
                let _ = writeln!(lines, "server.{}={}:{PEERS}:{ELECTION}", number + 1, address.ip());
                lines
            });
        let members = addresses.into_iter().enumerate().map(|(number, address)| {
            let home = folder.join(format!("m{number}"));
            let mut lines = configuration(options, keys, &address, &home);
            if options.members > 1 {
                lines.push_str(&peers);
            }
            let file = folder.join(format!("m{number}.cfg"));
            let write = |path: &Path, text: &str| {
                std::fs::write(path, text).map_err(|error| {
                    Error::unexpected(format!("cannot write {}", path.display())).with_source(error)
                })
            };
            std::fs::create_dir_all(&home)
                .map_err(|error| Error::unexpected("no folder for a zookeeper").with_source(error))?;
            write(&file, &lines)?;
            write(&home.join("myid"), &format!("{}\n", number + 1))?;
            let logins = folder.join("jaas.conf");
            write(
                &logins,
                &format!(
                    "Server {{ org.apache.zookeeper.server.auth.DigestLoginModule required user_{USER}=\"{PASSWORD}\"; }};"
                ),
            )?;
            let mut arguments: Vec<String> = JAVA.iter().map(|&argument| argument.to_owned()).collect();
            arguments.extend([
                // A test that kills a process does not cut the power.
                "-Dzookeeper.forceSync=no".to_owned(),
                "-Dzookeeper.preAllocSize=1024".to_owned(),
                "-Dreadonlymode.enabled=true".to_owned(),
                format!("-Dzookeeper.DigestAuthenticationProvider.superDigest={SUPER_DIGEST}"),
            ]);
            if options.sasl {
                arguments.push(format!("-Djava.security.auth.login.config={}", logins.display()));
            }
            arguments.extend(classes(options));
            arguments.extend(["-cp".to_owned(), jars.display().to_string()]);
            arguments.push("org.apache.zookeeper.server.quorum.QuorumPeerMain".to_owned());
            arguments.push(file.display().to_string());
            let launch = Launch {
                program: java.clone(),
                arguments: arguments.into_iter().map(Into::into).collect(),
                environment: Vec::new(),
                log: folder.join(format!("m{number}.log")),
            };
            // Its number stays when its data goes.
            let data = home.join("version-2");
            let port = if keys.is_some() { TLS_CLIENTS } else { CLIENTS };
            Ok(Self {
                plain: address.at(CLIENTS).to_string(),
                endpoint: address.at(port).to_string(),
                server: Arc::new(Server::new(format!("{} m{number}", options.version), launch, data)),
                _address: address,
            })
        });
        members.collect()
    }

    /// What clients connect to.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// What clients connect to without TLS.
    #[must_use]
    pub fn plain(&self) -> &str {
        &self.plain
    }

    /// Its process.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }
}

/// Which classes Java starts with: from an archive, where there is one that fits it.
fn classes(options: &Options) -> Option<String> {
    if let Some(draft) = &options.archive {
        return Some(format!("-XX:ArchiveClassesAtExit={}", draft.display()));
    }
    let archive = archive::path(options.version).ok().filter(|archive| archive.exists())?;
    Some(format!("-XX:SharedArchiveFile={}", archive.display()))
}

fn configuration(options: &Options, keys: Option<&Keys>, address: &Address, home: &Path) -> String {
    let mut lines = vec![
        "tickTime=200".to_owned(),
        "initLimit=50".to_owned(),
        "syncLimit=10".to_owned(),
        "minSessionTimeout=400".to_owned(),
        "maxSessionTimeout=60000".to_owned(),
        "maxClientCnxns=0".to_owned(),
        "admin.enableServer=false".to_owned(),
        "4lw.commands.whitelist=*".to_owned(),
        format!("dataDir={}", home.display()),
        format!("clientPort={CLIENTS}"),
        format!("clientPortAddress={}", address.ip()),
    ];
    if let Some(keys) = keys {
        lines.push("serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory".to_owned());
        lines.push(format!("secureClientPort={TLS_CLIENTS}"));
        lines.push(format!("secureClientPortAddress={}", address.ip()));
        lines.extend(keys.lines());
    }
    if options.sasl {
        lines.push("authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider".to_owned());
    }
    lines.extend(options.lines.iter().cloned());
    lines.push(String::new());
    lines.join("\n")
}
