//! What a case works with: a fake of its own, names that nobody else uses, and clients.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{
    Backend, Instance, Listing, Pair, Read, Record, ServiceKey, Ttl, WatchEvent, WatchStream,
};
use callsign_integration_tests::nacos::{Fake, FakeOptions, config_of_fake};
use callsign_nacos::{Nacos, NacosConfig};
use callsign_testkit::suite::{CaseResult, Stop};
use futures::StreamExt;
use tokio::time::{Instant, sleep, timeout_at};

use crate::ensure;

/// How long a change may take to be seen, on a machine that has a lot to do.
pub(crate) const SOON: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

pub(crate) fn fake(options: FakeOptions) -> CaseResult<Arc<Fake>> {
    Ok(Fake::start(options)?)
}

pub(crate) fn client(fake: &Fake) -> CaseResult<Arc<dyn Backend>> {
    backend(&config_of_fake(fake))
}

pub(crate) fn backend(config: &NacosConfig) -> CaseResult<Arc<dyn Backend>> {
    Ok(Arc::new(Nacos::new(config, "nacos")?))
}

pub(crate) fn service(name: &str) -> CaseResult<ServiceKey> {
    Ok(ServiceKey::new(name)?)
}

pub(crate) fn record(service: &ServiceKey, id: &str, pair: (u64, u64), ttl: u64) -> CaseResult<Record> {
    let number: u8 = id.bytes().fold(1, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    let endpoint = format!("http://127.0.7.{number}:1");
    let builder = Instance::builder(service).id(id).endpoint(endpoint.as_str());
    Ok(Record::new(builder.pair(Pair::new(pair.0, pair.1)).build()?, Ttl::from_secs(ttl)?))
}

/// Waits until a listing is as `accept` wants it.
pub(crate) async fn lists(
    backend: &Arc<dyn Backend>,
    service: &ServiceKey,
    within: Duration,
    what: &str,
    accept: impl Fn(&Listing) -> bool,
) -> CaseResult<Listing> {
    let until = Instant::now() + within;
    loop {
        let listed = backend.list(service, Read::Quorum).await;
        if let Ok(listing) = &listed
            && accept(listing)
        {
            return Ok(listing.clone());
        }
        ensure!(Instant::now() < until, "after {within:?} not {what}: {listed:?}");
        sleep(POLL).await;
    }
}

/// Waits until a watch hands a listing over that is as `accept` wants it.
pub(crate) async fn sees(
    watch: &mut WatchStream,
    within: Duration,
    what: &str,
    mut accept: impl FnMut(&Listing) -> bool,
) -> CaseResult<Listing> {
    let until = Instant::now() + within;
    loop {
        match timeout_at(until, watch.next()).await {
            Ok(Some(Ok(WatchEvent::Listing(listing)))) if accept(&listing) => return Ok(listing),
            Ok(Some(_)) => {}
            Ok(None) => return Err(Stop::failed("the watch ended")),
            Err(_) => return Err(Stop::failed(format!("after {within:?} the watch has not shown {what}"))),
        }
    }
}

/// Waits until `done` says so.
pub(crate) async fn becomes(within: Duration, what: &str, done: impl Fn() -> bool) -> CaseResult {
    let until = Instant::now() + within;
    while !done() {
        ensure!(Instant::now() < until, "after {within:?} not {what}");
        sleep(POLL).await;
    }
    Ok(())
}

pub(crate) fn has(count: usize) -> impl Fn(&Listing) -> bool {
    move |listing| listing.instances.len() == count
}
