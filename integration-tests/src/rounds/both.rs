//! Two registries behind one backend, hurt alone and together.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Backend, Error, Result, async_trait};
use callsign_failover::{Failover, Settings, Topology};
use callsign_testkit::Guard;

use super::ground::{Ground, Hurtable, Promises, Shape};

/// How much longer leases are than a registry needs: they outlast the time after which a member is left that says
/// nothing more.
const LONGER: Duration = Duration::from_secs(6);
/// A registry that was frozen takes what was sent to it before: also a registration whose removal comes next.
const FOR_A_MOMENT: Duration = Duration::from_secs(2);
/// A registry that begins all leases anew is not read before they have ended.
const STARTED_ANEW: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Both {
    topology: Topology,
    preferred: Ground,
    other: Ground,
}

impl Ground {
    /// Two registries that behave as one.
    #[must_use]
    pub fn both(topology: Topology, preferred: Self, other: Self) -> Self {
        Self(Arc::new(Both { topology, preferred, other }))
    }
}

impl Both {
    /// Does this to each registry that `members` are of: to its own ones, counted from 0.
    async fn each<T, F>(
        &self,
        members: &[usize],
        act: impl Fn(Ground, Vec<usize>) -> F + Send,
    ) -> Result<Vec<T>>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let first = self.preferred.0.shape().members;
        let (preferred, other): (Vec<_>, Vec<_>) = members.iter().partition(|member| **member < first);
        let other: Vec<_> = other.into_iter().map(|member| member - first).collect();
        let mut results = Vec::new();
        for (ground, members) in [(&self.preferred, preferred), (&self.other, other)] {
            if !members.is_empty() {
                results.push(act(ground.clone(), members).await?);
            }
        }
        Ok(results)
    }
}

#[async_trait]
impl Hurtable for Both {
    fn shape(&self) -> Shape {
        let (preferred, other) = (self.preferred.0.shape(), self.other.0.shape());
        Shape {
            preferred: preferred.members,
            // A mirror reads one member, and whoever cannot renew there alone is not seen: its documented limit.
            one_sided: self.topology == Topology::Union,
            ..Shape::of(preferred.members + other.members, preferred.doors + other.doors)
        }
    }

    fn promises(&self) -> Promises {
        let (preferred, other) = (self.preferred.promises(), self.other.promises());
        let longer = |time: Duration, another: Duration| time.max(another) + LONGER;
        Promises {
            ttl: longer(preferred.ttl, other.ttl),
            settled: longer(preferred.settled, other.settled),
            gone: longer(preferred.gone, other.gone),
            // In a union nobody reads elsewhere all of a sudden.
            returns: if self.topology == Topology::Union { Duration::ZERO } else { FOR_A_MOMENT },
        }
    }

    fn doors(&self) -> Result<Vec<SocketAddr>> {
        Ok([self.preferred.0.doors()?, self.other.0.doors()?].concat())
    }

    fn client(&self, doors: &[SocketAddr]) -> Result<Arc<dyn Backend>> {
        let first = self.preferred.0.shape().doors;
        let (preferred, other) =
            doors.split_at_checked(first).ok_or_else(|| Error::unexpected("a registry without a door"))?;
        let dwell = self.promises().ttl + STARTED_ANEW;
        let settings = Settings::default()
            .with_topology(self.topology)
            .with_down_interval(Duration::from_secs(1))
            .with_failback_dwell(dwell)
            .with_failback_dwell_max(dwell)
            // One fault follows the other, and both registries are to be read.
            .with_max_failbacks(100);
        let failover = Failover::builder("both")
            .member("preferred", self.preferred.0.client(preferred)?)
            .member("other", self.other.0.client(other)?)
            .settings(settings);
        Ok(Arc::new(failover.build()?))
    }

    async fn kill(&self, members: &[usize]) -> Result<Guard> {
        let kill = |ground: Ground, members: Vec<usize>| async move { ground.0.kill(&members).await };
        Ok(together(self.each(members, kill).await?))
    }

    async fn freeze(&self, members: &[usize]) -> Result<Guard> {
        let freeze = |ground: Ground, members: Vec<usize>| async move { ground.0.freeze(&members).await };
        Ok(together(self.each(members, freeze).await?))
    }

    async fn isolate(&self, _: usize) -> Result<Guard> {
        Err(Error::unsupported("nobody stands between the servers of two registries"))
    }

    async fn wipe(&self, members: &[usize]) -> Result<()> {
        let wipe = |ground: Ground, members: Vec<usize>| async move { ground.0.wipe(&members).await };
        self.each(members, wipe).await.map(drop)
    }
}

fn together(guards: Vec<Guard>) -> Guard {
    guards.into_iter().reduce(Guard::and).unwrap_or_else(|| Guard::new(|| ()))
}
