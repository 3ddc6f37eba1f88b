//! Three r-nacos servers: what one is told the others know, and the loss of one is nobody's loss.

use std::net::SocketAddr;
use std::time::Duration;

use callsign_core::{Listing, Pair, WatchEvent, WatchStream};
use callsign_integration_tests::nacos::{RNacos, RNacosOptions, config_of_rnacos, program};
use callsign_integration_tests::proxy::{Mode, Proxy};
use callsign_testkit::suite::{CaseResult, Stop};
use futures::StreamExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::ensure;
use crate::stage::{backend, has, lists, record, sees, service};

/// A port on each server's address that nothing else uses.
const PROXY: u16 = 12_848;
/// Servers tell each other of a change, and then push it.
const TOLD: Duration = Duration::from_secs(10);
/// What came from a server that is lost is taken away by the others after 15 to 18 s (`node_manage.rs` of r-nacos).
const TAKEN: Duration = Duration::from_secs(20);

pub(crate) async fn what_is_registered_at_one_server_is_seen_at_the_others() -> CaseResult {
    program().map_err(Stop::Missing)?;
    let rnacos = RNacos::start(RNacosOptions::default().with_cluster()).await?;
    let at = |member: usize| backend(&config_of_rnacos(&rnacos).with_addresses([&rnacos.urls()[member]]));
    let orders = service("orders")?;
    let clients = [at(0)?, at(1)?, at(2)?];
    let mut watches: Vec<_> = clients.iter().map(|client| client.watch(&orders)).collect();
    for watch in &mut watches {
        sees(watch, TOLD, "nobody", has(0)).await?;
    }
    for (writer, id) in clients.iter().zip(["a", "b", "c"]) {
        writer.register(&record(&orders, id, (1, 1), 60)?).await?;
    }
    for watch in &mut watches {
        sees(watch, TOLD, "all three", has(3)).await?;
    }
    clients[0].register(&record(&orders, "a", (1, 2), 60)?).await?;
    for (watch, client) in watches.iter_mut().zip(&clients) {
        let second = |listing: &Listing| listing.instances.iter().any(|i| i.pair() == Pair::new(1, 2));
        sees(watch, TOLD, "what has changed", second).await?;
        lists(client, &orders, TOLD, "what has changed", second).await?;
    }
    clients[1].deregister(&record(&orders, "b", (1, 2), 60)?).await?;
    for watch in &mut watches {
        sees(watch, TOLD, "who is left", has(2)).await?;
    }
    Ok(())
}

pub(crate) async fn server_that_is_lost_takes_no_record_and_no_watch_along() -> CaseResult {
    program().map_err(Stop::Missing)?;
    let rnacos = RNacos::start(RNacosOptions::default().with_cluster()).await?;
    let proxy = |upstream: SocketAddr| Proxy::start(SocketAddr::new(upstream.ip(), PROXY), upstream);
    let proxies = rnacos.grpc().into_iter().map(proxy).collect::<callsign_core::Result<Vec<_>>>()?;
    let config = config_of_rnacos(&rnacos).with_grpc_port(PROXY);
    let orders = service("orders")?;
    // Writer and reader begin at the first server, where they find no other; somebody else is at the last one.
    for other in &proxies[1..] {
        other.set(Mode::Refuse).await;
    }
    let (writer, reader) = (backend(&config)?, backend(&config)?);
    let elsewhere = backend(&config_of_rnacos(&rnacos).with_addresses([&rnacos.urls()[2]]))?;
    let one = record(&orders, "a", (1, 1), 60)?;
    writer.register(&one).await?;
    let (mut watch, mut other) = (reader.watch(&orders), elsewhere.watch(&orders));
    for watch in [&mut watch, &mut other] {
        sees(watch, TOLD, "it", has(1)).await?;
    }
    let mut events = writer.events();
    let _lost = rnacos.kill([0]).await?;
    // Not before: who was slow to answer would have been left already.
    for other in &proxies[1..] {
        other.set(Mode::Pass).await;
    }
    let (told, moved, stayed) = tokio::join!(
        timeout(TAKEN, events.next()),
        stays_listed(&mut watch, TAKEN),
        stays_listed(&mut other, TAKEN)
    );
    ensure!(told.is_ok(), "the writer has not lost its server");
    ensure!(moved?, "the reader has not lost its server");
    ensure!(!stayed?, "who is at another server has lost it");
    writer.renew(&one).await?;
    lists(&reader, &orders, TOLD, "it is there", has(1)).await?;
    writer.deregister(&one).await?;
    for watch in [&mut watch, &mut other] {
        sees(watch, TOLD, "nobody", has(0)).await?;
    }
    Ok(())
}

/// Follows for so long, and fails when a listing lacks the one record. Whether the watch has lost its server.
async fn stays_listed(watch: &mut WatchStream, within: Duration) -> CaseResult<bool> {
    let begun = Instant::now();
    let mut lost = false;
    while let Ok(item) = timeout_at(begun + within, watch.next()).await {
        match item {
            Some(Ok(WatchEvent::Listing(listing))) => ensure!(
                listing.instances.len() == 1,
                "{:?} after a server was lost the listing is {:?}",
                begun.elapsed(),
                listing.instances
            ),
            Some(Ok(_)) => {}
            Some(Err(_)) => lost = true,
            None => return Err(Stop::failed("the watch has ended")),
        }
    }
    Ok(lost)
}
