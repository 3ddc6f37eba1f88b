//! One member: its address, its process, and the ways to it.

use std::path::Path;
use std::sync::Arc;

use callsign_core::task::Spawner;
use callsign_core::{Error, Result};

use super::keys::Keys;
use super::options::Options;
use crate::callers::caller;
use crate::proxy::{Proxy, Sort};
use crate::{Address, Launch, Server};

/// etcd's own ports, and those of the proxies before them.
const CLIENTS: u16 = 2379;
const PEERS: u16 = 2380;
const CLIENTS_PROXY: u16 = 12379;
const PEERS_PROXY: u16 = 12380;

/// One member of an etcd.
#[derive(Debug)]
pub struct Member {
    /// What clients connect to, past the proxy.
    direct: String,
    endpoint: String,
    server: Arc<Server>,
    clients: Option<Proxy>,
    peers: Option<Proxy>,
    _address: Address,
}

impl Member {
    /// All members of an etcd, not yet started; their data is below `folder`.
    pub(super) fn all(
        options: &Options,
        folder: &Path,
        keys: &Keys,
        addresses: Vec<Address>,
    ) -> Result<Vec<Self>> {
        let program = options
            .version
            .program()
            .map_err(|reason| Error::unsupported(format!("cannot start etcd: {reason}")))?;
        let cluster: Vec<String> = addresses
            .iter()
            .enumerate()
            .map(|(number, address)| format!("m{number}={}", peer_url(options, address)))
            .collect();
        let token = format!("--initial-cluster-token={}", fastrand::u64(..));
        let servers: Vec<Arc<Server>> = addresses
            .iter()
            .enumerate()
            .map(|(number, address)| {
                let home = folder.join(format!("m{number}"));
                let mut arguments = vec![
                    format!("--name=m{number}"),
                    format!("--data-dir={}", home.display()),
                    format!("--listen-client-urls={}", client_url(options, address, CLIENTS)),
                    format!(
                        "--advertise-client-urls={}",
                        client_url(options, address, clients_port(options))
                    ),
                    format!("--listen-peer-urls=http://{}", address.at(PEERS)),
                    format!("--initial-advertise-peer-urls={}", peer_url(options, address)),
                    format!("--initial-cluster={}", cluster.join(",")),
                    token.clone(),
                ];
                arguments.extend(keys.arguments(options));
                arguments.extend(options.flags.iter().cloned());
                let launch = Launch {
                    program: program.clone(),
                    arguments: arguments.into_iter().map(Into::into).collect(),
                    environment: Vec::new(),
                    log: folder.join(format!("m{number}.log")),
                };
                Arc::new(Server::new(format!("{} m{number}", options.version), launch, home))
            })
            .collect();
        let members =
            addresses.into_iter().zip(servers.iter()).enumerate().map(|(own, (address, server))| {
                let clients = options
                    .client_proxies
                    .then(|| Proxy::start(address.at(CLIENTS_PROXY), address.at(CLIENTS)))
                    .transpose()?;
                let peers = (options.members > 1)
                    .then(|| {
                        let sort = sorted_by_member(&servers, own);
                        Proxy::sorted(address.at(PEERS_PROXY), address.at(PEERS), options.members, sort)
                    })
                    .transpose()?;
                Ok(Self {
                    direct: client_url(options, &address, CLIENTS),
                    endpoint: client_url(options, &address, clients_port(options)),
                    server: server.clone(),
                    clients,
                    peers,
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

    /// What connects past the proxy for clients, where there is one.
    #[must_use]
    pub fn direct(&self) -> &str {
        &self.direct
    }

    /// Its process.
    #[must_use]
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// The proxy that clients come through, where there is one.
    #[must_use]
    pub fn clients(&self) -> Option<&Proxy> {
        self.clients.as_ref()
    }

    /// The proxy that other members come through, with a lane for each of them.
    pub(super) fn peers(&self) -> Option<&Proxy> {
        self.peers.as_ref()
    }
}

fn client_url(options: &Options, address: &Address, port: u16) -> String {
    format!("{}://{}", options.scheme(), address.at(port))
}

fn peer_url(options: &Options, address: &Address) -> String {
    let port = if options.members > 1 { PEERS_PROXY } else { PEERS };
    format!("http://{}", address.at(port))
}

fn clients_port(options: &Options) -> u16 {
    if options.client_proxies { CLIENTS_PROXY } else { CLIENTS }
}

/// The lane of a connection to the member `own` is the number of who has connected. Nobody is looked for while the
/// member is not there: the others try it ten times a second, and a look is dear.
fn sorted_by_member(servers: &[Arc<Server>], own: usize) -> Sort {
    let servers: Arc<[Arc<Server>]> = servers.into();
    Arc::new(move |peer, local| {
        let servers = servers.clone();
        Box::pin(async move {
            servers.get(own)?.running().ok()?;
            let look = move || {
                let processes: Vec<_> =
                    servers.iter().map(|server| server.running().ok().map(|process| process.id())).collect();
                caller(peer, local, &processes)
            };
            Spawner::current().ok()?.blocking(look).await.ok()?
        })
    })
}
