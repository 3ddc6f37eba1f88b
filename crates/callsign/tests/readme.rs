//! The configuration in the README is one.
#![cfg(feature = "memory")]

use callsign::Callsign;

#[tokio::test]
async fn the_readmes_configuration_is_read() {
    let readme = include_str!("../README.md");
    let toml = readme.split_once("```toml\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("callsign.toml");
    std::fs::write(&path, toml).unwrap();
    let registry = |environment: &[(&str, &str)]| {
        let callsign =
            Callsign::builder().file(&path).environment(environment.iter().copied()).build().unwrap();
        callsign.backend().info().name.to_string()
    };
    assert_eq!(registry(&[]), "main");
    assert_eq!(registry(&[("CALLSIGN_REGISTRY", "backup")]), "backup");
    assert_eq!(registry(&[("CALLSIGN_PROFILE", "test")]), "memory");
}
