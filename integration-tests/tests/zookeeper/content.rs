//! What is written, and what is found there.

use std::time::Duration;

use callsign_core::{Backend, ErrorKind, Instance, Listing, Pair, Read, Record, Ttl};
use callsign_testkit::suite::{CaseResult, Stop};
use futures::FutureExt;
use futures::future::try_join_all;
use tokio::time::{Instant, timeout};
use zookeeper_client as zk;

use crate::ensure;
use crate::stage::{RECOVERY, SOON, Setup, becomes, has, lists, sees};

pub(crate) async fn register_that_was_given_up_leaves_no_node(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let (backend, reader) = (stage.backend()?, stage.backend()?);
    let service = stage.service("orders")?;
    // So that there is a session, and the way to the service.
    backend.register(&stage.record("orders", "kept", (1, 1), 60)?).await?;
    for n in 0..50 {
        let record = stage.record("orders", &format!("id-{n}"), (1, 1), 2)?;
        if n % 2 == 0 {
            let _ = backend.register(&record).now_or_never();
        } else {
            let _ = timeout(Duration::from_micros(300), backend.register(&record)).await;
        }
    }
    let arrived = |listing: &Listing| listing.instances.len() > 1;
    lists(&reader, &service, SOON, "one of those whose callers have gone", arrived).await?;
    lists(&reader, &service, RECOVERY, "what is kept alone", has(1)).await?;
    Ok(())
}

pub(crate) async fn too_much_metadata_is_refused_before_it_is_sent(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let backend = stage.backend()?;
    let kept = stage.record("orders", "kept", (1, 1), 60)?;
    backend.register(&kept).await?;
    let mut builder = Instance::builder(stage.service("orders")?).id("much").endpoint("http://127.0.0.1:1");
    for n in 0..2048 {
        builder = builder.metadata(format!("key-{n}"), "x".repeat(1000));
    }
    let much = Record::new(builder.pair(Pair::new(1, 1)).build()?, Ttl::default());
    let Err(error) = backend.register(&much).await else {
        return Err(Stop::failed("2 MiB of metadata were taken"));
    };
    ensure!(error.kind() == ErrorKind::LimitExceeded, "another error: {error}");
    ensure!(error.to_string().contains("up to 65536 are allowed (`max_value_size`)"), "{error}");
    backend.renew(&kept).await?;
    Ok(())
}

pub(crate) async fn node_made_anew_during_an_outage_is_a_change(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let (backend, raw) = (stage.backend()?, stage.raw().await?);
    let proxy = stage.proxy()?;
    let reader = crate::stage::backend(&stage.config().with_servers([proxy.address().to_string()]))?;
    let record = stage.record("orders", "one", (1, 1), 60)?;
    backend.register(&record).await?;
    let mut watch = reader.watch(&record.key().service);
    sees(&mut watch, SOON, "the record", has(1)).await?;
    proxy.order(callsign_integration_tests::proxy::Mode::Refuse);
    proxy.settled().await;
    let path = stage.path(&record);
    let made = |found: Option<(Vec<u8>, zk::Stat)>| found.map(|(_, stat)| (stat.czxid, stat.version));
    let before = made(raw.read(&path).await?);
    raw.delete(&path).await?;
    let again = stage.record("orders", "one", (2, 1), 60)?;
    backend.register(&again).await?;
    let after = made(raw.read(&path).await?);
    ensure!(before.map(|(_, version)| version) == after.map(|(_, version)| version), "{before:?} {after:?}");
    proxy.order(callsign_integration_tests::proxy::Mode::Pass);
    let newer =
        |listing: &Listing| listing.instances.first().is_some_and(|instance| instance.incarnation == 2);
    sees(&mut watch, RECOVERY, "the node that was made anew", newer).await?;
    Ok(())
}

pub(crate) async fn bad_nodes_in_a_service_hide_no_good_one(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let (backend, raw) = (stage.backend()?, stage.raw().await?);
    let record = stage.record("orders", "one", (1, 1), 60)?;
    backend.register(&record).await?;
    let mut watch = backend.watch(&record.key().service);
    sees(&mut watch, SOON, "the record", has(1)).await?;
    let folder = stage.path(&record).replace("/one", "");
    let options = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    for (name, data) in [("empty", ""), ("other%2", "{}"), ("json", "{\"v\":1}"), ("newer", "{\"v\":9}")] {
        let created = raw.client().create(&format!("{folder}/{name}"), data.as_bytes(), &options).await;
        created.map_err(|error| Stop::failed(format!("the library: {error}")))?;
    }
    let all = |listing: &Listing| listing.instances.len() == 1 && listing.skipped.len() == 4;
    sees(&mut watch, SOON, "one record and four that are skipped", all).await?;
    lists(&backend, &record.key().service, SOON, "one record and four that are skipped", all).await?;
    Ok(())
}

pub(crate) async fn ten_thousand_are_registered_and_read_in_time(setup: Setup) -> CaseResult {
    const COUNT: usize = 10_000;
    let stage = setup.stage_alone().await?;
    let (backend, reader) = (stage.backend()?, stage.backend()?);
    let service = stage.service("orders")?;
    let records: Vec<_> = (0..COUNT)
        .map(|n| stage.record("orders", &format!("id-{n:05}"), (1, 1), 120))
        .collect::<CaseResult<_>>()?;
    reader.list(&service, Read::Quorum).await?;
    let begin = Instant::now();
    try_join_all(records.iter().map(|record| backend.register(record))).await?;
    let registered = begin.elapsed();
    let begin = Instant::now();
    let listing = reader.list(&service, Read::Quorum).await?;
    let listed = begin.elapsed();
    ensure!(listing.instances.len() == COUNT, "{} were listed", listing.instances.len());
    let begin = Instant::now();
    try_join_all(records.iter().map(|record| backend.renew(record))).await?;
    let renewed = begin.elapsed();
    // Generous: a debug build, on a machine that runs other tests. The benches measure.
    ensure!(registered < Duration::from_secs(15), "registering took {registered:?}");
    ensure!(listed < Duration::from_secs(5), "listing took {listed:?}");
    ensure!(renewed < Duration::from_secs(10), "renewing took {renewed:?}");
    backend.close().await?;
    Ok(())
}

pub(crate) async fn record_that_was_overwritten_is_removed_from_the_session(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let backend = stage.backend()?;
    let record = stage.record("orders", "one", (1, 1), 2)?;
    backend.register(&record).await?;
    // Overwritten past the backend: it is lost, and still a node of the session.
    let raw = stage.raw().await?;
    raw.write(&stage.path(&record), b"foreign").await?;
    let Err(error) = backend.renew(&record).await else {
        return Err(Stop::failed("a record that was overwritten was renewed"));
    };
    ensure!(error.kind() == ErrorKind::NotFound, "another error: {error}");
    let gone = async || Ok(raw.read(&stage.path(&record)).await?.is_none());
    becomes(RECOVERY, "removed from the session", gone).await
}

pub(crate) async fn large_record_that_was_written_often_is_taken_over(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let (before, after) = (stage.backend()?, stage.backend()?);
    let large = |pair| -> CaseResult<Record> {
        let mut builder =
            Instance::builder(stage.service("orders")?).id("one").endpoint("http://127.0.0.1:1");
        for n in 0..50 {
            builder = builder.metadata(format!("key-{n}"), "x".repeat(1000));
        }
        Ok(Record::new(builder.pair(pair).build()?, Ttl::from_secs(60)?))
    };
    // Each of these writes it in place; more bytes in one request than a server takes, if each were sent again.
    for seq in 0..50 {
        before.register(&large(Pair::new(1, seq))?).await?;
    }
    let kept = stage.record("orders", "kept", (1, 1), 60)?;
    after.register(&kept).await?;
    let heir = large(Pair::new(2, 0))?;
    after.register(&heir).await?;
    after.renew(&heir).await?;
    after.renew(&kept).await?;
    let found = after.list(&heir.key().service, Read::Quorum).await?;
    ensure!(found.instances.iter().any(|instance| instance.pair() == Pair::new(2, 0)), "{found:?}");
    Ok(())
}
