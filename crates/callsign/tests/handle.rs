//! The handle brings its namespace and group along and does what the client below it does.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use callsign::core::Figment;
use callsign::{Callsign, ErrorKind, RegisterOptions, RegistrationState};
use figment::providers::{Format, Toml};

const SOON: Duration = Duration::from_secs(5);

fn handle(toml: &str) -> Callsign {
    Callsign::builder()
        .figment(Figment::from(Toml::string(toml)))
        .factory(callsign_memory::factory())
        .build()
        .unwrap()
}

#[tokio::test]
async fn what_one_handle_registers_another_finds_in_the_same_namespace_and_group_alone() {
    let staging = "registry = \"memory://handle-places\"\nnamespace = \"staging\"\ngroup = \"blue\"";
    let (here, there) = (handle(staging), handle(staging));
    let elsewhere = handle("registry = \"memory://handle-places\"");

    let instance = here.instance("orders").endpoint("http://127.0.0.1:8080").build().unwrap();
    let options = RegisterOptions::new().required();
    let registration = here.register_with(instance, options).await.unwrap();
    assert!(matches!(registration.state(), RegistrationState::Registered { .. }));
    assert_eq!(registration.key().service.to_string(), "staging/blue/orders");

    let found = there.service("orders").unwrap().ready(SOON).await.unwrap();
    assert_eq!(found.instances.len(), 1);
    let absent = elsewhere.service("orders").unwrap().ready(SOON).await.unwrap();
    assert!(absent.instances.is_empty());
    // The client below reaches every place.
    let view = elsewhere.client().service(here.key("orders").unwrap());
    assert_eq!(view.ready(SOON).await.unwrap().instances.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn close_deregisters_and_ends_the_handle_and_its_clones() {
    let (callsign, witness) =
        (handle("registry = \"memory://handle-close\""), handle("registry = \"memory://handle-close\""));
    let instance =
        |port: u16| callsign.instance("orders").endpoint(format!("http://127.0.0.1:{port}")).build().unwrap();
    let _registration = callsign.register(instance(1)).await.unwrap();
    let view = witness.service("orders").unwrap();
    assert_eq!(view.ready(SOON).await.unwrap().instances.len(), 1);

    callsign.clone().close(SOON).await.unwrap();
    view.wait_for(SOON, |snapshot| snapshot.instances.is_empty()).await.unwrap();
    let error = callsign.register(instance(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_bad_name_is_refused_with_the_broken_rule() {
    let callsign = handle("registry = \"memory://handle-names\"");
    let rule = "the service name is empty: 1 to 255 bytes are allowed";
    assert_eq!(callsign.service("").unwrap_err().to_string(), rule);
    assert_eq!(callsign.key("").unwrap_err().to_string(), rule);
    assert_eq!(callsign.instance("").build().unwrap_err().to_string(), rule);
}

#[tokio::test]
async fn debug_shows_the_registry_and_no_secret() {
    let toml = "registry = \"memory://debug\"\n[registries.other]\ntype = \"etcd\"\npassword = \"hunter2\"";
    let shown = format!("{:?}", handle(toml));
    assert!(shown.contains("memory") && shown.contains("default"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[cfg(feature = "memory")]
#[tokio::test]
async fn connect_needs_no_configuration() {
    let callsign = Callsign::connect("memory://connect").unwrap();
    assert_eq!(callsign.backend().info().kind, "memory");
    assert_eq!(
        Callsign::connect("memory").unwrap_err().to_string(),
        "the registry URL has no scheme: write it as `type://host:port`, such as `memory://`"
    );
}
