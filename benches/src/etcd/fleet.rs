//! Instances that live on an etcd while something happens to it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use callsign_benches::fleet;
use callsign_client::{Client, ClientEvent, RegisterOptions, Registration, ServiceView};
use callsign_core::{Discovery, InstanceId, Read, ServiceKey, Ttl};
use callsign_integration_tests::etcd::Etcd;
use futures::StreamExt;
use futures::future::try_join_all;
use futures::stream::BoxStream;
use tokio::time::{sleep, timeout};

use super::backend;
use crate::readers::{Alive, is_troubled, is_whole};

/// How long it may take until all is well again.
pub(super) const RECOVERED_WITHIN: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Every change of a view from live to stale and back, also one that is over before anybody looks.
pub(super) struct Changes(BoxStream<'static, Arc<ClientEvent>>);

impl Changes {
    /// Waits until the view becomes live, or ceases to be.
    pub(super) async fn until(&mut self, live: bool) -> Result<()> {
        let became = async {
            while let Some(event) = self.0.next().await {
                if let ClientEvent::Freshness { freshness, .. } = &*event
                    && freshness.is_live() == live
                {
                    return;
                }
            }
        };
        Ok(timeout(RECOVERED_WITHIN, became).await?)
    }
}

/// Live instances, and somebody's view of them.
pub(super) struct Fleet {
    pub(super) view: ServiceView,
    pub(super) ids: Vec<InstanceId>,
    _registrations: Vec<Registration>,
    looking: Client,
    /// Asks the registry itself.
    witness: Arc<callsign_etcd::Etcd>,
}

impl Fleet {
    /// `count` instances of one process, kept alive over the members themselves, and the view of another process over
    /// `seen_at`.
    pub(super) async fn start(
        etcd: &Etcd,
        count: usize,
        ttl: Duration,
        seen_at: Vec<String>,
    ) -> Result<Self> {
        let service = fleet::service()?;
        let direct = || etcd.members().iter().map(|member| member.direct().to_owned()).collect::<Vec<_>>();
        let owner = Client::builder(backend(direct())?).ttl(Ttl::new(ttl)?).build()?;
        let instances: Vec<_> =
            (0..count).map(|number| fleet::instance(&service, number)).collect::<Result<_, _>>()?;
        let calls =
            instances.into_iter().map(|instance| owner.register(instance, RegisterOptions::new().required()));
        let registrations = try_join_all(calls).await?;
        let ids = registrations.iter().map(|registration| registration.key().id.clone()).collect();
        let looking = Client::builder(backend(seen_at)?).prober(Alive).build()?;
        let view = looking.service(service);
        let fleet = Self { view, ids, _registrations: registrations, looking, witness: backend(direct())? };
        fleet.recovered().await?;
        Ok(fleet)
    }

    pub(super) fn service(&self) -> &ServiceKey {
        self.view.service()
    }

    /// How the view fares from now on.
    pub(super) fn changes(&self) -> Changes {
        Changes(self.looking.events())
    }

    /// Waits until the registry lists everybody.
    pub(super) async fn listed(&self) -> Result<()> {
        let listed = async {
            loop {
                let listing = self.witness.list(self.service(), Read::Quorum).await;
                if listing.is_ok_and(|listing| listing.instances.len() == self.ids.len()) {
                    return;
                }
                sleep(POLL).await;
            }
        };
        Ok(timeout(RECOVERED_WITHIN, listed).await?)
    }

    /// Waits until the registry lists everybody, and the view believes it.
    pub(super) async fn recovered(&self) -> Result<()> {
        self.listed().await?;
        let well = |snapshot: &_| !is_troubled(snapshot) && is_whole(snapshot, &self.ids);
        self.view.wait_for(RECOVERED_WITHIN, |snapshot| well(snapshot)).await?;
        Ok(())
    }
}
