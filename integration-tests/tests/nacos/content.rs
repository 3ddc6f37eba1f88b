//! Records: whose they are, who is shown, and who goes.

use std::time::Duration;

use callsign_client::{Client, RegisterOptions};
use callsign_core::{ErrorKind, Health, Instance, Probe, Ttl};
use callsign_integration_tests::nacos::FakeOptions;
use callsign_testkit::suite::{CaseResult, Stop};
use futures::future::join_all;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::ensure;
use crate::stage::{SOON, becomes, client, fake, has, lists, record, sees, service};

pub(crate) async fn instance_of_other_software_is_listed_with_what_it_says() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let (reader, orders) = (client(&fake)?, service("orders")?);
    fake.publish(
        "orders",
        json!({ "ip": "10.0.0.9", "port": 8080, "weight": 2.0, "healthy": false, "enabled": true, "ephemeral": true,
                "clusterName": "eu", "metadata": { "colour": "blue" } }),
    );
    let listing = lists(&reader, &orders, SOON, "it is there", has(1)).await?;
    let found = &listing.instances[0];
    ensure!(found.id().as_str() == "10.0.0.9#8080#eu" && found.pair().is_none(), "{found:?}");
    ensure!(found.health == Health::Critical && found.metadata.get("colour") == Some("blue"), "{found:?}");
    ensure!(found.locality.zone.as_deref() == Some("eu") && found.weight.get() == 200, "{found:?}");
    Ok(())
}

pub(crate) async fn ghost_of_a_dead_connection_is_not_shown_beside_its_successor() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let (former, owner, reader, orders) =
        (client(&fake)?, client(&fake)?, client(&fake)?, service("orders")?);
    // A process that was cut off without a word: its connection lingers.
    former.register(&record(&orders, "a", (1, 7), 60)?).await?;
    owner.register(&record(&orders, "a", (2, 1), 60)?).await?;
    let mut watch = reader.watch(&orders);
    let seen = sees(&mut watch, SOON, "the successor", |listing| {
        listing.instances.iter().any(|instance| instance.incarnation == 2)
    })
    .await?;
    ensure!(seen.instances.len() == 1, "{:?}", seen.instances);
    former.close().await?;
    sleep(Duration::from_secs(1)).await;
    let listing = lists(&reader, &orders, SOON, "it stays", has(1)).await?;
    ensure!(listing.instances[0].incarnation == 2, "{:?}", listing.instances);
    Ok(())
}

pub(crate) async fn who_is_hidden_by_an_operator_is_gone_and_told() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    let one = record(&orders, "a", (1, 1), 2)?;
    writer.register(&one).await?;
    lists(&writer, &orders, SOON, "it is there", has(1)).await?;
    fake.operate("a", &[("enabled", json!(false))]);
    let told = async {
        loop {
            match writer.renew(&one).await {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(Stop::failed(error.to_string())),
                Ok(_) => sleep(Duration::from_millis(300)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told).await.map_err(|_| Stop::failed("nobody is told"))?
}

pub(crate) async fn record_that_nobody_renews_leaves_the_set_of_its_neighbours() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    let kept = record(&orders, "kept", (1, 1), 2)?;
    writer.register(&kept).await?;
    for id in ["x", "y"] {
        writer.register(&record(&orders, id, (1, 1), 2)?).await?;
    }
    let renewing = async {
        loop {
            writer.renew(&kept).await?;
            sleep(Duration::from_millis(500)).await;
        }
    };
    let gone = becomes(SOON, "one instance alone", || fake.seen().instances == 1);
    tokio::select! {
        renewed = renewing => return renewed,
        gone = gone => gone?,
    }
    lists(&writer, &orders, SOON, "the one that is renewed", |listing| {
        has(1)(listing) && listing.instances[0].id().as_str() == "kept"
    })
    .await?;
    Ok(())
}

pub(crate) async fn server_that_restarts_empties_no_view() -> CaseResult {
    const FLEET: usize = 6;
    let fake = fake(FakeOptions::default())?;
    let orders = service("orders")?;
    let (owners, user) = (
        Client::builder(client(&fake)?).ttl(Ttl::from_secs(5)?).build()?,
        Client::builder(client(&fake)?).build()?,
    );
    let mut processes = Vec::new();
    for number in 0..FLEET {
        let process =
            TcpListener::bind("127.0.0.1:0").await.map_err(|error| Stop::failed(error.to_string()))?;
        let endpoint = process.local_addr().map_err(|error| Stop::failed(error.to_string()))?;
        let instance = Instance::builder(&orders)
            .id(format!("id-{number}").as_str())
            .endpoint(format!("http://{endpoint}").as_str());
        let registration = owners.register(instance.build()?, RegisterOptions::new().required()).await?;
        processes.push((process, registration));
    }
    let view = user.service(orders);
    let shown = || view.snapshot().routable().len();
    becomes(SOON, "the fleet", || shown() == FLEET).await?;
    for _ in 0..2 {
        fake.restart().await?;
        let until = tokio::time::Instant::now() + Duration::from_secs(8);
        while tokio::time::Instant::now() < until {
            ensure!(shown() == FLEET, "the view shows {} of {FLEET}", shown());
            sleep(Duration::from_millis(5)).await;
        }
    }
    Ok(())
}

pub(crate) async fn record_that_a_server_refuses_takes_nobody_along() -> CaseResult {
    const MANY: usize = 40;
    let fake = fake(FakeOptions::default())?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    fake.refuse("id-7");
    writer.probe(Probe::Reachable).await?;
    let records = (0..MANY).map(|number| record(&orders, &format!("id-{number}"), (1, 1), 60));
    let records = records.collect::<CaseResult<Vec<_>>>()?;
    let results = join_all(records.iter().map(|record| writer.register(record))).await;
    for (record, result) in records.iter().zip(results) {
        match result {
            Ok(_) => ensure!(record.key().id.as_str() != "id-7", "it was taken"),
            Err(error) => {
                ensure!(record.key().id.as_str() == "id-7", "{} was refused: {error}", record.key());
                ensure!(error.kind() == ErrorKind::LimitExceeded, "another kind: {error}");
            }
        }
    }
    lists(&writer, &orders, SOON, "all others", has(MANY - 1)).await?;
    let sent = fake.seen().requests["BatchInstanceRequest"];
    ensure!(sent <= 20, "the search took {sent} batches");
    Ok(())
}
