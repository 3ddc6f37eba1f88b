//! What becomes of sessions, and of the nodes that they own.

use std::time::Duration;

use callsign_client::{Client, RegisterOptions};
use callsign_core::{Backend, ErrorKind, Instance, Record, Registry, Ttl};
use callsign_integration_tests::proxy::Mode;
use callsign_testkit::suite::client::observe::is_registered;
use callsign_testkit::suite::{CaseResult, Stop};
use callsign_zookeeper::ZooKeeper;
use tokio::time::{sleep, timeout};
use zookeeper_client as zk;

use crate::ensure;
use crate::stage::{RECOVERY, SHORT, SOON, Setup, Stage, backend, becomes, has, lists, sees};

pub(crate) async fn reconnect_keeps_events_coming(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let (writer, reader) = (stage.backend()?, stage.backend()?);
    let record = stage.record("orders", "one", (1, 1), 60)?;
    let mut watch = reader.watch(&record.key().service);
    sees(&mut watch, SOON, "an empty service", has(0)).await?;
    for round in 1..=3 {
        stage.zookeeper().kill_all().await?.heal().await?;
        // The first listing after the fault, so that what follows is an event's doing.
        sees(&mut watch, RECOVERY, "a listing after the fault", |_| true).await?;
        let record = stage.record("orders", &format!("id-{round}"), (1, 1), 60)?;
        // The writer finds the server by itself.
        let registered = async || Ok(writer.register(&record).await.is_ok());
        becomes(RECOVERY, "registered", registered).await?;
        sees(&mut watch, SOON, "what was registered after a reconnect", has(round)).await?;
    }
    Ok(())
}

pub(crate) async fn ghost_of_an_older_session_is_replaced_and_outlives_it(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let (before, after) = (stage.short_lived()?, stage.backend()?);
    let first = stage.record("orders", "one", (1, 1), 60)?;
    before.register(&first).await?;
    let raw = stage.raw().await?;
    let path = stage.path(&first);
    let owner = |found: Option<(Vec<u8>, zk::Stat)>| {
        found.map(|(_, stat)| stat.ephemeral_owner).ok_or_else(|| Stop::failed("the node is gone"))
    };
    let ghost = owner(raw.read(&path).await?)?;
    // Its session lives for two seconds yet, with the node.
    drop(before);
    let second = stage.record("orders", "one", (2, 1), 60)?;
    after.register(&second).await?;
    let heir = owner(raw.read(&path).await?)?;
    ensure!(heir != ghost, "the node still belongs to the session of a process that is gone");
    let expired = async || Ok(!stage.zookeeper().command(0, "dump").await?.contains(&format!("{ghost:#x}")));
    becomes(SHORT.0 * 3, "the ghost's session expired", expired).await?;
    ensure!(owner(raw.read(&path).await?)? == heir, "the node has gone with the ghost's session");
    after.renew(&second).await?;
    // The other case: a node of the same session is written in place.
    after.register(&stage.record("orders", "one", (2, 2), 60)?).await?;
    let Some((_, stat)) = raw.read(&path).await? else { return Err(Stop::failed("the node is gone")) };
    ensure!(stat.ephemeral_owner == heir && stat.version > 0, "an update has replaced the node");
    Ok(())
}

pub(crate) async fn outage_longer_than_the_library_waits_keeps_the_nodes(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let backend = stage.short_lived()?;
    let record = stage.record("orders", "one", (1, 1), 60)?;
    backend.register(&record).await?;
    let path = stage.path(&record);
    let before = stage.raw().await?.read(&path).await?.map(|(_, stat)| (stat.czxid, stat.ephemeral_owner));
    let outage = stage.zookeeper().kill_all().await?;
    // The library calls a session expired after 1.4 times its time-out; servers that are down do not count.
    sleep(SHORT.0.mul_f64(1.4) + Duration::from_secs(1)).await;
    outage.heal().await?;
    let renewed = async || Ok(backend.renew(&record).await.is_ok());
    becomes(RECOVERY, "renewed", renewed).await?;
    let after = stage.raw().await?.read(&path).await?.map(|(_, stat)| (stat.czxid, stat.ephemeral_owner));
    ensure!(before.is_some() && before == after, "the node was {before:?}, and is {after:?}");
    Ok(())
}

pub(crate) async fn expired_session_loses_its_records_and_they_come_back(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let proxy = stage.proxy()?;
    let config = stage.config().with_servers([proxy.address().to_string()]);
    let way = backend(&config.with_session_timeout(SHORT.0, SHORT.1))?;
    let client = Client::new(way.clone())?;
    let instance = Instance::builder(stage.service("orders")?).id("one").endpoint("http://127.0.0.1:1");
    let options = RegisterOptions::new().with_ttl(Ttl::from_secs(3)?).required();
    let registration = client.register(instance.build()?, options).await?;
    let own = stage.record("orders", "two", (1, 1), 60)?;
    let mut lost = way.register(&own).await?.lost;
    let raw = stage.raw().await?;
    let path = stage.path(&own).replace("two", "one");
    let Some((_, before)) = raw.read(&path).await? else { return Err(Stop::failed("nothing is registered")) };
    proxy.order(Mode::Refuse);
    proxy.settled().await;
    let gone = async || Ok(raw.read(&path).await?.is_none());
    becomes(SHORT.0 * 4, "the session expired", gone).await?;
    proxy.order(Mode::Pass);
    let Ok(cause) = timeout(RECOVERY, lost.fired()).await else {
        return Err(Stop::failed("the loss of a session's node was not told"));
    };
    ensure!(cause.kind() == ErrorKind::NotFound, "the loss shows as another error: {cause}");
    is_registered(&registration, RECOVERY).await?;
    let back = async || Ok(raw.read(&path).await?.is_some_and(|(_, after)| after.czxid > before.czxid));
    becomes(RECOVERY, "registered by a node of the next session", back).await
}

pub(crate) async fn closed_backend_leaves_neither_node_nor_session(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let raw = stage.raw().await?;
    let backend = stage.backend()?;
    let record = stage.record("orders", "one", (1, 1), 60)?;
    backend.register(&record).await?;
    let Some((_, stat)) = raw.read(&stage.path(&record)).await? else {
        return Err(Stop::failed("nothing is registered"));
    };
    let session = format!("{:#x}", stat.ephemeral_owner);
    let open = async || CaseResult::Ok(stage.zookeeper().command(0, "dump").await?.contains(&session));
    ensure!(open().await?, "`dump` does not show the session {session}");
    backend.close().await?;
    ensure!(raw.read(&stage.path(&record)).await?.is_none(), "the node is still there");
    ensure!(!open().await?, "the session {session} is still open");
    Ok(())
}

pub(crate) async fn closing_waits_for_a_server_and_then_ends_the_session(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let (raw, proxy) = (stage.raw().await?, stage.proxy()?);
    let backend = backend(&stage.config().with_servers([proxy.address().to_string()]))?;
    let record = stage.record("orders", "one", (1, 1), 60)?;
    backend.register(&record).await?;
    ensure!(raw.read(&stage.path(&record)).await?.is_some(), "nothing is registered");
    proxy.set(Mode::Refuse).await;
    let back = async {
        sleep(Duration::from_secs(1)).await;
        proxy.set(Mode::Pass).await;
    };
    let (closed, ()) = tokio::join!(backend.close(), back);
    closed?;
    ensure!(raw.read(&stage.path(&record)).await?.is_none(), "the node is still there");
    Ok(())
}

pub(crate) async fn killed_process_leaves_its_nodes_until_its_session_expires(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let record = stage.record("orders", "one", (1, 1), 60)?;
    let config = stage.config().with_session_timeout(SHORT.0, SHORT.1);
    // A runtime of its own, so that all that a process has ends at once and says nothing.
    let registered = record.clone();
    let died = std::thread::spawn(move || -> callsign_core::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| callsign_core::Error::unexpected("no runtime").with_source(error))?;
        let result = runtime.block_on(async {
            let backend = ZooKeeper::new(&config, "zookeeper")?;
            backend.register(&registered).await.map(|_| backend)
        });
        runtime.shutdown_background();
        result.map(std::mem::forget)
    });
    let reader = stage.backend()?;
    let service = &record.key().service;
    died.join().map_err(|_| Stop::failed("the process that was to die has panicked"))??;
    ensure!(
        has(1)(&reader.list(service, callsign_core::Read::Quorum).await?),
        "the node went with the process"
    );
    lists(&reader, service, SHORT.0 * 2 + SOON, "expired", has(0)).await?;
    Ok(())
}

pub(crate) async fn failover_of_a_server_ends_no_session(setup: Setup) -> CaseResult {
    let stage = setup.with(callsign_integration_tests::zookeeper::Options::with_ensemble).stage().await?;
    let backend = stage.backend()?;
    let record = stage.record("orders", "one", (1, 1), 60)?;
    backend.register(&record).await?;
    let mut watch = backend.watch(&record.key().service);
    sees(&mut watch, SOON, "the record", has(1)).await?;
    let before = node(&stage, &record).await?;
    for server in 0..3 {
        let guard = stage.zookeeper().kill([server]).await?;
        let renewed = async || Ok(backend.renew(&record).await.is_ok());
        becomes(RECOVERY, "renewed with a server missing", renewed).await?;
        guard.heal().await?;
    }
    ensure!(node(&stage, &record).await? == before, "the node was written anew");
    let second = stage.record("orders", "two", (1, 1), 60)?;
    backend.register(&second).await?;
    sees(&mut watch, RECOVERY, "what was registered after all that", has(2)).await?;
    Ok(())
}

async fn node(stage: &Stage, record: &Record) -> CaseResult<Option<(i64, i64)>> {
    let found = stage.raw().await?.read(&stage.path(record)).await?;
    Ok(found.map(|(_, stat)| (stat.czxid, stat.ephemeral_owner)))
}
