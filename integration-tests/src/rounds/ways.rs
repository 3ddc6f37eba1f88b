//! The ways of clients to the registry's doors: owners and views each have their own.

use std::net::SocketAddr;
use std::sync::Arc;

use callsign_core::Result;

use super::ground::Hurtable;
use super::plan::Side;
use crate::proxy::{Mode, Proxy};

/// Ports on a door's address that nothing else uses.
const OWNERS: u16 = 12_391;
const VIEWS: u16 = 12_392;

/// A proxy for each door and side.
#[derive(Debug)]
pub(super) struct Ways {
    owners: Vec<Proxy>,
    views: Vec<Proxy>,
}

impl Ways {
    pub(super) fn open(registry: &dyn Hurtable) -> Result<Arc<Self>> {
        let doors = registry.doors()?;
        let all = |port| {
            let open = |door: &SocketAddr| Proxy::start(SocketAddr::new(door.ip(), port), *door);
            doors.iter().map(open).collect::<Result<_>>()
        };
        Ok(Arc::new(Self { owners: all(OWNERS)?, views: all(VIEWS)? }))
    }

    /// What owners connect to.
    pub(super) fn for_owners(&self) -> Vec<SocketAddr> {
        addresses(&self.owners)
    }

    /// What views connect to.
    pub(super) fn for_views(&self) -> Vec<SocketAddr> {
        addresses(&self.views)
    }

    /// Changes what is between `side` and `doors`, and waits until it is in force.
    pub(super) async fn disturb(&self, side: Side, doors: &[usize], mode: Mode) {
        let on = |proxies: &'_ [Proxy], concerned: bool| {
            let doors = doors.iter().copied().filter(|_| concerned);
            doors.filter_map(|door| proxies.get(door)).for_each(|proxy| proxy.order(mode));
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

fn addresses(proxies: &[Proxy]) -> Vec<SocketAddr> {
    proxies.iter().map(Proxy::address).collect()
}
