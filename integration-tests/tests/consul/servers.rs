//! Three servers and an agent for clients: what is lost with each of them, and what is not.

use std::time::Duration;

use callsign_client::{Client, ServiceView, Snapshot};
use callsign_core::{Authority, Backend as _, Discovery, Probe, Read, Registry, ServiceKey};
use callsign_integration_tests::Pool;
use callsign_integration_tests::consul::{Consul, Kind, Options};
use callsign_testkit::suite::client::observe::{
    always, is_registered, is_routable, is_stale, shows, states, told,
};
use callsign_testkit::suite::{CaseResult, Stop};
use futures::future::try_join_all;
use tokio::time::{Instant, sleep};

use crate::ensure;
use crate::stage::{Owner, RECOVERY, SOON, Stage, becomes, is_critical, is_passing, record};

const IDS: [&str; 3] = ["one", "three", "two"];
/// Longer than an agent without a leader lets a renewal wait, three times over.
const TTL: Duration = Duration::from_secs(30);
/// When an agent that says nothing has to be noticed.
const FROZEN: Duration = Duration::from_secs(9);
/// A server says whether there is a leader when a query begins to wait, which takes up to 9.6 s; so the second one tells.
const TWO_WAITS: Duration = Duration::from_secs(22);
/// Until the servers miss a node that says nothing, and until they hear that it is back.
const MISSED: Duration = Duration::from_secs(30);

/// Three instances, and somebody's view of them.
struct Scene {
    stage: Stage,
    service: ServiceKey,
    client: Client,
    owners: Vec<Owner>,
    view: ServiceView,
}

impl Scene {
    async fn set(pool: &Pool<Consul>) -> CaseResult<Self> {
        let stage = Stage::take(pool, Options::new(Kind::Cluster)).await?;
        let (client, service) = (stage.client()?, stage.service("orders")?);
        let owners = try_join_all(IDS.map(|id| stage.owner(&client, &service, id, TTL))).await?;
        let view = stage.view(&stage.client()?, &service).await?;
        shows(&view, SOON, "everybody", is_whole).await?;
        Ok(Self { stage, service, client, owners, view })
    }

    /// Waits until each server has everybody: a follower hears with the leader's next message what was committed.
    async fn is_everywhere(&self) -> CaseResult {
        for server in 0..self.stage.consul().servers() {
            let (backend, until) = (self.stage.backend_at(server)?, Instant::now() + SOON);
            while backend.list(&self.service, Read::Any).await?.instances.len() < IDS.len() {
                ensure!(Instant::now() < until, "server {server} has not everybody");
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    /// All is well, within `bound`.
    async fn is_well(&self, bound: Duration) -> CaseResult {
        let well = |snapshot: &Snapshot| snapshot.freshness.is_live() && is_whole(snapshot);
        shows(&self.view, bound, "a live answer", well).await?;
        for owner in &self.owners {
            is_registered(&owner.registration, bound).await?;
        }
        Ok(())
    }
}

fn is_whole(snapshot: &Snapshot) -> bool {
    snapshot.instances.len() == IDS.len() && IDS.iter().all(|id| is_routable(snapshot, id))
}

pub(crate) async fn killed_leader_of_consul_costs_an_election(pool: Pool<Consul>) -> CaseResult {
    let scene = Scene::set(&pool).await?;
    let consul = scene.stage.consul();
    let mut events = scene.client.events();
    always(&scene.view, "an election takes nobody away", is_whole, async {
        let killed = consul.kill([consul.leader().await?]).await?;
        // Who registers meanwhile is heard as soon as there is a leader.
        let service = scene.stage.service("late")?;
        let late = scene.stage.owner(&scene.client, &service, "late", TTL).await?;
        is_registered(&late.registration, RECOVERY).await?;
        scene.is_well(RECOVERY).await?;
        killed.heal().await?;
        scene.is_well(RECOVERY).await
    })
    .await?;
    let states = states(&told(&mut events));
    ensure!(!states.contains(&"lost"), "a registration was lost: {states:?}");
    Ok(())
}

pub(crate) async fn lost_quorum_of_consul_takes_nobody_away_and_commits_nothing(
    pool: Pool<Consul>,
) -> CaseResult {
    let scene = Scene::set(&pool).await?;
    scene.is_everywhere().await?;
    let backend = scene.stage.backend()?;
    let late = record(&scene.stage.service("late")?, 60)?;
    let mut events = scene.client.events();
    always(&scene.view, "without a quorum nobody goes away", is_whole, async {
        let lost = scene.stage.consul().lose_quorum().await?;
        shows(&scene.view, TWO_WAITS, "trouble", is_stale).await?;
        for owner in &scene.owners {
            let state = owner.registration.state();
            ensure!(state.is_registered() || state.as_str() == "suspect", "a registration is {state}");
        }
        backend.probe(Probe::Reachable).await?;
        let probe = backend.probe(Probe::Authority).await;
        ensure!(probe.as_ref().is_err_and(callsign_core::Error::counts_as_outage), "authority: {probe:?}");
        let stale = backend.list(&scene.service, Read::Any).await?;
        ensure!(stale.authority == Authority::Stale && stale.instances.len() == IDS.len(), "read: {stale:?}");
        let quorum = backend.list(&scene.service, Read::Quorum).await;
        ensure!(quorum.as_ref().is_err_and(callsign_core::Error::counts_as_outage), "read: {quorum:?}");
        match backend.register(&late).await {
            Ok(receipt) => ensure!(!receipt.committed, "without a quorum nothing is committed"),
            Err(error) => ensure!(error.counts_as_outage(), "a registration is refused: {error}"),
        }
        lost.heal().await?;
        scene.is_well(RECOVERY * 2).await
    })
    .await?;
    let states = states(&told(&mut events));
    ensure!(!states.contains(&"lost"), "a registration was lost: {states:?}");
    ensure!(backend.register(&late).await?.committed, "with a quorum it is committed");
    backend.probe(Probe::Authority).await?;
    becomes(&backend, &late.key().service, SOON, "there", is_passing).await
}

pub(crate) async fn frozen_agent_is_noticed_and_its_instances_go_on(pool: Pool<Consul>) -> CaseResult {
    let scene = Scene::set(&pool).await?;
    let consul = scene.stage.consul();
    let elsewhere = scene.stage.backend_at(0)?;
    // The servers' word reaches the view, too, when its agent is back before they have heard of that.
    let goes_on = |snapshot: &Snapshot| IDS.iter().all(|id| is_routable(snapshot, id));
    always(&scene.view, "nobody loses traffic because an agent says nothing", goes_on, async {
        let clock = Instant::now();
        let frozen = consul.freeze([consul.servers()]).await?;
        let noticed = async {
            shows(&scene.view, FROZEN, "trouble", is_stale).await?;
            CaseResult::Ok(clock.elapsed())
        };
        // Its node does not answer the others, and with that all that it has does not pass: listed, without traffic.
        let missed = becomes(&elsewhere, &scene.service, MISSED, "critical", is_critical);
        let (noticed, missed) = futures::join!(noticed, missed);
        missed?;
        ensure!(noticed? <= FROZEN, "noticed too late");
        let listed = elsewhere.list(&scene.service, Read::Quorum).await?;
        ensure!(listed.instances.len() == IDS.len(), "listed are {listed:?}");
        sleep(Duration::from_secs(1)).await;
        frozen.heal().await?;
        Ok(())
    })
    .await?;
    becomes(&elsewhere, &scene.service, MISSED, "passing again", is_passing).await?;
    scene.is_well(MISSED).await?;
    let answers = elsewhere.list(&scene.service, Read::Quorum).await?;
    if answers.skipped.is_empty() { Ok(()) } else { Err(Stop::failed(format!("skipped: {answers:?}"))) }
}
