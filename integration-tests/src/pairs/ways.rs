//! The ways of clients to both registries, in groups that can be told apart.

use std::net::SocketAddr;
use std::sync::Arc;

use callsign_core::{Backend, Result};

use crate::proxy::{Mode, Proxy};
use crate::rounds::Ground;

/// Whose ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Half of the owners.
    Owners,
    /// The other half.
    OtherOwners,
    /// Half of the onlookers.
    Onlookers,
    /// The other half.
    OtherOnlookers,
}

impl Group {
    /// Everybody.
    pub const ALL: [Self; 4] = [Self::Owners, Self::OtherOwners, Self::Onlookers, Self::OtherOnlookers];

    /// A port on a door's address that nothing else uses.
    fn port(self) -> u16 {
        match self {
            Self::Owners => 12_401,
            Self::OtherOwners => 12_402,
            Self::Onlookers => 12_403,
            Self::OtherOnlookers => 12_404,
        }
    }
}

/// A proxy for each group and door of one registry.
#[derive(Debug)]
pub struct Ways {
    ground: Ground,
    groups: Vec<(Group, Vec<Proxy>)>,
}

impl Ways {
    pub(super) fn open(ground: &Ground) -> Result<Arc<Self>> {
        let doors = ground.0.doors()?;
        let open = |group: Group| {
            let proxies =
                doors.iter().map(|door| Proxy::start(SocketAddr::new(door.ip(), group.port()), *door));
            Ok((group, proxies.collect::<Result<_>>()?))
        };
        let groups = Group::ALL.map(open).into_iter().collect::<Result<_>>()?;
        Ok(Arc::new(Self { ground: ground.clone(), groups }))
    }

    /// A client of the registry, on the ways of `group` to those doors that `chosen` names.
    pub(super) fn client(&self, group: Group, chosen: impl Fn(usize) -> bool) -> Result<Arc<dyn Backend>> {
        let doors: Vec<_> = self
            .of(group)
            .enumerate()
            .filter(|(nth, _)| chosen(*nth))
            .map(|(_, proxy)| proxy.address())
            .collect();
        self.ground.0.client(&doors)
    }

    /// Changes what is between `groups` and the registry, and waits until it is in force.
    pub async fn set(&self, groups: &[Group], mode: Mode) {
        for group in groups {
            for proxy in self.of(*group) {
                proxy.set(mode).await;
            }
        }
    }

    /// Opens all of them.
    pub fn mend(&self) {
        self.groups.iter().flat_map(|(_, proxies)| proxies).for_each(|proxy| proxy.order(Mode::Pass));
    }

    fn of(&self, group: Group) -> impl Iterator<Item = &Proxy> {
        self.groups.iter().filter(move |(of, _)| *of == group).flat_map(|(_, proxies)| proxies)
    }
}
