//! A failover in a configuration, and the hand on it.
#![cfg(all(feature = "failover", feature = "memory"))]

use std::time::Duration;

use callsign::Callsign;
use callsign::failover::MemberState;

#[tokio::test(start_paused = true)]
async fn a_failover_of_the_configuration_is_steered_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("callsign.toml");
    let toml = r#"
        registry = "orders-dr"

        [registries.main]
        type = "memory"
        store = "failover-main"

        [registries.backup]
        type = "memory"
        store = "failover-backup"

        [registries.orders-dr]
        type = "failover"
        members = ["main", "backup"]
        topology = "mirror"
    "#;
    std::fs::write(&file, toml).unwrap();
    let callsign = Callsign::builder().environment::<String, String>([]).file(file).build().unwrap();
    let control = callsign.failover("orders-dr").unwrap();
    assert!(callsign.failover("main").is_none(), "it is of another type");
    assert!(callsign.failover("nobody").is_none());

    let me = callsign.instance("orders").endpoint("http://127.0.0.1:8080").build().unwrap();
    let _registration = callsign.register(me).await.unwrap();
    let orders = callsign.service("orders").unwrap();
    let snapshot = orders.ready(Duration::from_secs(5)).await.unwrap();
    assert_eq!(snapshot.source.as_deref(), Some("orders-dr/main"));
    assert!(control.members().iter().all(|member| member.state == MemberState::Healthy));

    control.force("backup").unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let snapshot = orders.snapshot();
    assert_eq!((snapshot.source.as_deref(), snapshot.instances.len()), (Some("orders-dr/backup"), 1));
    callsign.close(Duration::from_secs(5)).await.unwrap();
}
