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

struct Service {
    name: String,
    image: String,
    flags: BTreeMap<String, String>,
    ports: Vec<String>,
}

impl Service {
    fn flag(&self, name: &str) -> Option<&str> {
        self.flags.get(name).map(String::as_str)
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
        let words = service[key].as_vec().unwrap().iter();
        words.map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let command = words("command");
    let (program, flags) = command.split_first().unwrap();
    assert_eq!(program, "/usr/local/bin/etcd", "{name}");
    let flag = |flag: &String| {
        let (name, value) = flag.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    Service {
        name: name.to_owned(),
        image: service["image"].as_str().unwrap().to_owned(),
        flags: flags.iter().map(flag).collect(),
        ports: words("ports"),
    }
}

/// Every member says who it is and where it is reached, and is set up like all others.
fn check_member(service: &Service, port: u16) {
    let name = &service.name;
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
    assert!(!services[0].flags.keys().any(|flag| flag.contains("cluster")), "it is alone");
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

#[test]
fn all_run_one_image_with_a_version() {
    let services: Vec<_> = ["etcd.yml", "etcd-cluster.yml"].into_iter().flat_map(services).collect();
    let (_, version) = services[0].image.rsplit_once(":v").unwrap();
    let numbers: Vec<u32> = version.split('.').map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 3, "{version}");
    for service in &services {
        assert_eq!(service.image, services[0].image, "{}", service.name);
    }
}
