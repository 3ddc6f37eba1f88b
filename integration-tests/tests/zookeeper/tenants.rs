//! Logins and access lists: who sees what.

use callsign_core::{Backend, ErrorKind, EventKind, Probe, Read, Record};
use callsign_integration_tests::zookeeper::{Options, PASSWORD, SESSION};
use callsign_testkit::suite::{CaseResult, Stop};
use callsign_zookeeper::{Acl, Login};
use futures::{FutureExt, StreamExt};
use tokio::time::timeout;
use zookeeper_client as zk;

use crate::ensure;
use crate::stage::{RECOVERY, SOON, Setup, Stage, backend, becomes, has, lists, sees};

pub(crate) async fn two_tenants_see_nothing_of_each_other(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let tenant = |name: &str, acl| backend(&stage.config().with_password(name, "secret").with_acl(acl));
    let (one, other) = (tenant("one", Acl::Creator)?, tenant("other", Acl::Creator)?);
    let record = stage.record("orders", "one", (1, 1), 60)?;
    let service = &record.key().service;
    one.register(&record).await?;
    lists(&one, service, SOON, "the tenant's own record", has(1)).await?;
    let denied = |what: &str, error: Option<callsign_core::Error>| match error {
        Some(error) if error.kind() == ErrorKind::PermissionDenied && !error.counts_as_outage() => Ok(()),
        answer => Err(Stop::failed(format!("{what} of another tenant is answered by {answer:?}"))),
    };
    denied("a listing", other.list(service, Read::Quorum).await.err())?;
    denied("a registration", other.register(&record).await.err())?;
    denied("a removal", other.deregister(&record).await.err())?;
    let services = other.services(&service.namespace, &service.group).await;
    denied("the services", services.err())?;
    let mut watch = other.watch(service);
    match watch.next().await {
        Some(Err(error)) => denied("a watch", Some(error))?,
        item => return Err(Stop::failed(format!("a watch of another tenant shows {item:?}"))),
    }
    // Nobody without a login sees more.
    denied("a listing", stage.backend()?.list(service, Read::Quorum).await.err())?;
    // Servers let everybody set a watch; with another login it tells nothing.
    let (mut own, mut foreign) =
        (events(&stage, &record, "one").await?, events(&stage, &record, "other").await?);
    one.register(&stage.record("orders", "two", (1, 1), 60)?).await?;
    let Ok(event) = timeout(SOON, own.watcher.changed()).await else {
        return Err(Stop::failed(
            "the tenant's own watch is quiet, so it proves nothing that another one is",
        ));
    };
    ensure!(event.path.ends_with("/two"), "another event: {event:?}");
    // What a server has to say comes before the answer to this.
    foreign.client.sync("/").await.map_err(|error| Stop::failed(error.to_string()))?;
    let heard = foreign.watcher.changed().now_or_never();
    ensure!(heard.is_none(), "a tenant hears of another one: {heard:?}");
    Ok(())
}

/// A watch without callsign.
struct Events {
    client: zk::Client,
    watcher: zk::PersistentWatcher,
}

/// What the login `name` hears of the service of `record`.
async fn events(stage: &Stage, record: &Record, name: &str) -> CaseResult<Events> {
    let failed = |error: zk::Error| Stop::failed(error.to_string());
    let login = format!("{name}:secret");
    let connector = zk::Client::connector().with_auth("digest", login.as_bytes());
    let client = connector.connect(stage.zookeeper().member(0)?.plain()).await.map_err(failed)?;
    let path = stage.path(record);
    let folder = path.rsplit_once('/').map_or(path.as_str(), |(folder, _)| folder);
    let watcher = client.watch(folder, zk::AddWatchMode::PersistentRecursive).await.map_err(failed)?;
    Ok(Events { client, watcher })
}

pub(crate) async fn what_everybody_may_read_is_found_without_a_login(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let config = stage.config().with_password("one", "secret").with_acl(Acl::CreatorAndRead);
    let (owner, reader) = (backend(&config)?, stage.backend()?);
    let record = stage.record("orders", "one", (1, 1), 60)?;
    let service = &record.key().service;
    let mut watch = reader.watch(service);
    owner.register(&record).await?;
    sees(&mut watch, SOON, "the record", has(1)).await?;
    let Err(error) = reader.deregister(&record).await else {
        return Err(Stop::failed("who may only read has removed a record"));
    };
    ensure!(error.kind() == ErrorKind::PermissionDenied, "another error: {error}");
    owner.renew(&record).await?;
    Ok(())
}

pub(crate) async fn access_list_without_a_login_is_told(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let backend = backend(&stage.config().with_acl(Acl::Creator))?;
    let Err(error) = backend.register(&stage.record("orders", "one", (1, 1), 60)?).await else {
        return Err(Stop::failed("a node was made for an owner that nobody knows"));
    };
    let said = error.to_string();
    ensure!(
        error.kind() == ErrorKind::ConfigInvalid && said.contains("set `username` and `password`"),
        "{said}"
    );
    Ok(())
}

pub(crate) async fn wrong_sasl_password_is_told_and_nothing_else_is(setup: Setup) -> CaseResult {
    let stage = setup.with(Options::with_sasl).stage().await?;
    let config = stage.config().with_password("callsign", "hunter2").with_login(Login::Sasl);
    let wrong = backend(&config)?;
    let Err(error) = wrong.probe(Probe::Reachable).await else {
        return Err(Stop::failed("a wrong password was taken"));
    };
    let said = format!("{error} {error:?}");
    ensure!(error.kind() == ErrorKind::Unauthorized, "another error: {said}");
    ensure!(said.contains("check `login`, `username` and `password`"), "{said}");
    ensure!(!said.contains("hunter2"), "a password is shown: {said}");
    let right = stage.backend()?;
    right.probe(Probe::Authority).await?;
    Ok(())
}

pub(crate) async fn refused_login_costs_no_session(setup: Setup) -> CaseResult {
    let stage = setup.with(Options::with_sasl).stage().await?;
    let folder = tempfile::tempdir().map_err(|error| Stop::failed(error.to_string()))?;
    let file = folder.path().join("password");
    let write =
        |password: &str| std::fs::write(&file, password).map_err(|error| Stop::failed(error.to_string()));
    write(PASSWORD)?;
    // Long enough for a server that takes its time to start.
    let mut config = stage.config().with_session_timeout(SESSION.0 * 3, SESSION.1);
    (config.password, config.password_file) = (None, Some(file.clone()));
    let backend = backend(&config)?;
    let record = stage.record("orders", "one", (1, 1), 60)?;
    backend.register(&record).await?;
    // A client of its own each time: its session ends with the outage.
    let node = async || {
        let found = stage.raw().await?.read(&stage.path(&record)).await?;
        CaseResult::Ok(found.map(|(_, stat)| (stat.czxid, stat.ephemeral_owner)))
    };
    let before = node().await?;
    let mut events = backend.events();
    write("another")?;
    let outage = stage.zookeeper().kill_all().await?;
    // Sooner the library itself attaches again, with the password that it had.
    let given_up = async { while events.next().await.is_some_and(|event| event.kind != EventKind::Lost) {} };
    ensure!(timeout(RECOVERY, given_up).await.is_ok(), "after {RECOVERY:?} the outage is not told");
    outage.heal().await?;
    let refused = async || {
        let renewed = backend.renew(&record).await;
        Ok(renewed.is_err_and(|error| error.kind() == ErrorKind::Unauthorized))
    };
    becomes(RECOVERY * 2, "refused with the wrong password", refused).await?;
    write(PASSWORD)?;
    let renewed = async || Ok(backend.renew(&record).await.is_ok());
    becomes(RECOVERY, "renewed with the right one", renewed).await?;
    let after = node().await?;
    ensure!(before.is_some() && before == after, "the node was {before:?}, and is {after:?}");
    Ok(())
}
