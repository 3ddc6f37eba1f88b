//! What a person may have got wrong, and what is no Nacos: each refusal says what, where, and what to do.

use callsign_core::task::Spawner;
use callsign_core::{Error, ErrorKind, Namespace, Probe, Read};
use callsign_integration_tests::Address;
use callsign_integration_tests::nacos::{FakeOptions, config_of_fake};
use callsign_nacos::NacosConfig;
use callsign_testkit::suite::{CaseResult, Stop};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::ensure;
use crate::stage::{SOON, backend, client, fake, has, lists, record, service};

fn says(error: Option<Error>, kind: ErrorKind, words: &[&str]) -> CaseResult {
    let error = error.ok_or_else(|| Stop::failed("it was taken"))?;
    let said = error.to_string();
    ensure!(error.kind() == kind, "another kind, {:?}: {said}", error.kind());
    for word in words {
        ensure!(said.contains(word), "it does not say `{word}`: {said}");
    }
    Ok(())
}

async fn unreachable(config: &NacosConfig) -> CaseResult<Option<Error>> {
    Ok(backend(config)?.probe(Probe::Reachable).await.err())
}

pub(crate) async fn what_is_no_nacos_is_told_for_what_it_is() -> CaseResult {
    let address = Address::reserve()?;
    let config = NacosConfig::default().with_addresses([format!("http://{}", address.at(8848))]);
    says(
        unreachable(&config).await?,
        ErrorKind::Unavailable,
        &["nacos: probe: unavailable: cannot connect to", "refused"],
    )?;
    // A web server at both ports.
    let answer = |port| async move {
        let listener = TcpListener::bind(port).await.map_err(|error| Stop::failed(error.to_string()))?;
        Ok::<_, Stop>(Spawner::current()?.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
            }
        }))
    };
    let http = answer(address.at(8848)).await?;
    says(
        unreachable(&config).await?,
        ErrorKind::Unavailable,
        &[
            "is open: is this Nacos 1.x, which has no gRPC, or is gRPC at another port (`grpc_port_offset`, `grpc_port`)?",
        ],
    )?;
    let grpc = answer(address.at(9848)).await?;
    says(unreachable(&config).await?, ErrorKind::Unavailable, &["the gRPC port of a nacos server?"])?;
    drop((http, grpc));
    let unknown = NacosConfig::default().with_addresses(["http://nobody.invalid:8848"]);
    says(
        unreachable(&unknown).await?,
        ErrorKind::Unavailable,
        &["cannot connect to http://nobody.invalid:9848"],
    )
}

pub(crate) async fn unknown_namespace_is_told_with_what_to_do() -> CaseResult {
    let fake = fake(FakeOptions::default().with_namespaces(["known"]))?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    let known = orders.clone().with_namespace(Namespace::new("known")?);
    let unknown = orders.with_namespace(Namespace::new("unknown")?);
    writer.register(&record(&known, "a", (1, 1), 60)?).await?;
    let words = ["Namespace 'unknown' not exist", "create the namespace in Nacos, or choose another one"];
    says(writer.register(&record(&unknown, "a", (1, 1), 60)?).await.err(), ErrorKind::ConfigInvalid, &words)?;
    says(writer.list(&unknown, Read::Any).await.err(), ErrorKind::ConfigInvalid, &words)
}

pub(crate) async fn persistent_service_is_told_and_disturbs_no_other() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    fake.make_persistent("public@@DEFAULT_GROUP@@old");
    let (writer, old, orders) = (client(&fake)?, service("old")?, service("orders")?);
    writer.register(&record(&orders, "a", (1, 1), 60)?).await?;
    says(
        writer.register(&record(&old, "a", (1, 1), 60)?).await.err(),
        ErrorKind::Unsupported,
        &["is persistent service", "callsign registers ephemeral instances"],
    )?;
    lists(&writer, &orders, SOON, "the other one is there", has(1)).await?;
    Ok(())
}

pub(crate) async fn what_nacos_does_not_take_is_refused_before_it_is_sent() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    writer.probe(Probe::Reachable).await?;
    let asked = fake.seen().requests;
    let bad = service("a@@b")?;
    says(writer.list(&bad, Read::Any).await.err(), ErrorKind::LimitExceeded, &["`a@@b` has `@@` in it"])?;
    says(
        writer.register(&record(&bad, "a", (1, 1), 60)?).await.err(),
        ErrorKind::LimitExceeded,
        &["`a@@b` has `@@` in it"],
    )?;
    let much = record(&orders, "a", (1, 1), 60)?;
    let instance = much.instance.to_builder().metadata("k", "x".repeat(700)).build()?;
    says(
        writer.register(&callsign_core::Record::new(instance, much.ttl)).await.err(),
        ErrorKind::LimitExceeded,
        &["has 701 bytes: of Nacos' 1024 characters 640 are for applications"],
    )?;
    ensure!(fake.seen().requests == asked, "something was sent: {:?}", fake.seen());
    Ok(())
}

pub(crate) async fn wrong_login_where_none_is_needed_is_in_nobodys_way() -> CaseResult {
    let fake = fake(FakeOptions::default())?;
    let writer =
        backend(&config_of_fake(&fake).with_context_path("/elsewhere").with_password("u", "hunter2"))?;
    let orders = service("orders")?;
    writer.register(&record(&orders, "a", (1, 1), 60)?).await?;
    lists(&writer, &orders, SOON, "it is there", has(1)).await?;
    writer.probe(Probe::Authority).await?;
    Ok(())
}
