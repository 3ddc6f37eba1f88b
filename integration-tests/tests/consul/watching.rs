//! What watches and lists make of what a real Consul has.

use std::time::Duration;

use callsign_client::RegistrationState;
use callsign_core::{
    Discovery, Listing, Metadata, Read, Record, Registry, ServiceKey, WatchEvent, WatchStream,
};
use callsign_integration_tests::Pool;
use callsign_integration_tests::consul::{Consul, Kind, Options};
use callsign_testkit::suite::client::observe::shows;
use callsign_testkit::suite::{CaseResult, Stop};
use futures::StreamExt;
use futures::future::{join_all, try_join_all};
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use crate::ensure;
use crate::stage::{SOON, Stage, instance, pair, record};

/// A query waits 9 s, and Consul up to a sixteenth longer.
const ONE_WAIT: Duration = Duration::from_secs(10);

pub(crate) async fn instances_of_others_are_listed_and_bad_ones_hide_nobody(
    pool: Pool<Consul>,
) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev)).await?;
    let backend = stage.backend()?;
    let service = stage.service("orders")?;
    let name = callsign_consul::service_name(&service);
    let others = [
        json!({"ID": "plain", "Name": name, "Port": 8080}),
        json!({"ID": "spring", "Name": name, "Port": 8443, "Address": "10.0.0.7",
            "Meta": {"secure": "true", "zone": "a"}, "Tags": ["x"]}),
        json!({"ID": "odd", "Name": name, "Port": 70000}),
    ];
    for other in &others {
        stage.put("/v1/agent/service/register", other).await?;
    }
    let listing = backend.list(&service, Read::Quorum).await?;
    let found: Vec<_> = listing
        .instances
        .iter()
        .map(|instance| format!("{} {}", instance.id(), instance.endpoints.primary().port))
        .collect();
    ensure!(found == ["plain 8080", "spring 8443"], "listed are {found:?}");
    ensure!(listing.instances[1].endpoints.primary().secure, "spring says that it is secure");
    let skipped: Vec<_> = listing.skipped.iter().map(|skipped| &*skipped.id).collect();
    ensure!(skipped == ["odd"], "skipped are {skipped:?}");
    Ok(())
}

pub(crate) async fn metadata_that_consul_does_not_take_comes_back_whole(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev)).await?;
    let backend = stage.backend()?;
    let service = stage.service("orders")?;
    let many = (0..100).map(|number| (format!("key-{number}"), number.to_string()));
    let odd = [
        ("dotted.key".to_owned(), "a/b".to_owned()),
        ("long".to_owned(), "x".repeat(513)),
        ("two-bytes-each".to_owned(), "é".repeat(300)),
        ("consul-like".to_owned(), "reserved".to_owned()),
        ("key with a space".to_owned(), String::new()),
    ];
    let metadata = Metadata::from_entries(odd.into_iter().chain(many))?;
    let own = instance(&service).all_metadata(metadata.clone()).pair(pair(1)).build()?;
    let record = Record::new(own, record(&service, 60)?.ttl);
    ensure!(backend.register(&record).await?.committed, "the servers do not have it");
    let listing = backend.list(&service, Read::Quorum).await?;
    ensure!(listing.instances.len() == 1 && listing.skipped.is_empty(), "listed is {listing:?}");
    ensure!(listing.instances[0].metadata == metadata, "it came back as {:?}", listing.instances[0].metadata);
    backend.renew(&record).await?;
    Ok(())
}

/// The listings that a watch hands over within this time.
async fn listings(watch: &mut WatchStream, within: Duration) -> CaseResult<Vec<Listing>> {
    let (until, mut listings) = (Instant::now() + within, Vec::new());
    while let Ok(event) = tokio::time::timeout_at(until, watch.next()).await {
        match event {
            Some(Ok(WatchEvent::Listing(listing))) => listings.push(listing),
            Some(Ok(_)) => {}
            other => return Err(Stop::failed(format!("the watch says {other:?}"))),
        }
    }
    Ok(listings)
}

pub(crate) async fn last_one_who_leaves_empties_the_list_once_and_nobody_elses(
    pool: Pool<Consul>,
) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev)).await?;
    let (owner, reader) = (stage.backend()?, stage.backend()?);
    let record = record(&stage.service("orders")?, 60)?;
    let mut watch = reader.watch(&record.key().service);
    // Consul wakes whoever waits for a service that is not there when the last instance of any service leaves.
    let mut absent = reader.watch(&stage.service("absent")?);
    for watch in [&mut watch, &mut absent] {
        let first = timeout(SOON, watch.next()).await;
        let empty = matches!(&first, Ok(Some(Ok(WatchEvent::Listing(first)))) if first.instances.is_empty());
        ensure!(empty, "the first answer is {first:?}");
    }
    owner.register(&record).await?;
    let there = listings(&mut watch, Duration::from_secs(2)).await?;
    ensure!(there.len() == 1 && there[0].instances.len() == 1, "after a registration: {there:?}");
    owner.deregister(&record).await?;
    let gone = listings(&mut watch, Duration::from_secs(2)).await?;
    ensure!(gone.len() == 1 && gone[0].instances.is_empty(), "after the removal: {gone:?}");
    let nothing = listings(&mut absent, Duration::from_secs(1)).await?;
    ensure!(nothing.is_empty(), "who waits for another service is told {nothing:?}");
    Ok(())
}

/// Servers that begin anew behind an agent that goes on: an index of the old ones is never reached by the new ones.
pub(crate) async fn watch_that_is_ahead_of_its_servers_is_not_blind(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Cluster)).await?;
    let (owner, reader) = (stage.backend()?, stage.backend()?);
    let service = stage.service("orders")?;
    let first = record(&service, 60)?;
    let second = Record::new(instance(&service).id("two").pair(pair(1)).build()?, first.ttl);
    for number in 0..300 {
        stage.put(&format!("/v1/kv/filler/{number}"), &json!(number)).await?;
    }
    owner.register(&first).await?;
    let mut watch = reader.watch(&service);
    let before = loop {
        match timeout(SOON, watch.next()).await {
            Ok(Some(Ok(WatchEvent::Listing(listing)))) => break listing,
            Ok(Some(Ok(_))) => {}
            other => return Err(Stop::failed(format!("no first answer: {other:?}"))),
        }
    };
    stage.consul().wipe_servers().await?;
    owner.register(&second).await?;
    let registered = Instant::now();
    let seen = async {
        loop {
            if let Some(Ok(WatchEvent::Listing(listing))) = watch.next().await
                && listing.instances.iter().any(|found| found.key == *second.key())
            {
                return listing;
            }
        }
    };
    let bound = ONE_WAIT + SOON;
    let Ok(seen) = timeout(bound, seen).await else {
        return Err(Stop::failed(format!("who has registered is not seen after {bound:?}")));
    };
    ensure!(seen.epoch > before.epoch, "the servers began anew: {before:?}, {seen:?}");
    ensure!(registered.elapsed() <= bound, "seen only after {:?}", registered.elapsed());
    Ok(())
}

pub(crate) async fn more_watches_than_connections_starve_no_renewal(pool: Pool<Consul>) -> CaseResult {
    many_watches(pool, Options::new(Kind::Dev).with_default_limits()).await
}

pub(crate) async fn more_watches_than_connections_over_tls_starve_no_renewal(
    pool: Pool<Consul>,
) -> CaseResult {
    many_watches(pool, Options::new(Kind::Dev).with_default_limits().with_tls()).await
}

async fn many_watches(pool: Pool<Consul>, options: Options) -> CaseResult {
    /// An agent gives one client 200 connections, and each watch takes one.
    const WATCHED: usize = 300;
    let stage = Stage::take_alone(&pool, options).await?;
    let client = stage.client()?;
    let services: Vec<ServiceKey> =
        (0..WATCHED).map(|n| stage.service(&format!("orders-{n}"))).collect::<CaseResult<_>>()?;
    let views: Vec<_> = services.iter().map(|service| client.service(service.clone())).collect();
    let live =
        |view| shows(view, Duration::from_secs(30), "a first answer", |shown| shown.freshness.is_live());
    for shown in join_all(views.iter().map(live)).await {
        shown?;
    }
    // Now that all watches hold a connection: before that, hundreds of handshakes are in everybody's way.
    let owners =
        services.iter().take(20).map(|service| stage.owner(&client, service, "one", Duration::from_secs(6)));
    let owners = try_join_all(owners).await?;
    let until = Instant::now() + Duration::from_secs(25);
    while Instant::now() < until {
        for owner in &owners {
            let now = owner.registration.state();
            ensure!(matches!(now, RegistrationState::Registered { .. }), "a registration is {now}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    let live = views.iter().filter(|view| view.snapshot().freshness.is_live()).count();
    ensure!(live == WATCHED, "{live} of {WATCHED} views are live");
    let seen = views.iter().take(20).filter(|view| view.snapshot().routable().len() == 1).count();
    ensure!(seen == owners.len(), "{seen} of {} are seen", owners.len());
    Ok(())
}
