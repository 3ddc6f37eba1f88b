//! The compose files start servers of Nacos on the ports that they say, with gRPC a thousand above.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use yaml_rust2::{Yaml, YamlLoader};

struct Service {
    name: String,
    image: String,
    variables: BTreeMap<String, String>,
    ports: Vec<String>,
}

fn services(file: &str) -> Vec<Service> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../compose").join(file);
    let documents = YamlLoader::load_from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let text = |yaml: &Yaml| yaml.as_str().unwrap().to_owned();
    let read = |(name, service): (&Yaml, &Yaml)| Service {
        name: text(name),
        image: text(&service["image"]),
        variables: service["environment"]
            .as_hash()
            .unwrap()
            .iter()
            .map(|(name, value)| (text(name), text(value)))
            .collect(),
        ports: service["ports"].as_vec().unwrap().iter().map(text).collect(),
    };
    documents[0]["services"].as_hash().unwrap().iter().map(read).collect()
}

fn check_server(service: &Service, http: u16) {
    let expected = [format!("127.0.0.1:{http}:8848"), format!("127.0.0.1:{}:9848", http + 1000)];
    assert_eq!(service.ports, expected, "{}: on loopback alone", service.name);
    assert_eq!(service.variables["NACOS_AUTH_ENABLE"], "false", "{}", service.name);
    // Nacos 3 does not start without a key for tokens, of 32 bytes at least.
    assert!(service.variables["NACOS_AUTH_TOKEN"].len() >= 44, "{}", service.name);
}

#[test]
fn one_nacos_serves_on_its_ports_on_loopback() {
    let services = services("nacos.yml");
    assert_eq!(services.len(), 1);
    check_server(&services[0], 8848);
    assert_eq!(services[0].variables["MODE"], "standalone");
}

#[test]
fn three_nacos_find_each_other_by_the_names_of_their_services() {
    let services = services("nacos-cluster.yml");
    assert_eq!(services.len(), 3);
    let servers: Vec<_> = services.iter().map(|server| format!("{}:8848", server.name)).collect();
    for (server, http) in services.iter().zip([8848, 18848, 28848]) {
        check_server(server, http);
        assert_eq!(server.variables["MODE"], "cluster");
        assert_eq!(server.variables["NACOS_SERVERS"], servers.join(" "));
    }
}

#[test]
fn all_nacos_run_one_image_with_a_version() {
    let services: Vec<_> = ["nacos.yml", "nacos-cluster.yml"].into_iter().flat_map(services).collect();
    let (_, version) = services[0].image.rsplit_once(":v").unwrap();
    assert_eq!(version.split('.').filter(|number| number.parse::<u32>().is_ok()).count(), 3, "{version}");
    assert!(services.iter().all(|service| service.image == services[0].image));
}
