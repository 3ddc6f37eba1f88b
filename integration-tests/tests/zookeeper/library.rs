//! What is worked around in the client library, seen with the library alone: a case that fails here tells that the
//! library has mended it, and the work-around may go.

use std::time::Duration;

use callsign_core::Read;
use callsign_integration_tests::proxy::Mode;
use callsign_testkit::suite::{CaseResult, Stop};
use futures::future::try_join_all;
use tokio::time::{Instant, sleep, timeout};
use zookeeper_client as zk;

use crate::ensure;
use crate::stage::{RECOVERY, SOON, Setup, Stage, sees};

/// A session that outlasts a restart of a server.
const SESSION: Duration = Duration::from_secs(8);

async fn connect(stage: &Stage) -> CaseResult<zk::Client> {
    let connector = zk::Client::connector().with_session_timeout(SESSION);
    connector.connect(stage.zookeeper().member(0)?.plain()).await.map_err(|error| failed(&error))
}

fn failed(error: &zk::Error) -> Stop {
    Stop::failed(format!("the library: {error}"))
}

fn open() -> zk::CreateOptions<'static> {
    zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all())
}

pub(crate) async fn a_persistent_watch_is_still_lost_with_its_connection(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let client = connect(&stage).await?;
    let folder = format!("/{}", stage.namespace());
    client.create(&folder, &[], &open()).await.map_err(|error| failed(&error))?;
    let mode = zk::AddWatchMode::PersistentRecursive;
    let mut watcher = client.watch(&folder, mode).await.map_err(|error| failed(&error))?;
    stage.zookeeper().kill_all().await?.heal().await?;
    // As an event of its own, when the session is connected again.
    loop {
        let event = timeout(RECOVERY, watcher.changed()).await;
        let event = event.map_err(|_| Stop::failed("the library does not reconnect"))?;
        ensure!(!event.session_state.is_terminated(), "the session has ended");
        if event.session_state == zk::SessionState::SyncConnected {
            break;
        }
    }
    client.create(&format!("{folder}/a"), &[], &open()).await.map_err(|error| failed(&error))?;
    // An event comes before the answer to whatever is asked after it.
    client.sync(&folder).await.map_err(|error| failed(&error))?;
    if let Ok(event) = timeout(Duration::from_secs(1), watcher.changed()).await {
        return Err(Stop::failed(format!(
            "the library asks for persistent watches again after a reconnect: {event:?}; see watch/pump.rs"
        )));
    }
    Ok(())
}

pub(crate) async fn too_many_watched_paths_still_end_a_session(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let client = connect(&stage).await?;
    let path = |n: usize| format!("/{}/{n:0>100}", stage.namespace());
    let watched = (0..1500).map(|n| {
        let (client, path) = (client.clone(), path(n));
        async move { client.watch(&path, zk::AddWatchMode::PersistentRecursive).await }
    });
    let _watchers = try_join_all(watched).await.map_err(|error| failed(&error))?;
    let mut states = client.state_watcher();
    stage.zookeeper().kill_all().await?.heal().await?;
    let ended = async { while !states.changed().await.is_terminated() {} };
    if timeout(SESSION * 2, ended).await.is_err() {
        return Err(Stop::failed(
            "a session with more than 128 KiB of watched paths survives a reconnect; see watch/budget.rs",
        ));
    }
    Ok(())
}

pub(crate) async fn the_library_still_pauses_ever_longer(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let proxy = stage.proxy()?;
    let connector = zk::Client::connector().with_session_timeout(Duration::from_secs(30));
    let client = connector.connect(&proxy.address().to_string()).await;
    let client = client.map_err(|error| failed(&error))?;
    let mut states = client.state_watcher();
    proxy.order(Mode::Refuse);
    proxy.settled().await;
    // Its attempts are at 0.1, 0.3, 0.7, 1.5, 3.1, 6.3 and 12.7 s, each a little later by chance.
    sleep(Duration::from_millis(7_500)).await;
    proxy.order(Mode::Pass);
    proxy.settled().await;
    let serves = Instant::now();
    let connected = async {
        while states.state() != zk::SessionState::SyncConnected {
            states.changed().await;
        }
    };
    ensure!(timeout(SESSION * 3, connected).await.is_ok(), "the library does not reconnect");
    ensure!(
        serves.elapsed() > Duration::from_secs(2),
        "the library has reconnected {:?} after the server's return; see session/owned.rs",
        serves.elapsed()
    );
    Ok(())
}

pub(crate) async fn more_services_than_a_session_may_watch_are_all_followed(setup: Setup) -> CaseResult {
    /// As long as names get.
    const SERVICES: usize = 700;
    let stage = setup.stage().await?;
    let (writer, reader) = (stage.backend()?, stage.backend()?);
    let name = |n: usize| format!("{n:0>150}");
    let mut watches = Vec::with_capacity(SERVICES);
    for n in 0..SERVICES {
        let mut watch = reader.watch(&stage.service(&name(n))?);
        sees(&mut watch, SOON, "an empty service", |listing| listing.instances.is_empty()).await?;
        watches.push(watch);
    }
    for round in 1..=2 {
        for n in [0, SERVICES / 2, SERVICES - 1] {
            let record = stage.record(&name(n), "one", (1, round), 60)?;
            // After the restart the writer, too, has to find the server again.
            let registered = async || Ok(writer.register(&record).await.is_ok());
            crate::stage::becomes(RECOVERY, "registered", registered).await?;
            let what = format!("the change of service {n}");
            let changed = |listing: &callsign_core::Listing| {
                listing.instances.first().is_some_and(|instance| instance.seq == round)
            };
            sees(&mut watches[n], RECOVERY, &what, changed).await?;
        }
        if round == 1 {
            stage.zookeeper().kill_all().await?.heal().await?;
            let service = stage.service(&name(0))?;
            let answers = async || Ok(reader.list(&service, Read::Quorum).await.is_ok());
            crate::stage::becomes(RECOVERY, "reconnected", answers).await?;
        }
    }
    Ok(())
}
