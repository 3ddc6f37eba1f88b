//! One agent: its address and its process.

use std::path::Path;
use std::sync::Arc;

use callsign_core::{Error, Result};

use super::keys::Keys;
use super::options::{Kind, Options, program};
use super::raw::Raw;
use crate::{Address, Launch, Server};

/// Consul's own ports.
const HTTP: u16 = 8500;
const HTTPS: u16 = 8501;
const SERF: u16 = 8301;

/// One agent.
#[derive(Debug)]
pub struct Agent {
    name: String,
    url: String,
    server: Arc<Server>,
    raw: Raw,
    _address: Address,
}

impl Agent {
    /// All agents of a Consul, not yet started; their data is below `folder`. The last one is for clients.
    pub(super) fn all(
        options: &Options,
        folder: &Path,
        keys: Option<&Keys>,
        addresses: Vec<Address>,
    ) -> Result<Vec<Self>> {
        let program =
            program().map_err(|reason| Error::unsupported(format!("cannot start consul: {reason}")))?;
        let join: Vec<String> =
            addresses.iter().map(|address| format!("-retry-join={}", address.at(SERF))).collect();
        let last = addresses.len() - 1;
        let agents = addresses.into_iter().enumerate().map(|(number, address)| {
            let name = format!("a{number}");
            let home = folder.join(&name);
            let mut arguments = vec![
                "agent".to_owned(),
                format!("-node={name}"),
                format!("-bind={}", address.ip()),
                format!("-client={}", address.ip()),
                format!("-http-port={HTTP}"),
                format!("-serf-lan-port={SERF}"),
                "-serf-wan-port=-1".to_owned(),
                "-dns-port=-1".to_owned(),
                "-grpc-port=-1".to_owned(),
                "-log-level=warn".to_owned(),
                "-hcl=disable_update_check = true  performance { raft_multiplier = 1 }".to_owned(),
            ];
            if !options.default_limits {
                arguments.push("-hcl=limits { http_max_conns_per_client = 2000 }".to_owned());
            }
            if let Some(token) = &options.management {
                arguments.push(format!(
                    "-hcl=acl {{ enabled = true  default_policy = \"deny\"  tokens {{ master = \"{token}\"  agent = \"{token}\" }} }}"
                ));
            }
            if let Some(keys) = keys {
                arguments.push(format!("-https-port={HTTPS}"));
                arguments.push(keys.setting());
            }
            match options.kind {
                Kind::Dev => arguments.push("-dev".to_owned()),
                Kind::Single => arguments.extend(server(&home, 1)),
                Kind::Cluster if number < last => arguments.extend(server(&home, last)),
                Kind::Cluster => arguments.push(format!("-data-dir={}", home.display())),
            }
            if options.kind == Kind::Cluster {
                arguments.extend(join.iter().cloned());
                arguments.push("-retry-interval=1s".to_owned());
            }
            let launch = Launch {
                program: program.clone(),
                arguments: arguments.into_iter().map(Into::into).collect(),
                environment: Vec::new(),
                log: folder.join(format!("{name}.log")),
            };
            let plain = format!("http://{}", address.at(HTTP));
            let url = keys.map_or_else(|| plain.clone(), |_| format!("https://{}", address.at(HTTPS)));
            Ok(Self {
                raw: Raw::new(&plain, options.management.as_deref())?,
                server: Arc::new(Server::new(format!("consul {name}"), launch, home)),
                url,
                name,
                _address: address,
            })
        });
        agents.collect()
    }

    /// What clients connect to.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Its plain client, with every right.
    #[must_use]
    pub fn raw(&self) -> &Raw {
        &self.raw
    }
}

fn server(home: &Path, servers: usize) -> [String; 3] {
    ["-server".to_owned(), format!("-bootstrap-expect={servers}"), format!("-data-dir={}", home.display())]
}
