//! What a person may have got wrong, and what is no ZooKeeper: each refusal says what, where, and what to do.

use std::time::Duration;

use callsign_core::{Backend, Error, ErrorKind, EventKind, Probe};
use callsign_integration_tests::Address;
use callsign_integration_tests::zookeeper::Options;
use callsign_testkit::suite::{CaseResult, Stop};
use callsign_zookeeper::ZooKeeperConfig;
use futures::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::ensure;
use crate::stage::{SOON, Setup, Stage, backend, has, lists, sees};

/// The error of a client that is configured so.
async fn refused(config: &ZooKeeperConfig) -> CaseResult<Error> {
    let backend = backend(config)?;
    match timeout(Duration::from_secs(8), backend.probe(Probe::Reachable)).await {
        Ok(Err(error)) => Ok(error),
        Ok(Ok(())) => Err(Stop::failed("it was reached")),
        Err(_) => Err(Stop::failed("nobody says why it cannot be reached")),
    }
}

fn says(error: &Error, kind: ErrorKind, words: &[&str]) -> CaseResult {
    let said = error.to_string();
    ensure!(error.kind() == kind, "another kind, {:?}: {said}", error.kind());
    for word in words {
        ensure!(said.contains(word), "it does not say `{word}`: {said}");
    }
    Ok(())
}

pub(crate) async fn unknown_host_among_good_ones_is_in_nobodys_way(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let mut servers = vec!["no-such-host.invalid:2181".to_owned()];
    servers.extend(stage.config().servers);
    let backend = backend(&stage.config().with_servers(servers))?;
    let record = stage.record("orders", "one", (1, 1), 60)?;
    backend.register(&record).await?;
    lists(&backend, &record.key().service, SOON, "the record", has(1)).await?;
    Ok(())
}

pub(crate) async fn what_is_no_zookeeper_is_told_for_what_it_is(_: Setup) -> CaseResult {
    let nobody = Address::reserve()?.at(2181).to_string();
    let config = |server: &str| ZooKeeperConfig::default().with_servers([server]);
    let words = [nobody.as_str(), "connection refused, does ZooKeeper listen there?"];
    says(&refused(&config(&nobody)).await?, ErrorKind::Unavailable, &words)?;
    let error = refused(&config("no-such-host.invalid:2181")).await?;
    says(&error, ErrorKind::Unavailable, &["no-such-host.invalid:2181: the host is not known by this name"])?;
    let failed = |error: std::io::Error| Stop::failed(format!("a stranger cannot listen: {error}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    let stranger = listener.local_addr().map_err(failed)?.to_string();
    let listening = async {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Whatever becomes of it is what a web server does to who does not speak its language.
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    };
    let stranger = config(&stranger);
    let error = tokio::select! {
        () = listening => return Err(Stop::failed("the stranger has left")),
        error = refused(&stranger) => error?,
    };
    says(&error, ErrorKind::ConfigInvalid, &["what answers there is no ZooKeeper, is the port right?"])
}

pub(crate) async fn tls_that_does_not_fit_is_told_from_both_sides(setup: Setup) -> CaseResult {
    let encrypted = setup.with(Options::with_tls).stage().await?;
    let config = encrypted.config();
    let mut plain = config.clone();
    plain.tls = None;
    says(&refused(&plain).await?, ErrorKind::Unavailable, &["if it speaks TLS only, add the table `tls`"])?;
    let mut nameless = config.tls.clone().unwrap_or_default();
    (nameless.cert_file, nameless.key_file) = (None, None);
    let error = refused(&config.clone().with_tls(nameless)).await?;
    says(&error, ErrorKind::ConfigInvalid, &["set `tls.cert_file` and `tls.key_file`"])?;
    let mut trusting = config.tls.clone().unwrap_or_default();
    trusting.ca_file = trusting.cert_file.clone();
    let error = refused(&config.clone().with_tls(trusting)).await?;
    says(&error, ErrorKind::ConfigInvalid, &["name whoever has in `tls.ca_file`"])?;
    let unencrypted = encrypted.zookeeper().members().iter().map(|member| member.plain().to_owned());
    let error = refused(&config.clone().with_servers(unencrypted)).await?;
    says(&error, ErrorKind::Unavailable, &["if it speaks no TLS, leave the table `tls` out"])?;
    backend(&config)?.probe(Probe::Authority).await?;
    Ok(())
}

pub(crate) async fn chroot_that_is_not_there_is_told(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let chroot = format!("/{}", stage.namespace());
    let config = stage.config().with_chroot(chroot.clone());
    let error = refused(&config).await?;
    says(&error, ErrorKind::ConfigInvalid, &[&format!("`chroot`: there is no node {chroot}: create it")])?;
    let record = stage.record("orders", "one", (1, 1), 60)?;
    let (sessions, attempts) = (counted(&stage, "zk_global_sessions"), "zk_connection_request_count");
    let (sessions, begun) = (sessions.await?, counted(&stage, attempts).await?);
    let waiting = backend(&config)?;
    ensure!(waiting.register(&record).await.is_err(), "a record was registered nowhere");
    let tried = async || Ok(counted(&stage, attempts).await? >= begun + 5);
    crate::stage::becomes(SOON * 2, "tried five times", tried).await?;
    let now = counted(&stage, "zk_global_sessions").await?;
    ensure!(now <= sessions + 2, "attempts leave sessions behind: there were {sessions}, and are {now}");
    let raw = stage.raw().await?;
    let options = zookeeper_client::CreateMode::Persistent.with_acls(zookeeper_client::Acls::anyone_all());
    let made = raw.client().create(&chroot, &[], &options).await;
    made.map_err(|error| Stop::failed(format!("the library: {error}")))?;
    let registered = async || Ok(waiting.register(&record).await.is_ok());
    crate::stage::becomes(SOON, "registered when the node is there", registered).await?;
    let path = format!("{chroot}{}", stage.path(&record));
    ensure!(raw.read(&path).await?.is_some(), "nothing stands at {path}");
    let mut watch = waiting.watch(&record.key().service);
    sees(&mut watch, SOON, "it", has(1)).await?;
    lists(&waiting, &record.key().service, SOON, "it", has(1)).await?;
    waiting.renew(&record).await?;
    waiting.deregister(&record).await?;
    sees(&mut watch, SOON, "nobody", has(0)).await?;
    Ok(())
}

/// The sum of a number that the servers keep.
async fn counted(stage: &Stage, name: &str) -> CaseResult<u64> {
    let mut sum = 0;
    for number in 0..stage.zookeeper().members().len() {
        let said = stage.zookeeper().command(number, "mntr").await?;
        let value = said.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        sum += value.ok_or_else(|| Stop::failed(format!("a server does not count `{name}`")))?;
    }
    Ok(sum)
}

pub(crate) async fn session_timeout_that_is_not_granted_is_told(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let config = stage.config().with_session_timeout(Duration::from_secs(120), Duration::from_secs(4));
    let backend = backend(&config)?;
    let mut events = backend.events();
    backend.probe(Probe::Reachable).await?;
    let event = timeout(SOON, events.next()).await.ok().flatten();
    let Some(event) = event.filter(|event| event.kind == EventKind::Ready) else {
        return Err(Stop::failed("nothing is told"));
    };
    let said = event.cause.map(|cause| cause.to_string()).unwrap_or_default();
    ensure!(said.contains("the servers grant 1m instead of 2m"), "it says: {said}");
    Ok(())
}
