//! Connections: how they begin, are handed over, and end.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use callsign_core::{ErrorKind, EventKind, Namespace, Probe};
use callsign_integration_tests::nacos::{FakeOptions, config_of_fake};
use callsign_integration_tests::proxy::{Mode, Proxy};
use callsign_testkit::suite::{CaseResult, Stop};
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use crate::ensure;
use crate::stage::{SOON, backend, becomes, client, fake, has, lists, record, sees, service};

/// Ports on a server's address that nothing else uses.
const PROXY: u16 = 12_848;

pub(crate) async fn asked_to_move_nobody_is_missing_for_a_moment() -> CaseResult {
    let fake = fake(FakeOptions::default().with_cluster())?;
    let (writer, reader, orders) = (client(&fake)?, client(&fake)?, service("orders")?);
    for id in ["a", "b", "c"] {
        writer.register(&record(&orders, id, (1, 1), 60)?).await?;
    }
    let mut watch = reader.watch(&orders);
    sees(&mut watch, SOON, "all three", has(3)).await?;
    let before = fake.seen().requests.get("ConnectionSetupRequest").copied().unwrap_or_default();
    for member in [1, 2] {
        fake.reset_connections(fake.http(member));
        becomes(SOON, "two more connections", || {
            let setups = fake.seen().requests.get("ConnectionSetupRequest").copied().unwrap_or_default();
            setups >= before + 2 * member
        })
        .await?;
        becomes(SOON, "one connection for each", || {
            fake.seen().connections == 2 && fake.seen().instances == 3
        })
        .await?;
    }
    // Whatever is pushed meanwhile shows all of them, and the watch goes on.
    let more = record(&orders, "d", (1, 1), 60)?;
    writer.register(&more).await?;
    let mut fewest = usize::MAX;
    sees(&mut watch, SOON, "the fourth", |listing| {
        fewest = fewest.min(listing.instances.len());
        listing.instances.len() == 4
    })
    .await?;
    ensure!(fewest >= 3, "a watch showed {fewest}");
    writer.renew(&more).await?;
    Ok(())
}

pub(crate) async fn server_that_says_little_is_understood() -> CaseResult {
    let fake = fake(FakeOptions::default().older())?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    let begun = Instant::now();
    writer.register(&record(&orders, "a", (1, 1), 60)?).await?;
    ensure!(begun.elapsed() < SOON, "it took {:?}", begun.elapsed());
    lists(&writer, &orders, SOON, "it is there", has(1)).await?;
    Ok(())
}

pub(crate) async fn server_that_asks_gets_an_answer() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let (reader, orders) = (client(&fake)?, service("orders")?);
    let mut watch = reader.watch(&orders);
    sees(&mut watch, SOON, "nobody", has(0)).await?;
    fake.detect();
    let answered = |kind: &str| fake.seen().requests.contains_key(kind);
    becomes(SOON, "a sign of life", || answered("ClientDetectionResponse")).await?;
    becomes(SOON, "an acknowledgement", || answered("NotifySubscriberResponse")).await
}

pub(crate) async fn lost_pushes_are_made_up_for() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    let reader = backend(&config_of_fake(&fake).with_reconcile_interval(Duration::from_secs(5)))?;
    let mut watch = reader.watch(&orders);
    sees(&mut watch, SOON, "nobody", has(0)).await?;
    fake.push_nothing();
    writer.register(&record(&orders, "a", (1, 1), 60)?).await?;
    sees(&mut watch, Duration::from_secs(9), "what was never pushed", has(1)).await?;
    Ok(())
}

pub(crate) async fn push_without_a_namespace_reaches_the_right_one() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let (writer, reader, orders) = (client(&fake)?, client(&fake)?, service("orders")?);
    let blue = orders.clone().with_namespace(Namespace::new("blue")?);
    let (mut watch, mut other) = (reader.watch(&orders), reader.watch(&blue));
    sees(&mut watch, SOON, "nobody", has(0)).await?;
    sees(&mut other, SOON, "nobody", has(0)).await?;
    writer.register(&record(&blue, "a", (1, 1), 60)?).await?;
    sees(&mut other, SOON, "the one in its namespace", has(1)).await?;
    writer.register(&record(&orders, "b", (1, 1), 60)?).await?;
    let seen = sees(&mut watch, SOON, "the other one", |listing| !listing.instances.is_empty()).await?;
    let ids: Vec<_> = seen.instances.iter().map(|instance| instance.id().to_string()).collect();
    ensure!(ids == ["b"], "{ids:?} are shown");
    Ok(())
}

pub(crate) async fn nothing_is_left_of_a_client_that_is_dropped() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let orders = service("orders")?;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let clients = (0..3).map(|_| client(&fake)).collect::<CaseResult<Vec<_>>>()?;
    for (number, one) in clients.iter().enumerate() {
        one.register(&record(&orders, &format!("id-{number}"), (1, 1), 60)?).await?;
    }
    let mut watch = clients[0].watch(&orders);
    sees(&mut watch, SOON, "all", has(3)).await?;
    ensure!(fake.seen().connections == 3, "{:?}", fake.seen());
    drop(watch);
    becomes(SOON, "no subscription", || fake.seen().subscriptions == 0).await?;
    drop(clients);
    becomes(SOON, "no connection and no instance", || {
        let seen = fake.seen();
        seen.connections == 0 && seen.instances == 0
    })
    .await?;
    becomes(SOON, "no task", || tasks() <= before).await
}

pub(crate) async fn several_of_one_service_come_back_together() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let (writer, reader, orders) = (client(&fake)?, client(&fake)?, service("orders")?);
    let records = ["a", "b", "c"].map(|id| record(&orders, id, (1, 1), 60));
    for record in &records {
        writer.register(record.as_ref().map_err(|_| Stop::failed("a record"))?).await?;
    }
    for _ in 0..2 {
        fake.restart().await?;
        lists(&reader, &orders, SOON, "all three are back", has(3)).await?;
        for record in &records {
            writer.renew(record.as_ref().map_err(|_| Stop::failed("a record"))?).await?;
        }
    }
    // And go one by one.
    for (left, id) in [(2, "a"), (1, "b"), (0, "c")] {
        writer.deregister(&record(&orders, id, (1, 2), 60)?).await?;
        lists(&reader, &orders, SOON, "one less", has(left)).await?;
    }
    becomes(SOON, "nothing", || fake.seen().instances == 0).await
}

pub(crate) async fn who_has_not_changed_is_the_same_after_a_lost_connection() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let upstream = fake.grpc(0).ok_or_else(|| Stop::failed("no server"))?;
    let proxy = Proxy::start(std::net::SocketAddr::new(upstream.ip(), PROXY), upstream)?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    writer.register(&record(&orders, "a", (1, 1), 60)?).await?;
    let mut watch = backend(&config_of_fake(&fake).with_grpc_port(PROXY))?.watch(&orders);
    let before = sees(&mut watch, SOON, "it", has(1)).await?;
    proxy.set(Mode::Refuse).await;
    // The loss, and what follows from it, before the way is open again.
    while timeout(SOON, watch.next())
        .await
        .map_err(|_| Stop::failed("the loss is not told"))?
        .is_some_and(|item| item.is_ok())
    {}
    proxy.set(Mode::Pass).await;
    let after = sees(&mut watch, SOON, "it again", has(1)).await?;
    ensure!(before.epoch < after.epoch, "it is the same connection");
    ensure!(Arc::ptr_eq(&before.instances[0], &after.instances[0]), "another `Arc` for the same record");
    Ok(())
}

pub(crate) async fn server_that_wants_nobody_is_not_besieged() -> CaseResult {
    let fake = fake(FakeOptions::default().with_cluster())?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    let record = record(&orders, "a", (1, 1), 60)?;
    writer.register(&record).await?;
    let setups = || fake.seen().requests.get("ConnectionSetupRequest").copied().unwrap_or_default();
    let before = setups();
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        fake.reset_connections(fake.http(1));
        sleep(Duration::from_millis(5)).await;
    }
    let made = setups() - before;
    ensure!((2..30).contains(&made), "{made} connections within 3 s");
    becomes(SOON, "one connection with its instance", || {
        fake.seen().connections == 1 && fake.seen().instances == 1
    })
    .await?;
    writer.renew(&record).await?;
    Ok(())
}

pub(crate) async fn proxy_that_refuses_in_the_servers_name_is_no_sign_of_life() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    let record = record(&orders, "a", (1, 1), 60)?;
    writer.register(&record).await?;
    let mut events = writer.events();
    fake.answer_instead(Some(StatusCode::FORBIDDEN));
    let given_up = async {
        while let Some(event) = events.next().await {
            if event.kind == EventKind::Misconfigured {
                return event.cause;
            }
        }
        None
    };
    let cause = timeout(Duration::from_secs(15), given_up).await.ok().flatten();
    let cause = cause.ok_or_else(|| Stop::failed("the proxy is taken for the server"))?;
    ensure!(cause.kind() == ErrorKind::PermissionDenied, "another kind: {cause}");
    ensure!(cause.to_string().contains("refused on the way"), "{cause}");
    fake.answer_instead(None);
    lists(&writer, &orders, SOON * 2, "it is there again", has(1)).await?;
    writer.renew(&record).await?;
    Ok(())
}

pub(crate) async fn write_of_a_dead_connection_is_not_done_on_the_next() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let upstream = fake.grpc(0).ok_or_else(|| Stop::failed("no server"))?;
    let proxy = Proxy::start(std::net::SocketAddr::new(upstream.ip(), PROXY), upstream)?;
    let config = config_of_fake(&fake).with_grpc_port(PROXY).with_request_timeout(Duration::from_secs(1));
    let (writer, reader, orders) = (backend(&config)?, client(&fake)?, service("orders")?);
    writer.probe(Probe::Reachable).await?;
    proxy.set(Mode::Stall).await;
    // It fails: nobody answers, and then the way is cut.
    let ghost = record(&orders, "ghost", (1, 1), 60)?;
    ensure!(writer.register(&ghost).await.is_err(), "nobody was there");
    proxy.set(Mode::Refuse).await;
    let reached = async {
        while writer.probe(Probe::Reachable).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, reached).await.map_err(|_| Stop::failed("the loss is not noticed"))?;
    proxy.set(Mode::Pass).await;
    let here = record(&orders, "here", (1, 1), 60)?;
    let until = Instant::now() + SOON;
    while writer.register(&here).await.is_err() {
        ensure!(Instant::now() < until, "it does not come back");
        sleep(Duration::from_millis(20)).await;
    }
    lists(&reader, &orders, SOON, "the one that was registered", has(1)).await?;
    sleep(Duration::from_secs(2)).await;
    lists(&reader, &orders, SOON, "nobody else", has(1)).await?;
    Ok(())
}

pub(crate) async fn watch_that_nobody_polls_is_in_no_others_way() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let reader = client(&fake)?;
    let (mut left, mut other) = (reader.watch(&service("orders")?), reader.watch(&service("users")?));
    for watch in [&mut left, &mut other] {
        sees(watch, SOON, "nobody", has(0)).await?;
    }
    // It is quiet for 5 s, asks whether the server is there, and is left in the middle of that.
    let frozen = fake.freeze();
    let left_at = Duration::from_millis(5500);
    ensure!(timeout(left_at, left.next()).await.is_err(), "a frozen server has said something");
    frozen.heal().await?;
    match timeout(SOON * 2, other.next()).await {
        Ok(Some(Ok(_))) => Ok(()),
        item => Err(Stop::failed(format!("the other watch shows {item:?}"))),
    }
}

pub(crate) async fn stranger_among_the_servers_is_in_nobodys_way() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let mut addresses = fake.urls();
    addresses.insert(0, "http://nobody.invalid:8848".to_owned());
    addresses.push("http://127.0.0.1:9".to_owned());
    for _ in 0..4 {
        let writer = backend(&config_of_fake(&fake).with_addresses(addresses.clone()))?;
        writer.probe(Probe::Reachable).await?;
    }
    Ok(())
}

pub(crate) async fn many_are_registered_and_followed_over_one_connection() -> CaseResult {
    const MANY: usize = 300;
    let fake = fake(FakeOptions::default())?;
    let writer = client(&fake)?;
    let mut watches = Vec::with_capacity(MANY);
    for number in 0..MANY {
        let orders = service(&format!("orders-{number}"))?;
        writer.register(&record(&orders, "one", (1, 1), 60)?).await?;
        let mut watch = writer.watch(&orders);
        sees(&mut watch, SOON, "it", has(1)).await?;
        watches.push(watch);
    }
    fake.restart().await?;
    let following = watches.iter_mut().map(|watch| async {
        sees(watch, Duration::from_secs(15), "it again", |listing| {
            listing.epoch > 1 && listing.instances.len() == 1
        })
        .await
    });
    futures::future::try_join_all(following).await?;
    ensure!(fake.seen().connections == 1 && fake.seen().subscriptions == MANY, "{:?}", fake.seen());
    Ok(())
}
