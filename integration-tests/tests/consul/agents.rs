//! Agents that lose what they have, and two that have the same.

use std::time::Duration;

use callsign_core::{Discovery, ErrorKind, Instance, Listing, Read, Registry};
use callsign_integration_tests::Pool;
use callsign_integration_tests::consul::{Consul, Kind, Options};
use callsign_testkit::suite::client::observe::is_registered;
use callsign_testkit::suite::{CaseResult, Stop};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::ensure;
use crate::stage::{SOON, Stage, becomes, changed, lists, pair, record};

pub(crate) async fn record_that_was_taken_from_the_catalog_is_repaired(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Single)).await?;
    let (client, reader) = (stage.client()?, stage.backend()?);
    let service = stage.service("orders")?;
    let ttl = Duration::from_secs(2);
    let owner = stage.owner(&client, &service, "one", ttl).await?;
    let node = stage.consul().home()?.name();
    let gone = json!({"Node": node, "ServiceID": callsign_consul::instance_id(owner.registration.key())});
    stage.put("/v1/catalog/deregister", &gone).await?;
    becomes(&reader, &service, SOON, "gone", |found| found.is_none()).await?;
    becomes(&reader, &service, ttl * 5, "back", |found| found.is_some()).await?;
    is_registered(&owner.registration, SOON).await?;
    Ok(())
}

pub(crate) async fn agent_that_comes_back_with_nothing_is_filled_again(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev)).await?;
    let (client, reader) = (stage.client()?, stage.backend()?);
    let service = stage.service("orders")?;
    let ttl = Duration::from_secs(6);
    let owner = stage.owner(&client, &service, "one", ttl).await?;
    for _ in 0..5 {
        // It has nothing then, or what was registered again before it was asked.
        stage.consul().wipe().await?;
        let bound = ttl / 3 + SOON;
        becomes(&reader, &service, bound, "back", |found| found.is_some_and(Instance::routable)).await?;
        is_registered(&owner.registration, SOON).await?;
    }
    Ok(())
}

pub(crate) async fn agent_that_has_not_taken_a_record_cannot_renew_or_remove_it(
    pool: Pool<Consul>,
) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Cluster)).await?;
    let (right, wrong) = (stage.backend()?, stage.backend_at(0)?);
    let record = record(&stage.service("orders")?, 60)?;
    let service = &record.key().service;
    ensure!(right.register(&record).await?.committed, "a registration was not committed");
    match wrong.renew(&record).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        other => return Err(Stop::failed(format!("another agent renews: {other:?}"))),
    }
    // That agent says that all is well; the servers have it all the same.
    ensure!(!wrong.deregister(&record).await?.committed, "what is there was said to be removed");
    ensure!(right.list(service, Read::Quorum).await?.instances.len() == 1, "another agent has removed it");
    right.renew(&record).await?;
    ensure!(right.deregister(&record).await?.committed, "its own agent has not removed it");
    becomes(&right, service, SOON, "gone", |found| found.is_none()).await
}

pub(crate) async fn of_one_id_at_two_agents_the_higher_pair_is_listed_and_the_lower_hears_of_it(
    pool: Pool<Consul>,
) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Cluster)).await?;
    let (here, there) = (stage.backend()?, stage.backend_at(0)?);
    let lower = record(&stage.service("orders")?, 4)?;
    let higher = changed(&lower, 2, |instance| instance.weight(7))?;
    let service = &lower.key().service;
    here.register(&lower).await?;
    there.register(&higher).await?;
    let the_higher = |listing: &Listing| {
        listing.instances.len() == 1 && listing.instances[0].pair() == pair(2) && listing.skipped.is_empty()
    };
    lists(&here, service, SOON, "the higher pair alone", the_higher).await?;
    // A proof is due every 2.5 ttls.
    let until = Instant::now() + lower.ttl.get() * 3 + SOON;
    loop {
        there.renew(&higher).await?;
        match here.renew(&lower).await {
            Err(error) if error.kind() == ErrorKind::Conflict => break,
            Ok(_) => ensure!(Instant::now() < until, "the lower pair has not heard of the higher one"),
            Err(error) => return Err(error.into()),
        }
        sleep(lower.ttl.get() / 4).await;
    }
    here.deregister(&lower).await?;
    lists(&there, service, SOON, "the higher pair still", the_higher).await?;
    there.deregister(&higher).await?;
    lists(&there, service, SOON, "nobody", |listing| listing.instances.is_empty()).await.map(drop)
}
