//! What only an etcd can do to those who trust it: refuse them, and forget what was between two revisions.

use std::sync::Arc;
use std::time::Duration;

use callsign_client::{Client, Patch, RegisterOptions};
use callsign_core::{Backend, EventKind, Instance, ServiceKey, Ttl};
use callsign_etcd::EtcdConfig;
use callsign_failover::Failover;
use callsign_integration_tests::etcd::{Etcd, PREFIX, Tokens, config};
use callsign_integration_tests::proxy::{Mode, Proxy};
use callsign_integration_tests::zookeeper::{self, ZooKeeper};
use callsign_testkit::Subject;
use callsign_testkit::suite::{CaseResult, Stop};
use futures::StreamExt;
use tokio::time::{sleep, timeout};

use crate::cells::{NoHarness, etcd_alone, installed, zookeeper_alone};

const SECOND: Duration = Duration::from_secs(1);
/// How long a change may take to be seen, on a machine that has a lot to do.
const SOON: Duration = Duration::from_secs(10);
/// A port on the server's address that nothing else uses.
const PROXY: u16 = 12_405;

pub(crate) fn subject() -> Subject {
    Subject::fresh("failover-etcd", || NoHarness)
        .proves("cells", "forbidden", "Who is refused says so, and uses the other registry.", forbidden)
        .proves(
            "cells",
            "changes_missed",
            "What was compacted away meanwhile is seen after all.",
            changes_missed,
        )
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> CaseResult {
    if holds { Ok(()) } else { Err(Stop::failed(what())) }
}

fn both(main: &EtcdConfig, backup: &ZooKeeper) -> CaseResult<Failover> {
    let main = callsign_etcd::Etcd::new(main, "main")?;
    let backup = callsign_zookeeper::ZooKeeper::new(&zookeeper::config(backup), "backup")?;
    let builder = Failover::builder("both").member("main", Arc::new(main)).member("backup", Arc::new(backup));
    Ok(builder.build()?)
}

async fn forbidden() -> CaseResult {
    installed()?;
    let options = etcd_alone().with_auth(Tokens::Simple { ttl: Duration::from_secs(300) });
    let (etcd, zookeeper) = (Etcd::start(options).await?, ZooKeeper::start(zookeeper_alone()).await?);
    let refused = both(&config(&etcd).with_password("tenant", "wrong"), &zookeeper)?;
    let control = refused.control();
    let mut events = refused.events();
    let told = async {
        while let Some(event) = events.next().await {
            if matches!(event.kind, EventKind::ConfigError { .. }) {
                return;
            }
        }
    };
    let client = Client::new(Arc::new(refused.clone()))?;
    let service = ServiceKey::new("orders")?;
    let instance = Instance::builder(&service).id("one").endpoint("http://127.0.0.1:1").build()?;
    let registration = client.register(instance, RegisterOptions::new().required());
    let (registration, told) = futures::join!(registration, timeout(SOON, told));
    ensure(told.is_ok(), || "nobody says that main refuses".to_owned())?;
    let _registration = registration?;
    let view = client.service(service);
    view.wait_for(SOON, |seen| seen.get("one").is_some()).await?;
    sleep(3 * SECOND).await;
    ensure(*control.state().active == *"backup", || format!("{:?} is read", control.state()))
}

async fn changes_missed() -> CaseResult {
    installed()?;
    let (etcd, zookeeper) = (Etcd::start(etcd_alone()).await?, ZooKeeper::start(zookeeper_alone()).await?);
    let url = etcd.endpoints().swap_remove(0);
    let plain = url.trim_start_matches("http://");
    let door: std::net::SocketAddr =
        plain.parse().map_err(|_| Stop::failed(format!("`{plain}` is no address")))?;
    let proxy = Proxy::start(std::net::SocketAddr::new(door.ip(), PROXY), door)?;
    let through =
        EtcdConfig::default().with_endpoints([format!("http://{}", proxy.address())]).with_prefix(PREFIX);
    let (owner, looking) = (both(&config(&etcd), &zookeeper)?, both(&through, &zookeeper)?);
    let (owner, looking) = (Client::new(Arc::new(owner))?, Client::new(Arc::new(looking))?);
    let service = ServiceKey::new("orders")?;
    let register = async |id: &str| {
        let instance = Instance::builder(&service).id(id).endpoint("http://127.0.0.1:1").build()?;
        let options = RegisterOptions::new().required().with_ttl(Ttl::from_secs(60)?);
        owner.register(instance, options).await
    };
    let (one, two) = (register("one").await?, register("two").await?);
    let view = looking.service(&service);
    view.wait_for(SOON, |seen| seen.instances.len() == 2).await?;

    proxy.set(Mode::Refuse).await;
    for weight in 1..=20 {
        one.update(Patch::new().weight(weight)).await?;
    }
    let _three = register("three").await?;
    two.drain(SECOND / 2).await.into_result()?;
    let mut raw = etcd.raw().await?;
    let status = raw.status().await.map_err(|error| Stop::failed(error.to_string()))?;
    let revision = status.header().map(etcd_client::ResponseHeader::revision).unwrap_or_default();
    raw.compact(revision, None).await.map_err(|error| Stop::failed(error.to_string()))?;
    proxy.set(Mode::Pass).await;

    let seen = view.wait_for(SOON * 2, |seen| {
        let ids: Vec<_> = seen.instances.iter().map(|one| one.id().as_str()).collect();
        ids == ["one", "three"] && seen.instances[0].weight.get() == 20
    });
    seen.await?;
    Ok(())
}
