//! The compose files start servers of ZooKeeper that are set up alike, on the ports that they say.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use yaml_rust2::YamlLoader;

/// What each server is told, on top of who it is.
const SETTINGS: [(&str, &str); 4] = [
    ("ZOO_TICK_TIME", "1000"),
    ("ZOO_MAX_CLIENT_CNXNS", "0"),
    ("ZOO_ADMINSERVER_ENABLED", "false"),
    ("ZOO_4LW_COMMANDS_WHITELIST", "*"),
];

struct Service {
    name: String,
    image: String,
    variables: BTreeMap<String, String>,
    ports: Vec<String>,
}

fn services(file: &str) -> Vec<Service> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compose").join(file);
    let documents = YamlLoader::load_from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let services = documents[0]["services"].as_hash().unwrap();
    let read = |(name, service): (&yaml_rust2::Yaml, &yaml_rust2::Yaml)| {
        let text = |yaml: &yaml_rust2::Yaml| yaml.as_str().unwrap().to_owned();
        for key in service.as_hash().unwrap().keys() {
            assert!(["image", "environment", "ports"].contains(&key.as_str().unwrap()), "{key:?}");
        }
        let variables = service["environment"].as_hash().unwrap().iter();
        Service {
            name: text(name),
            image: text(&service["image"]),
            variables: variables.map(|(name, value)| (text(name), text(value))).collect(),
            ports: service["ports"].as_vec().unwrap().iter().map(text).collect(),
        }
    };
    services.iter().map(read).collect()
}

fn check_server(service: &Service, port: u16) {
    let name = &service.name;
    assert_eq!(service.ports, [format!("127.0.0.1:{port}:2181")], "{name}: on loopback alone");
    for (variable, value) in SETTINGS {
        assert_eq!(service.variables[variable], value, "{name}: {variable}");
    }
    assert!(service.variables["ZOO_CFG_EXTRA"].contains("maxSessionTimeout=60000"), "{name}");
}

#[test]
fn one_zookeeper_serves_on_its_port_on_loopback() {
    let services = services("zookeeper.yml");
    assert_eq!(services.len(), 1);
    check_server(&services[0], 2181);
    assert!(!services[0].variables.contains_key("ZOO_SERVERS"), "it is alone");
}

#[test]
fn three_zookeepers_find_each_other_by_the_names_of_their_services() {
    let services = services("zookeeper-cluster.yml");
    assert_eq!(services.len(), 3);
    let servers: Vec<_> = (1..)
        .zip(&services)
        .map(|(number, server)| format!("server.{number}={}:2888:3888;2181", server.name))
        .collect();
    for ((number, server), port) in (1..).zip(&services).zip([2181, 22181, 32181]) {
        check_server(server, port);
        assert_eq!(server.variables["ZOO_MY_ID"], number.to_string());
        assert_eq!(server.variables["ZOO_SERVERS"], servers.join(" "));
        assert!(server.variables["JVMFLAGS"].contains("readonlymode.enabled=true"), "{number}");
        assert!(server.variables["ZOO_CFG_EXTRA"].contains("localSessionsEnabled=true"), "{number}");
    }
}

#[test]
fn all_zookeepers_run_one_image_with_a_version() {
    let services: Vec<_> =
        ["zookeeper.yml", "zookeeper-cluster.yml"].into_iter().flat_map(services).collect();
    let (_, version) = services[0].image.rsplit_once(':').unwrap();
    assert_eq!(version.split('.').filter(|number| number.parse::<u32>().is_ok()).count(), 3, "{version}");
    for service in &services {
        assert_eq!(service.image, services[0].image, "{}", service.name);
    }
}
