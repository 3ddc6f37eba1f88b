//! The compose files start the servers that the tests start, on the ports that they say.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use yaml_rust2::{Yaml, YamlLoader};

/// What each member of an etcd is told, on top of who it is.
const SETTINGS: [(&str, &str); 4] = [
    ("--heartbeat-interval", "100"),
    ("--election-timeout", "1000"),
    ("--auto-compaction-retention", "0"),
    ("--quota-backend-bytes", "2147483648"),
];

/// What each agent of a Consul is told, on top of who it is.
const AGENT: [&str; 6] = [
    "-client=0.0.0.0",
    "-http-port=8500",
    "-serf-lan-port=8301",
    "-hcl=disable_update_check = true",
    "-hcl=performance { raft_multiplier = 1 }",
    "-hcl=limits { http_max_conns_per_client = 2000 }",
];

struct Service {
    name: String,
    image: String,
    program: String,
    /// As they are written.
    arguments: Vec<String>,
    ports: Vec<String>,
}

impl Service {
    /// The values of each flag `--name=value`.
    fn flags(&self) -> BTreeMap<&str, &str> {
        self.arguments.iter().filter_map(|argument| argument.split_once('=')).collect()
    }

    fn flag(&self, name: &str) -> Option<&str> {
        self.flags().get(name).copied()
    }

    fn has(&self, argument: &str) -> bool {
        self.arguments.iter().any(|found| found == argument)
    }
}

fn services(file: &str) -> Vec<Service> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compose").join(file);
    let documents = YamlLoader::load_from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let services = documents[0]["services"].as_hash().unwrap();
    services.iter().map(|(name, service)| read(name.as_str().unwrap(), service)).collect()
}

fn read(name: &str, service: &Yaml) -> Service {
    let known = ["image", "command", "ports"];
    for key in service.as_hash().unwrap().keys() {
        assert!(known.contains(&key.as_str().unwrap()), "{name}: {key:?}");
    }
    let words = |key: &str| {
        let words = service[key].as_vec().into_iter().flatten();
        words.map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let command = words("command");
    let (program, arguments) = command.split_first().unwrap();
    Service {
        name: name.to_owned(),
        image: service["image"].as_str().unwrap().to_owned(),
        program: program.clone(),
        arguments: arguments.to_vec(),
        ports: words("ports"),
    }
}

/// Every member says who it is and where it is reached, and is set up like all others.
fn check_member(service: &Service, port: u16) {
    let name = &service.name;
    assert_eq!(service.program, "/usr/local/bin/etcd", "{name}");
    assert!(service.arguments.iter().all(|argument| argument.starts_with("--")), "{name}");
    assert_eq!(service.flag("--name"), Some(name.as_str()));
    assert_eq!(service.ports, [format!("127.0.0.1:{port}:2379")], "{name}: on loopback alone");
    assert_eq!(service.flag("--listen-client-urls"), Some("http://0.0.0.0:2379"), "{name}");
    let advertised = format!("http://127.0.0.1:{port}");
    assert_eq!(service.flag("--advertise-client-urls"), Some(advertised.as_str()), "{name}");
    for (flag, value) in SETTINGS {
        assert_eq!(service.flag(flag), Some(value), "{name}: {flag}");
    }
}

#[test]
fn one_etcd_serves_on_its_port_on_loopback() {
    let services = services("etcd.yml");
    assert_eq!(services.len(), 1);
    check_member(&services[0], 2379);
    assert!(!services[0].flags().keys().any(|flag| flag.contains("cluster")), "it is alone");
}

#[test]
fn three_members_find_each_other_by_the_names_of_their_services() {
    let services = services("etcd-cluster.yml");
    assert_eq!(services.len(), 3);
    let peers: BTreeSet<_> =
        services.iter().map(|member| format!("{0}=http://{0}:2380", member.name)).collect();
    for (member, port) in services.iter().zip([2379, 22379, 32379]) {
        check_member(member, port);
        let cluster = member.flag("--initial-cluster").unwrap();
        assert_eq!(cluster.split(',').map(str::to_owned).collect::<BTreeSet<_>>(), peers);
        let own = format!("http://{}:2380", member.name);
        assert_eq!(member.flag("--initial-advertise-peer-urls"), Some(own.as_str()));
        assert_eq!(member.flag("--listen-peer-urls"), Some("http://0.0.0.0:2380"));
        assert_eq!(member.flag("--initial-cluster-state"), Some("new"));
        assert_eq!(member.flag("--initial-cluster-token"), services[0].flag("--initial-cluster-token"));
    }
}

/// Every agent says who it is, is set up like all others, and is a server or not.
fn check_agent(agent: &Service, servers: Option<usize>) {
    let name = &agent.name;
    assert_eq!(agent.program, "agent", "{name}: what the image's own program is told to be");
    assert!(agent.has(&format!("-node={name}")) && agent.has("-data-dir=/consul/data"), "{name}");
    for argument in AGENT {
        assert!(agent.has(argument), "{name}: {argument}");
    }
    assert_eq!(agent.has("-server"), servers.is_some(), "{name}");
    let expected = servers.map(|count| count.to_string());
    assert_eq!(agent.flag("-bootstrap-expect"), expected.as_deref(), "{name}");
}

#[test]
fn one_consul_serves_on_its_port_on_loopback() {
    let services = services("consul.yml");
    assert_eq!(services.len(), 1);
    check_agent(&services[0], Some(1));
    assert_eq!(services[0].ports, ["127.0.0.1:8500:8500"]);
    assert!(services[0].flag("-retry-join").is_none(), "it is alone");
}

#[test]
fn three_servers_and_an_agent_find_each_other_by_the_names_of_their_services() {
    let services = services("consul-cluster.yml");
    assert_eq!(services.len(), 4);
    let (client, servers) = services.split_last().unwrap();
    for agent in &services {
        let is_server = servers.iter().any(|server| server.name == agent.name);
        check_agent(agent, is_server.then_some(3));
        for server in servers {
            assert!(agent.has(&format!("-retry-join={}", server.name)), "{}", agent.name);
        }
        assert_eq!(agent.flag("-retry-interval"), Some("1s"), "{}", agent.name);
        let ports: &[&str] = if is_server { &[] } else { &["127.0.0.1:8500:8500"] };
        assert_eq!(agent.ports, ports, "{}: clients talk to one agent, on loopback alone", agent.name);
    }
    assert_eq!(client.name, "agent");
}

#[test]
fn all_of_a_kind_run_one_image_with_a_version() {
    for (files, parts) in [(["etcd.yml", "etcd-cluster.yml"], 3), (["consul.yml", "consul-cluster.yml"], 2)] {
        let services: Vec<_> = files.into_iter().flat_map(services).collect();
        let (_, version) = services[0].image.rsplit_once(':').unwrap();
        let numbers = version.trim_start_matches('v').split('.');
        let numbers: Vec<u32> = numbers.map(|number| number.parse().unwrap()).collect();
        assert_eq!(numbers.len(), parts, "{version}");
        for service in &services {
            assert_eq!(service.image, services[0].image, "{}", service.name);
        }
    }
}
