//! The ways of clients to the members: owners and views each have their own.

use std::net::SocketAddr;
use std::sync::Arc;

use callsign_core::{Error, Result};

use super::plan::Side;
use crate::etcd::Etcd;
use crate::proxy::{Mode, Proxy};

/// Ports on a member's address that nothing else uses.
const OWNERS: u16 = 12_391;
const VIEWS: u16 = 12_392;

/// A proxy for each member and side.
#[derive(Debug)]
pub(super) struct Ways {
    owners: Vec<Proxy>,
    views: Vec<Proxy>,
}

impl Ways {
    pub(super) fn open(etcd: &Etcd) -> Result<Arc<Self>> {
        let all =
            |port| etcd.members().iter().map(|member| open(member.direct(), port)).collect::<Result<_>>();
        Ok(Arc::new(Self { owners: all(OWNERS)?, views: all(VIEWS)? }))
    }

    /// What owners connect to.
    pub(super) fn for_owners(&self) -> Vec<String> {
        endpoints(&self.owners)
    }

    /// What views connect to.
    pub(super) fn for_views(&self) -> Vec<String> {
        endpoints(&self.views)
    }

    /// Changes what is between `side` and `members`, and waits until it is in force.
    pub(super) async fn disturb(&self, side: Side, members: &[usize], mode: Mode) {
        let on = |proxies: &'_ [Proxy], concerned: bool| {
            let members = members.iter().copied().filter(|_| concerned);
            members.filter_map(|member| proxies.get(member)).for_each(|proxy| proxy.order(mode));
        };
        on(&self.owners, side != Side::Views);
        on(&self.views, side != Side::Owners);
        for proxy in self.all() {
            proxy.settled().await;
        }
    }

    /// Opens all of them.
    pub(super) fn mend(&self) {
        self.all().for_each(|proxy| proxy.order(Mode::Pass));
    }

    fn all(&self) -> impl Iterator<Item = &Proxy> {
        self.owners.iter().chain(&self.views)
    }
}

fn open(direct: &str, port: u16) -> Result<Proxy> {
    let upstream = direct.strip_prefix("http://").and_then(|address| address.parse::<SocketAddr>().ok());
    let upstream = upstream.ok_or_else(|| Error::unexpected(format!("`{direct}` is no plain address")))?;
    Proxy::start(SocketAddr::new(upstream.ip(), port), upstream)
}

fn endpoints(proxies: &[Proxy]) -> Vec<String> {
    proxies.iter().map(|proxy| format!("http://{}", proxy.address())).collect()
}
