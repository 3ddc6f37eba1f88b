//! What counts over what: defaults, file, profile, environment, program.

#![expect(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::Arc;

use callsign::Callsign;
use callsign::core::{Dict, Figment};
use common::builder;
use figment::providers::{Format, Serialized, Toml};

const TOML: &str = r#"
registry = "main"
namespace = "from-file"
group = "from-file"

[registries.main]
type = "fake"
address = "main:1"

[registries.backup]
type = "fake"
address = "backup:1"

[registries.both]
type = "group"
members = ["main", "backup"]

[profiles.prod]
namespace = "from-profile"
registry = "backup"
"#;

fn shown(callsign: &Callsign) -> (String, String) {
    (callsign.backend().info().name.to_string(), callsign.key("orders").unwrap().to_string())
}

#[tokio::test]
async fn each_source_counts_over_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    let build =
        |environment: &[(&str, &str)]| shown(&builder(folder.path(), TOML, environment).build().unwrap());
    let expected = |name: &str, key: &str| (name.to_owned(), key.to_owned());
    assert_eq!(build(&[]), expected("main", "from-file/from-file/orders"));
    let profile = ("CALLSIGN_PROFILE", "prod");
    assert_eq!(build(&[profile]), expected("backup", "from-profile/from-file/orders"));
    let environment = [profile, ("CALLSIGN_REGISTRY", "main"), ("CALLSIGN_GROUP", "from-environment")];
    assert_eq!(build(&environment), expected("main", "from-profile/from-environment/orders"));
    let program =
        builder(folder.path(), TOML, &environment).registry("both").profile("prod").build().unwrap();
    assert_eq!(shown(&program).0, "main");
}

#[tokio::test]
async fn a_member_is_built_once_and_found_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let callsign = builder(folder.path(), TOML, &[]).registry("both").build().unwrap();
    // `group` behaves as its first member, and is it here.
    let main = callsign.registry("main").unwrap();
    assert!(Arc::ptr_eq(main, callsign.backend()));
    assert_eq!(&*callsign.registry("backup").unwrap().info().name, "backup");

    let alone = builder(folder.path(), TOML, &[]).build().unwrap();
    assert!(alone.registry("main").is_some() && alone.registry("backup").is_none());
}

#[tokio::test]
async fn a_registry_can_be_made_of_variables_alone() {
    let callsign = Callsign::builder()
        .environment([
            ("CALLSIGN_REGISTRY", "main"),
            ("CALLSIGN_REGISTRIES__MAIN__TYPE", "fake"),
            ("CALLSIGN_REGISTRIES__MAIN__ADDRESS", "10.0.0.1:80"),
            ("CALLSIGN_REGISTRIES__MAIN__PASSWORD", "00012345"),
        ])
        .factory(common::Fake)
        .build()
        .unwrap();
    assert_eq!(&*callsign.backend().info().name, "main");
}

#[tokio::test]
async fn a_file_named_by_a_variable_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.toml");
    std::fs::write(&path, TOML).unwrap();
    let callsign = Callsign::builder()
        .environment([("CALLSIGN_CONFIG", path.to_str().unwrap())])
        .factory(common::Fake)
        .build()
        .unwrap();
    assert_eq!(&*callsign.backend().info().name, "main");
}

#[tokio::test]
async fn a_programs_own_figment_stands_alone() {
    let profile: Dict = [("registry".to_owned(), "fake://h:2".into())].into();
    let figment = Figment::from(Serialized::default("registry", "fake://h:1"))
        .merge(Serialized::default("profiles.prod", profile));
    let builder = || {
        Callsign::builder()
            .environment([("CALLSIGN_REGISTRY", "no-such"), ("CALLSIGN_PROFILE", "no-such")])
            .factory(common::Fake)
            .figment(figment.clone())
    };
    assert_eq!(builder().build().unwrap().backend().info().kind, "memory");
    builder().profile("prod").build().unwrap();
    assert_eq!(
        builder().profile("no-such").build().unwrap_err().to_string(),
        "there is no profile `no-such`, which the program names: no table `[profiles.no-such]`; configured: prod"
    );
}

#[test]
fn a_figment_that_failed_is_refused_without_the_line_it_failed_at() {
    let error = Callsign::builder()
        .figment(Figment::from(Toml::string("a = 1\npassword = hunter2")))
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the program's figment cannot be read: TOML parse error at line 2, column 12"
    );
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_later_factory_counts_over_an_earlier_one_of_the_same_type() {
    let callsign = Callsign::builder()
        .environment([("CALLSIGN_REGISTRY", "memory://h:1")])
        .factory(common::FakeMemory)
        .build()
        .unwrap();
    assert_eq!(&*callsign.backend().info().name, "replaced");
}

#[test]
fn outside_of_a_runtime_the_error_says_what_is_missing() {
    let error = Callsign::builder()
        .environment([("CALLSIGN_REGISTRY", "fake://h:1")])
        .factory(common::Fake)
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "callsign needs a tokio runtime: call this from async code or enter a runtime first"
    );
}
