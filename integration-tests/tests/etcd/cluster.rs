//! Members of a cluster go away, and the others go on.

use std::time::Duration;

use callsign_client::{Client, Patch, ServiceView};
use callsign_core::{Authority, Probe, Read, ServiceKey};
use callsign_integration_tests::etcd::Options;
use callsign_testkit::Guard;
use callsign_testkit::suite::client::observe::{
    always, is_exactly, is_live, is_registered, is_routable, is_stale, shows,
};
use callsign_testkit::suite::{CaseResult, Stop, chain};
use tokio::time::{Instant, sleep, timeout};

use crate::ensure;
use crate::raw::stop;
use crate::setup::Setup;
use crate::stage::{CALL, NOTICED, Owner, RECOVERY, SLACK, SOON, Stage, nothing_was_lost, record};

const TTL: Duration = Duration::from_secs(15);
/// What an election takes: etcd's time-out of 1 s, drawn up to twice as long, twice.
const ELECTION: Duration = Duration::from_secs(4);

/// A cluster, one client of it that has registered and that views, and which member it talks to.
struct Fleet {
    stage: Stage,
    service: ServiceKey,
    client: Client,
    owner: Owner,
    view: ServiceView,
    pinned: usize,
}

impl Fleet {
    async fn gather(setup: &Setup) -> CaseResult<Self> {
        let stage = setup.with(Options::with_client_proxies).stage().await?;
        let service = stage.service("orders")?;
        let client = stage.client()?;
        let owner = stage.owner(&client, &service, "one", TTL).await?;
        let view = stage.view(&client, &service).await?;
        let pinned = stage.pinned().await?;
        Ok(Self { stage, service, client, owner, view, pinned })
    }

    /// Has the client talk to a member that follows.
    async fn on_a_follower(self) -> CaseResult<Self> {
        let etcd = self.stage.etcd();
        let leader = etcd.leader().await?;
        if leader == self.pinned {
            let mut heir = etcd.raw_at((leader + 1) % etcd.members().len()).await?;
            let id =
                heir.status().await.map_err(stop)?.header().map_or(0, etcd_client::ResponseHeader::member_id);
            etcd.raw_at(leader).await?.move_leader(id).await.map_err(stop)?;
        }
        is_registered(&self.owner.registration, RECOVERY).await?;
        Ok(self)
    }

    /// A member that is neither the client's nor the leader.
    async fn bystander(&self) -> CaseResult<usize> {
        let leader = self.stage.etcd().leader().await?;
        (0..self.stage.etcd().members().len())
            .find(|number| *number != leader && *number != self.pinned)
            .ok_or_else(|| Stop::failed("there are too few members"))
    }

    /// Does `fault`, and holds the client against its promises: nobody is lost, nobody is missed, and what the others
    /// write from now on is seen `within` that time.
    async fn survives(
        &self,
        within: Duration,
        fault: impl Future<Output = callsign_core::Result<Guard>> + Send,
    ) -> CaseResult {
        let mut events = self.client.events();
        let elsewhere = self.stage.client_past(self.pinned)?;
        let missed = |snapshot: &callsign_client::Snapshot| is_routable(snapshot, "one");
        always(&self.view, "nobody is missed", missed, async {
            let began = Instant::now();
            let guard = fault.await?;
            let other = self.stage.owner(&elsewhere, &self.service, "two", TTL).await?;
            let left = (within + SLACK).saturating_sub(began.elapsed());
            shows(&self.view, left, "what others have written, live", |snapshot| {
                is_live(snapshot, &["one", "two"])
            })
            .await?;
            // Longer than the lease lasts that nobody renews.
            sleep(TTL.saturating_sub(began.elapsed()) + Duration::from_secs(1)).await;
            is_registered(&self.owner.registration, SOON).await?;
            nothing_was_lost(&mut events)?;
            guard.heal().await?;
            let departure = other.registration.deregister(Duration::from_secs(5)).await;
            ensure!(departure.is_clean(), "{departure:?}");
            shows(&self.view, SOON, "who is left", |snapshot| is_live(snapshot, &["one"])).await?;
            Ok(())
        })
        .await
    }
}

pub(crate) async fn killed_member_is_left_within_1_s(setup: Setup) -> CaseResult {
    let fleet = Fleet::gather(&setup).await?.on_a_follower().await?;
    fleet.survives(Duration::from_secs(1), fleet.stage.etcd().kill([fleet.pinned])).await
}

pub(crate) async fn frozen_member_is_left_within_9_s(setup: Setup) -> CaseResult {
    let fleet = Fleet::gather(&setup).await?.on_a_follower().await?;
    fleet.survives(NOTICED, fleet.stage.etcd().freeze([fleet.pinned])).await
}

pub(crate) async fn killed_leader_costs_an_election(setup: Setup) -> CaseResult {
    let fleet = Fleet::gather(&setup).await?;
    let leader = fleet.stage.etcd().leader().await?;
    fleet.survives(ELECTION + Duration::from_secs(1), fleet.stage.etcd().kill([leader])).await
}

pub(crate) async fn member_that_nobody_talks_to_is_not_missed(setup: Setup) -> CaseResult {
    let fleet = Fleet::gather(&setup).await?;
    let bystander = fleet.bystander().await?;
    let live = |snapshot: &callsign_client::Snapshot| snapshot.freshness.is_live();
    let freeze = fleet.stage.etcd().freeze([bystander]).await?;
    always(&fleet.view, "nothing has happened", live, async {
        for word in ["a", "b", "c", "d"] {
            fleet.owner.registration.update(Patch::new().metadata("word", word)).await?;
            shows(&fleet.view, SOON, "the change", |snapshot| {
                snapshot.get("one").is_some_and(|one| one.metadata.get("word") == Some(word))
            })
            .await?;
            sleep(NOTICED / 4).await;
        }
        Ok(())
    })
    .await?;
    freeze.heal().await?;
    Ok(())
}

pub(crate) async fn lost_quorum_takes_nobody_away_and_comes_back(setup: Setup) -> CaseResult {
    let ttl = Duration::from_secs(5);
    let stage = setup.stage().await?;
    let service = stage.service("orders")?;
    let (client, user) = (stage.client()?, stage.client()?);
    let owner = stage.owner(&client, &service, "one", ttl).await?;
    let view = stage.view(&user, &service).await?;
    always(&view, "nobody is missed", |snapshot| is_routable(snapshot, "one"), async {
        for _ in 0..2 {
            let outage = stage.etcd().lose_quorum().await?;
            shows(&view, NOTICED + SLACK, "trouble", is_stale).await?;
            sleep(ttl).await;
            outage.heal().await?;
            is_registered(&owner.registration, ttl / 3 + Duration::from_secs(5) + RECOVERY).await?;
            shows(&view, RECOVERY, "a live answer", |snapshot| is_live(snapshot, &["one"])).await?;
        }
        Ok(())
    })
    .await
}

pub(crate) async fn member_without_a_quorum_is_read_but_not_believed(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let service = stage.service("orders")?;
    let backend = stage.backend()?;
    backend.register(&record(&service, "one", 1, Duration::from_secs(120))?).await?;
    backend.probe(Probe::Authority).await?;
    let any = backend.list(&service, Read::Any).await?;
    ensure!(any.authority == Authority::Stale, "what nobody has proven is said to be {:?}", any.authority);

    let outage = stage.etcd().lose_quorum().await?;
    // The member that is left needs its time to notice that it is alone.
    let until = Instant::now() + NOTICED + SLACK;
    while timeout(CALL, backend.probe(Probe::Authority)).await.is_ok_and(|answer| answer.is_ok()) {
        ensure!(Instant::now() < until, "one of three proves a quorum");
    }
    for _ in 0..3 {
        let any = timeout(CALL, backend.list(&service, Read::Any)).await;
        let any = any.map_err(|_| Stop::failed("a read of anything hangs"))??;
        let found = any.instances.iter().map(|one| one.id().as_str()).collect::<Vec<_>>();
        ensure!(any.authority == Authority::Stale && found == ["one"], "{:?}: {found:?}", any.authority);
        timeout(CALL, backend.probe(Probe::Reachable)).await.map_err(|_| Stop::failed("a probe hangs"))??;
        for (call, answer) in [
            ("probe", timeout(CALL, backend.probe(Probe::Authority)).await.map(Result::err)),
            ("list", timeout(CALL, backend.list(&service, Read::Quorum)).await.map(Result::err)),
        ] {
            let error = answer.map_err(|_| Stop::failed(format!("`{call}` hangs")))?;
            let Some(error) = error else {
                return Err(Stop::failed(format!("`{call}` is proven by one of three")));
            };
            ensure!(error.counts_as_outage(), "`{call}`: {}", chain(&error));
        }
    }
    outage.heal().await?;
    let until = Instant::now() + RECOVERY;
    while let Err(error) = backend.probe(Probe::Authority).await {
        ensure!(Instant::now() < until, "the backend does not recover: {}", chain(&error));
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

pub(crate) async fn rolling_restart_loses_nothing(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let service = stage.service("orders")?;
    let (client, user) = (stage.client()?, stage.client()?);
    let mut events = client.events();
    let owner = stage.owner(&client, &service, "one", TTL).await?;
    let view = stage.view(&user, &service).await?;
    always(&view, "nobody is missed", |snapshot| is_exactly(snapshot, &["one"]), async {
        let changes = async {
            let mut number = 0_u32;
            loop {
                number += 1;
                let change = Patch::new().metadata("number", number.to_string());
                if let Err(error) = owner.registration.update(change).await {
                    return (number, error);
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            (number, error) = changes => {
                return Err(Stop::failed(format!("change {number} is not taken: {}", chain(&error))));
            }
            restarted = Box::pin(stage.etcd().rolling_restart()) => restarted?,
        }
        owner.registration.update(Patch::new().metadata("number", "last")).await?;
        shows(&view, RECOVERY, "the last change", |snapshot| {
            snapshot.get("one").is_some_and(|one| one.metadata.get("number") == Some("last"))
        })
        .await?;
        Ok(())
    })
    .await?;
    nothing_was_lost(&mut events)
}
