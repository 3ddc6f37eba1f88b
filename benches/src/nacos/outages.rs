//! r-nacos is away, and comes back with nothing.

use std::time::Duration;

use anyhow::Result;
use callsign_benches::fleet;
use callsign_client::{Client, RegisterOptions};
use callsign_core::{EventKind, Read, Record, ServiceKey, Ttl, WatchEvent, WatchStream};
use futures::StreamExt;
use futures::future::{join_all, try_join_all};
use tokio::time::sleep;

use super::{backend, runtime, start};
use crate::clock::Stopwatch;
use crate::measure::{Measure, Unit};
use crate::samples::Samples;

const TTL: Duration = Duration::from_secs(15);
/// Longer than any time-out of anybody's.
const LONG: Duration = Duration::from_secs(70);
/// And what a registrar spreads its first write over.
const BACK_S: f64 = 2.5 + 3.0;
const MANY: usize = 1_000;
const REPLAYED_S: f64 = 1.5;
const REPLAYS: usize = 3;

/// Down for 70 s: from when it serves until a registration is there again.
pub(crate) fn back_after_outage() -> Result<Vec<Measure>> {
    let taken = runtime()?.block_on(async {
        let rnacos = start().await?;
        let reader = backend(&rnacos)?;
        let client = Client::builder(backend(&rnacos)?).ttl(Ttl::new(TTL)?).build()?;
        let service = ServiceKey::new("orders")?;
        let _registration =
            client.register(fleet::instance(&service, 1)?, RegisterOptions::new().required()).await?;
        let killed = rnacos.kill_all().await?;
        sleep(LONG).await;
        killed.heal().await?;
        let clock = Stopwatch::start();
        while !reader.list(&service, Read::Any).await.is_ok_and(|listing| listing.instances.len() == 1) {
            sleep(Duration::from_millis(10)).await;
        }
        anyhow::Ok(clock.elapsed())
    })?;
    let samples = Samples::new([taken], "outages of 70 s");
    Ok(vec![Measure::slowest("nacos.back_after_outage", &samples, Unit::Seconds, BACK_S)])
}

/// 1000 registrations of different services and 1000 subscriptions over one connection, after a short outage: from when
/// it is connected again until the server has taken all registrations anew and answered all subscriptions. What it pushes
/// after that comes in its own time.
pub(crate) fn replay() -> Result<Vec<Measure>> {
    let taken = runtime()?.block_on(async {
        let rnacos = start().await?;
        let backend = backend(&rnacos)?;
        let services = (0..MANY).map(|n| ServiceKey::new(format!("orders-{n}")));
        let services: Vec<_> = services.collect::<callsign_core::Result<_>>()?;
        let records = services
            .iter()
            .enumerate()
            .map(|(n, service)| Ok(Record::new(fleet::instance(service, n)?, Ttl::new(Ttl::MAX)?)));
        let records: Vec<_> = records.collect::<Result<_>>()?;
        try_join_all(records.iter().map(|record| backend.register(record))).await?;
        let mut watches: Vec<_> = services.iter().map(|service| backend.watch(service)).collect();
        join_all(watches.iter_mut().map(|watch| answered(watch, true))).await;
        let mut taken = Vec::with_capacity(REPLAYS);
        for _ in 0..REPLAYS {
            let mut events = backend.events();
            let killed = rnacos.kill_all().await?;
            join_all(watches.iter_mut().map(|watch| answered(watch, false))).await;
            killed.heal().await?;
            while events.next().await.is_some_and(|event| event.kind != EventKind::Ready) {}
            let clock = Stopwatch::start();
            let subscriptions = join_all(watches.iter_mut().map(|watch| answered(watch, true)));
            let registrations = try_join_all(records.iter().map(|record| backend.renew(record)));
            let (_, renewed) = futures::join!(subscriptions, registrations);
            renewed?;
            taken.push(clock.elapsed());
        }
        anyhow::Ok(taken)
    })?;
    let samples = Samples::new(taken, "restarts, 1000 registrations and subscriptions");
    Ok(vec![Measure::slowest("nacos.replay", &samples, Unit::Seconds, REPLAYED_S)])
}

/// Waits for a listing, or for an error.
async fn answered(watch: &mut WatchStream, there: bool) {
    while let Some(event) = watch.next().await {
        match event {
            Ok(WatchEvent::Listing(_)) if there => return,
            Err(_) if !there => return,
            _ => {}
        }
    }
}
