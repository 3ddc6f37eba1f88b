//! A failover as a table and as a URL.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use callsign_core::{Backend, Factories, Figment, Members, Registries, Result};
use callsign_failover::Failover;
use figment::providers::{Format, Toml};

const MEMBERS: &str = "
    [registries.main]
    type = \"memory\"
    store = \"configuration-main\"
    [registries.backup]
    type = \"memory\"
    store = \"configuration-backup\"
";

fn build(table: &str) -> Result<Arc<dyn Backend>> {
    let figment =
        Figment::from(Toml::string(&format!("{MEMBERS}\n[registries.dr]\ntype = \"failover\"\n{table}")));
    let factories = Factories::new().with(callsign_failover::factory()).with(callsign_memory::factory());
    Registries::new(factories, figment).member("dr")
}

fn refusal(table: &str) -> String {
    build(table).unwrap_err().to_string()
}

#[tokio::test]
async fn a_table_names_members_topology_and_every_threshold() {
    let backend = build(
        "members = [\"main\", \"backup\"]
         topology = \"union\"
         read_timeout = \"2s\"
         write_timeout = \"3s\"
         fanout_grace = \"100ms\"
         probe_timeout = \"500ms\"
         probe_interval = \"2s\"
         suspect_interval = \"500ms\"
         down_interval = \"20s\"
         probe_budget = 4
         suspect_failures = 4
         suspect_time = \"5s\"
         degraded_after = 3
         recover_successes = 4
         failback_dwell = \"40s\"
         failback_dwell_max = \"20m\"
         max_failbacks = 2
         coverage_min = 0.5
         max_degraded_age = \"30s\"",
    );
    let backend = backend.unwrap();
    assert_eq!((backend.info().kind, &*backend.info().name), ("failover", "dr"));
    let any: &dyn std::any::Any = &*backend;
    let members = any.downcast_ref::<Failover>().unwrap().control().members();
    assert_eq!(members.iter().map(|member| &*member.name).collect::<Vec<_>>(), ["main", "backup"]);
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_key() {
    for (table, words) in [
        ("", ["`registries.dr.members`", "at least one"]),
        ("members = [\"main\", \"main\"]", ["members", "twice"]),
        ("members = [\"main\", \"mian\"]", ["members", "mian"]),
        ("members = [\"dr\"]", ["members", "dr -> dr"]),
        ("members = [\"main\"]\ntopology = \"cluster\"", ["topology", "standby"]),
        ("members = [\"main\"]\nprobe_time_out = \"1s\"", ["probe_time_out", "probe_timeout"]),
        ("members = [\"main\"]\nread_timeout = \"1ms\"", ["read_timeout", "50ms"]),
        ("members = [\"main\"]\ncoverage_min = 1.5", ["coverage_min", "0.0 to 1.0"]),
    ] {
        let message = refusal(table);
        assert!(words.iter().all(|word| message.contains(word)), "{table}: {message}");
    }
}

#[tokio::test]
async fn a_url_names_members_and_keys() {
    let factories = Factories::new().with(callsign_failover::factory()).with(callsign_memory::factory());
    let table = |url: &str| factories.table_of("dr", &url.parse().unwrap());
    let registries = Registries::new(factories.clone(), Figment::from(Toml::string(MEMBERS)));
    let url = "failover://main,backup?topology=standby&suspect_failures=5&coverage_min=1&read_timeout=2s";
    let built = registries.build(&table(url).unwrap()).unwrap();
    assert_eq!(built.info().kind, "failover");
    for wrong in
        ["failover://main?topology=union&topology=union", "failover://main/path", "failover://user@main"]
    {
        assert!(table(wrong).is_err(), "{wrong}");
    }
}
