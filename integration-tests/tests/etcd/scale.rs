//! Many records, within bounds that even an unoptimized build on a busy machine keeps; figures come from the bench.

use std::time::Duration;

use callsign_core::{Read, WatchEvent, WatchStream};
use callsign_testkit::suite::client::observe::{is_registered, shows};
use callsign_testkit::suite::{CaseResult, Stop};
use futures::StreamExt;
use futures::future::{join_all, try_join_all};
use tokio::time::{Instant, timeout_at};

use crate::ensure;
use crate::raw::place;
use crate::setup::Setup;
use crate::stage::{CALL, SOON, instance, options, record};

pub(crate) async fn hundred_thousand_records_are_listed_and_followed(setup: Setup) -> CaseResult {
    const COUNT: usize = 100_000;
    const BOUND: Duration = Duration::from_secs(25);
    let stage = setup.stage_alone().await?;
    let service = stage.service("orders")?;
    let backend = stage.backend()?;
    let one = record(&service, "id-000000", 1, Duration::from_secs(3000))?;
    backend.register(&one).await?;
    let key = place(one.key());
    let stored = stage.raw().await?.get(&key).await?.ok_or_else(|| Stop::failed("there is no record"))?;
    let value = String::from_utf8_lossy(stored.value()).into_owned();
    let prefix = String::from_utf8_lossy(key.strip_suffix(b"id-000000").unwrap_or_default()).into_owned();
    let written = (0..8).map(|part| {
        let (stage, prefix, value) = (&stage, &prefix, &value);
        async move {
            let some = (1..COUNT).filter(|number| number % 8 == part).map(|number| {
                let id = format!("id-{number:06}");
                (format!("{prefix}{id}").into_bytes(), value.replace("id-000000", &id).into_bytes())
            });
            stage.raw().await?.put_all(&some.collect::<Vec<_>>()).await
        }
    });
    try_join_all(written).await?;

    let asked = Instant::now();
    let listing = backend.list(&service, Read::Quorum).await?;
    let took = asked.elapsed();
    let counts = (listing.instances.len(), listing.skipped.len());
    ensure!(counts == (COUNT, 0) && took < BOUND, "{counts:?} after {took:?}");
    let mut watch = backend.watch(&service);
    shows_so_many(&mut watch, COUNT, BOUND).await?;
    backend.deregister(&one).await?;
    shows_so_many(&mut watch, COUNT - 1, CALL).await
}

/// The next listing is there in time, and has so many.
async fn shows_so_many(watch: &mut WatchStream, count: usize, within: Duration) -> CaseResult {
    let until = Instant::now() + within;
    loop {
        match timeout_at(until, watch.next()).await {
            Ok(Some(Ok(WatchEvent::Listing(listing)))) => {
                let found = listing.instances.len();
                ensure!(found == count, "{found} are shown instead of {count}");
                return Ok(());
            }
            Ok(Some(Ok(_))) => {}
            other => {
                return Err(Stop::failed(format!("the watch says {:?}", other.map(|item| item.map(|_| ())))));
            }
        }
    }
}

pub(crate) async fn ten_thousand_registrations_of_one_process_are_made_and_kept(setup: Setup) -> CaseResult {
    const COUNT: usize = 10_000;
    /// Ten times the target: the build is not optimized, and others use the machine.
    const BOUND: Duration = Duration::from_secs(15);
    let ttl = Duration::from_secs(15);
    let stage = setup.stage_alone().await?;
    let service = stage.service("orders")?;
    let client = stage.client()?;
    let mut events = client.events();
    let instances = (0..COUNT).map(|number| Ok(instance(&service, &format!("id-{number}")).build()?));
    let instances: Vec<_> = instances.collect::<CaseResult<_>>()?;
    let asked = Instant::now();
    let options = options(ttl)?.required().with_wait(Duration::from_secs(60));
    let made = instances.into_iter().map(|instance| client.register(instance, options.clone()));
    let registrations = try_join_all(made).await?;
    let took = asked.elapsed();
    ensure!(took < BOUND, "{COUNT} registrations took {took:?}");
    let view = stage.view(&stage.client()?, &service).await?;
    let all = view.snapshot().instances.len();
    ensure!(all == COUNT, "{all} are listed");

    // Longer than a lease lasts that nobody renews.
    tokio::time::sleep(ttl + Duration::from_secs(2)).await;
    for registration in &registrations {
        is_registered(registration, Duration::from_secs(1)).await?;
    }
    crate::stage::nothing_was_lost(&mut events)?;
    let all = stage.backend()?.list(&service, Read::Quorum).await?.instances.len();
    ensure!(all == COUNT, "{all} are left");
    let asked = Instant::now();
    let departures =
        join_all(registrations.iter().map(|registration| registration.deregister(Duration::from_secs(20))))
            .await;
    // The notice of one second is not enough to announce all of them.
    let unclean = departures.iter().find(|departure| departure.removed.is_err());
    ensure!(unclean.is_none(), "after {:?}: {unclean:?}", asked.elapsed());
    shows(&view, SOON, "nobody", |snapshot| snapshot.instances.is_empty()).await?;
    Ok(())
}
