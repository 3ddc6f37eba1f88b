//! What is understood of what agents say, and what is not Consul.

#![expect(clippy::unwrap_used, reason = "a test")]

mod fake;

use std::time::Duration;

use callsign_consul::Consul;
use callsign_core::{
    Backend, Discovery, ErrorKind, Instance, Probe, Read, Record, Registry, ServiceKey, Ttl,
};
use fake::{Fake, Says, World, entry};
use serde_json::json;
use tokio::time::{sleep, timeout};

const LOOK: &str = "/v1/agent/health/service/id/";
const REGISTER: &str = "/v1/agent/service/register";
const DEREGISTER: &str = "/v1/agent/service/deregister/";
const PASS: &str = "/v1/agent/check/pass/";
const PROOF: &str = "/v1/catalog/service/";

fn record() -> Record {
    let instance = Instance::builder("orders").id("o-1").endpoint("http://10.0.0.5:80").build().unwrap();
    Record::new(instance, Ttl::default())
}

fn fine() -> Says {
    Says { index: None, ..Says::entries(1, &[]) }
}

fn says(body: &serde_json::Value) -> Says {
    Says { body: body.to_string(), ..fine() }
}

fn orders() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

/// An agent that takes every registration, and servers that have nothing.
async fn agent() -> Fake {
    let mut world = World::of(Says::entries(7, &[]));
    let nothing = says(&json!({"AggregatedStatus": "critical", "Service": null, "Checks": null}));
    world.others =
        vec![(LOOK, Says { status: 404, ..nothing }), (REGISTER, fine()), (PASS, fine()), (PROOF, fine())];
    // The status says what the body says, too.
    world.others[0].1.headers.push(("content-type", "application/json"));
    Fake::start(world).await
}

#[tokio::test]
async fn what_the_servers_do_not_have_is_not_committed_and_the_next_renewal_says_that_it_is_lost() {
    let fake = agent().await;
    let client = fake.client();
    assert!(!client.register(&record()).await.unwrap().committed);
    let error = client.renew(&record()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert!(error.to_string().starts_with("main: renew: not found: the servers do not have"), "{error}");
}

#[tokio::test]
async fn a_registration_that_was_given_up_does_not_outlive_the_removal() {
    let fake = agent().await;
    let client = fake.client();
    fake.set(|world| {
        world.held = Some(REGISTER);
        world.others.push((DEREGISTER, fine()));
    });
    let (first, asked) = (record(), async {
        while fake.count(&[REGISTER]) == 0 {
            sleep(Duration::from_millis(5)).await;
        }
    });
    let given_up = async {
        tokio::select! {
            answer = client.register(&first) => panic!("{answer:?}"),
            () = asked => {}
        }
    };
    timeout(Duration::from_secs(10), given_up).await.unwrap();
    let (last, agent) = (record(), client.clone());
    let mut removal = Box::pin(async move { agent.deregister(&last).await });
    assert!(
        timeout(Duration::from_millis(300), &mut removal).await.is_err(),
        "what is under way was forgotten"
    );
    // Nothing was there to be removed, and now the agent has taken it.
    assert_eq!(fake.count(&[DEREGISTER]), 0);
    let service = json!({"Service": "orders", "Address": "10.0.0.5", "Port": 80, "Meta": {}});
    let there = json!({"AggregatedStatus": "passing", "Service": service, "Checks": []});
    fake.set(|world| {
        world.held = None;
        world.others[0].1 = says(&there);
    });
    assert!(removal.await.unwrap().committed);
    assert_eq!(fake.count(&[DEREGISTER]), 1);
}

#[tokio::test]
async fn a_check_that_newer_agents_do_not_know_is_a_lost_record() {
    let fake = agent().await;
    let client = fake.client();
    client.register(&record()).await.unwrap();
    let said = "Unknown check ID \"service:x\". Ensure that the check ID is passed, not the check name.";
    fake.set(|world| world.others[2].1 = Says::error(404, said));
    assert_eq!(client.renew(&record()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_agent_that_asks_for_fewer_calls_is_understood() {
    let fake = agent().await;
    let slow =
        Says::error(429, "Your IP is issuing too many concurrent connections, please rate limit your calls");
    fake.set(|world| world.others[1].1 = slow.with("retry-after", "7"));
    let error = fake.client().register(&record()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after().unwrap().as_secs()), (ErrorKind::RateLimited, 7));
    assert!(error.to_string().contains("http_max_conns_per_client"), "{error}");
}

#[tokio::test]
async fn what_is_not_consul_is_said_to_be_none() {
    let mut world = World::of(Says { index: None, ..Says::entries(1, &[]) });
    world.others = vec![("/", Says { index: None, ..Says::error(404, "<html>nothing here</html>") })];
    let fake = Fake::start(world).await;
    let client = fake.client();
    for error in [
        client.list(&orders(), Read::Quorum).await.unwrap_err(),
        client.register(&record()).await.unwrap_err(),
        client.probe(Probe::Reachable).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
        assert!(error.to_string().ends_with("is this the HTTP port of a consul agent?"), "{error}");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_read_again_from_its_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let mut world = World::of(Says::entries(7, &[entry("a")]));
    world.token = Some("old");
    let fake = Fake::start(world).await;
    let client = Consul::new(&fake.config().with_token_file(file.path()), "main").unwrap();
    client.list(&orders(), Read::Quorum).await.unwrap();
    fake.set(|world| world.token = Some("new"));
    let error = client.list(&orders(), Read::Quorum).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(!format!("{error:?} {client:?}").contains("old"), "{error:?}");
    std::fs::write(file.path(), "new\n").unwrap();
    assert_eq!(client.list(&orders(), Read::Quorum).await.unwrap().instances.len(), 1);
}

#[tokio::test]
async fn a_token_that_nobody_knows_for_want_of_a_leader_is_not_called_wrong() {
    let refusal = Says { status: 403, body: "ACL not found".to_owned(), ..fine() };
    let mut world = World::of(refusal);
    world.others = vec![("/v1/status/leader", says(&json!("")))];
    let fake = Fake::start(world).await;
    let client = Consul::new(&fake.config().with_token("t-1"), "main").unwrap();
    let error = client.list(&orders(), Read::Quorum).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("no leader"), "{error}");
    fake.set(|world| world.others[0].1.body = json!("10.0.0.1:8300").to_string());
    assert_eq!(client.list(&orders(), Read::Quorum).await.unwrap_err().kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_token_that_may_see_too_little_is_replaced_from_its_file_too() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let little = Says::entries(7, &[]).with("x-consul-results-filtered-by-acls", "true");
    let fake = Fake::start(World::of(little)).await;
    let client = Consul::new(&fake.config().with_token_file(file.path()), "main").unwrap();
    let refused = async || client.list(&orders(), Read::Quorum).await.unwrap_err().kind();
    assert_eq!(refused().await, ErrorKind::PermissionDenied);
    // What is being replaced may be empty for a moment.
    std::fs::write(file.path(), "").unwrap();
    assert_eq!(refused().await, ErrorKind::PermissionDenied);
    assert_eq!(refused().await, ErrorKind::PermissionDenied);
    std::fs::write(file.path(), "new\n").unwrap();
    assert_eq!(refused().await, ErrorKind::PermissionDenied);
    assert_eq!((fake.count(&["by old"]), fake.count(&["by "])), (4, 4));
    assert_eq!(refused().await, ErrorKind::PermissionDenied);
    assert_eq!(fake.count(&["by new"]), 1);
}

#[tokio::test]
async fn reads_go_on_with_the_next_address() {
    let (broken, fine) = (Fake::start(World::of(Says::error(500, "rpc error making call: EOF"))).await, {
        Fake::start(World::of(Says::entries(7, &[entry("a")]))).await
    });
    let (mut first, second) = (broken.config(), fine.config());
    first = first.with_addresses(broken.config().addresses.into_iter().chain(second.addresses));
    let client = Consul::new(&first, "main").unwrap();
    for _ in 0..3 {
        assert_eq!(client.list(&orders(), Read::Quorum).await.unwrap().instances.len(), 1);
    }
    assert_eq!(broken.count(&["/v1/health/service/"]), 1, "an address that failed is asked again and again");
}

#[tokio::test]
async fn an_agent_that_has_turned_to_a_dead_server_is_asked_anew_where_any_server_will_do() {
    let broken =
        Says::error(500, "rpc error getting client: failed to get conn: connect: connection refused");
    let fake = Fake::start(World { any: broken.clone(), ..World::of(broken) }).await;
    let client = fake.client();
    let error = client.list(&orders(), Read::Any).await.unwrap_err();
    assert!(error.counts_as_outage(), "{error}");
    assert_eq!(fake.count(&["/v1/health/service/", "stale"]), 3, "three servers have one that lives");
    client.list(&orders(), Read::Quorum).await.unwrap_err();
    assert_eq!(fake.count(&["consistent"]), 1, "the leader is one, and alive or not");
}

#[tokio::test]
async fn what_consul_would_refuse_is_refused_before_anything_is_sent() {
    let fake = agent().await;
    let metadata = callsign_core::Metadata::from_entries([("k", "v".repeat(8192))]).unwrap();
    let much = record().instance.to_builder().all_metadata(metadata).build().unwrap();
    let error = fake.client().register(&Record::new(much, Ttl::default())).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "main: register: limit exceeded: the metadata of default/default/orders#o-1 takes 8193 bytes: up to 8192 are allowed"
    );
    assert_eq!(fake.count(&["/"]), 0);
}
