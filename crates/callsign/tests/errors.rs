//! Whatever is wrong in a configuration is named by place, value and what is allowed.

mod common;

use callsign::Callsign;
use common::{builder, refusal, without};

#[track_caller]
fn refused(toml: &str, message: &str) {
    assert_eq!(refusal(toml, &[]), message, "{toml}");
}

/// The types that can be used, with those that the tests bring along.
fn compiled_in() -> String {
    let known = [
        ("consul", cfg!(feature = "consul")),
        ("etcd", cfg!(feature = "etcd")),
        ("failover", cfg!(feature = "failover")),
        ("fake", true),
        ("group", true),
        ("memory", cfg!(feature = "memory")),
        ("nacos", cfg!(feature = "nacos")),
        ("zookeeper", cfg!(feature = "zookeeper")),
    ];
    known.iter().filter(|(_, here)| *here).map(|(kind, _)| *kind).collect::<Vec<_>>().join(", ")
}

#[test]
fn an_unknown_type_is_answered_with_the_known_ones() {
    let known = compiled_in();
    refused(
        "registry = \"main\"\n[registries.main]\ntype = \"etdc\"",
        &format!(
            "`registries.main.type` in callsign.toml: the registry type `etdc` is unknown; compiled in: {known}"
        ),
    );
    refused(
        "registry = \"etdc://127.0.0.1:2379\"",
        &format!("`registry` in callsign.toml: the registry type `etdc` is unknown; compiled in: {known}"),
    );
    refused("registry = \"main\"\n[registries.main]", "`registries.main.type`: missing");
}

#[cfg(not(feature = "etcd"))]
#[test]
fn a_registry_that_is_not_compiled_in_is_answered_with_its_feature() {
    let rule =
        "the registry type `etcd` is not compiled in: switch on the feature `etcd` of the crate `callsign`";
    refused(
        "registry = \"main\"\n[registries.main]\ntype = \"etcd\"",
        &format!("`registries.main.type` in callsign.toml: {rule}"),
    );
    refused("registry = \"etcd://127.0.0.1:2379\"", &format!("`registry` in callsign.toml: {rule}"));
}

#[cfg(not(feature = "memory"))]
#[test]
fn a_type_that_is_not_compiled_in_is_answered_with_its_feature() {
    let rule = "the registry type `memory` is not compiled in: switch on the feature `memory` of the crate `callsign`";
    refused(
        "registry = \"main\"\n[registries.main]\ntype = \"memory\"",
        &format!("`registries.main.type` in callsign.toml: {rule}"),
    );
    refused("registry = \"memory://\"", &format!("`registry` in callsign.toml: {rule}"));
    refused("", &format!("no `registry` is configured, and the default `memory://` cannot be used: {rule}"));
}

#[test]
fn an_unknown_registry_is_answered_with_the_configured_ones() {
    let tables = "[registries.main]\ntype = \"fake\"\n[registries.backup]\ntype = \"fake\"";
    refused(
        &format!("registry = \"mian\"\n{tables}"),
        "`registry` in callsign.toml: there is no table `[registries.mian]`; configured: backup, main",
    );
    refused(
        "registry = \"main\"",
        "`registry` in callsign.toml: there is no table `[registries.main]`; configured: none",
    );
    refused(tables, "`registry`: missing; choose one of the configured registries: backup, main");
    assert_eq!(
        refusal(tables, &[("CALLSIGN_REGISTRY", "mian")]),
        "`registry` in the environment variable `CALLSIGN_REGISTRY`: there is no table `[registries.mian]`; \
         configured: backup, main"
    );
    refused(
        "registry = \"a\"\n[registries.a]\ntype = \"group\"\nmembers = [\"b\"]",
        "there is no registry `b`: no table `[registries.b]`; configured: a",
    );
}

#[test]
fn a_misspelt_key_is_answered_with_the_allowed_ones() {
    refused(
        "registy = \"main\"",
        "`registy` in callsign.toml: unknown key; allowed keys: registry, registries, profiles, namespace, group, client",
    );
    refused(
        "[client]\ntll = \"15s\"",
        "`client.tll` in callsign.toml: unknown key; allowed keys: ttl, store_dir, protection, services",
    );
    refused(
        "[client.services.orders]\nprotect = false",
        "`client.services.orders.protect` in callsign.toml: unknown key; allowed keys: protection",
    );
    refused(
        "registry = \"main\"\n[registries.main]\ntype = \"fake\"\nadress = \"h:1\"",
        "`registries.main.adress` in callsign.toml: unknown key; allowed keys: address, retries, password",
    );
    assert_eq!(
        refusal("", &[("CALLSIGN_REGISTY", "main")]),
        "`registy` in the environment variable `CALLSIGN_REGISTY`: unknown key; allowed keys: registry, registries, \
         profiles, namespace, group, client"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_shown_with_the_right_one() {
    let main = "registry = \"main\"\n[registries.main]\ntype = \"fake\"\n";
    refused("registry = 5", "`registry` in callsign.toml: the number `5` found, expected text in quotes");
    refused("registries = 5", "`registries` in callsign.toml: the number `5` found, expected a table");
    refused(
        "[registries]\nmain = \"fake\"",
        "`registries.main` in callsign.toml: the text `fake` found, expected a table",
    );
    refused(
        "[client]\nprotection = \"off\"",
        "`client.protection` in callsign.toml: the text `off` found, expected `true` or `false`",
    );
    refused("client = 5", "`client` in callsign.toml: the number `5` found, expected a table");
    refused(
        &format!("{main}address = 5"),
        "`registries.main.address` in callsign.toml: the number `5` found, expected text in quotes",
    );
    refused(
        "namespace = \"\"",
        "`namespace` in callsign.toml: the namespace is empty: 1 to 255 bytes are allowed",
    );
    assert_eq!(
        refusal(&format!("{main}address = \"h:1\""), &[("CALLSIGN_REGISTRIES__MAIN__RETRIES", "many")]),
        "`registries.main.retries` in the environment variable `CALLSIGN_REGISTRIES__MAIN__RETRIES`: the text `many` \
         found, expected u8"
    );
}

#[test]
fn a_ttl_out_of_range_is_refused_with_the_range() {
    refused(
        "[client]\nttl = \"1ms\"",
        "`client.ttl` in callsign.toml: the ttl `1ms` is out of range: 2s to 1h are allowed",
    );
    refused(
        "[client]\nttl = \"0s\"",
        "`client.ttl` in callsign.toml: the ttl `0s` is out of range: 2s to 1h are allowed",
    );
    refused(
        "[client]\nttl = 0",
        "`client.ttl` in callsign.toml: the number `0` found, expected a number and a unit in quotes, such as \"15s\"",
    );
    refused(
        "[client]\nttl = \"15 parsecs\"",
        "`client.ttl` in callsign.toml: `15 parsecs` is not a duration: write a number and a unit, such as `250ms`, \
         `15s` or `2m`",
    );
    assert_eq!(
        refusal("", &[("CALLSIGN_CLIENT__TTL", "15")]),
        "`client.ttl` in the environment variable `CALLSIGN_CLIENT__TTL`: the number `15` found, expected a number \
         and a unit in quotes, such as \"15s\""
    );
}

#[test]
fn a_url_without_host_or_port_is_refused_with_the_missing_part() {
    for (url, rule) in [
        ("fake://", "the registry `fake://` has no host: write it as `fake://host:port`"),
        ("fake://10.0.0.1", "the registry `fake://10.0.0.1` has no port: write it as `fake://10.0.0.1:port`"),
        (
            "fake://10.0.0.1:70000",
            "the registry `fake://10.0.0.1:70000` has the port `70000`: 1 to 65535 are allowed",
        ),
        (
            "127.0.0.1:2379",
            "neither a name nor a URL: allowed are the name of a table `[registries.NAME]` (letters, digits, `-` and \
             `_`) and a URL such as `memory://`",
        ),
    ] {
        refused(&format!("registry = \"{url}\""), &format!("`registry` in callsign.toml: {rule}"));
        let folder = tempfile::tempdir().unwrap();
        let chosen = builder(folder.path(), "", &[]).registry(url).build();
        assert_eq!(chosen.unwrap_err().to_string(), format!("`registry` in the program: {rule}"));
    }
}

#[test]
fn members_that_form_a_cycle_are_refused_with_the_way_round() {
    let group = |name: &str, member: &str| {
        format!("[registries.{name}]\ntype = \"group\"\nmembers = [\"{member}\"]\n")
    };
    refused(
        &format!("registry = \"a\"\n{}{}", group("a", "b"), group("b", "a")),
        "`registries.a` in callsign.toml: the registry is a member of itself: a -> b -> a",
    );
    refused(
        &format!("registry = \"a\"\n{}", group("a", "a")),
        "`registries.a` in callsign.toml: the registry is a member of itself: a -> a",
    );
}

#[test]
fn a_registry_name_that_is_none_is_refused() {
    refused(
        "[registries.\"a.b\"]\ntype = \"fake\"",
        "`registries.a.b` in callsign.toml: `a.b` cannot be the name of a registry: letters, digits, `-` and `_` are allowed",
    );
    assert_eq!(
        refusal("", &[("CALLSIGN_REGISTRIES____TYPE", "fake")]),
        "`registries.` in the environment variable `CALLSIGN_REGISTRIES____TYPE`: `` cannot be the name of a registry: \
         letters, digits, `-` and `_` are allowed"
    );
}

#[test]
fn a_file_or_profile_that_is_named_must_be_there() {
    let build = |environment: &[(&str, &str)]| {
        let error = Callsign::builder().environment(environment.iter().copied()).build().unwrap_err();
        error.to_string()
    };
    assert_eq!(
        build(&[("CALLSIGN_CONFIG", "nowhere.toml")]),
        "there is no configuration file nowhere.toml, which the environment variable `CALLSIGN_CONFIG` names"
    );
    assert_eq!(
        Callsign::builder().file("nowhere.toml").build().unwrap_err().to_string(),
        "there is no configuration file nowhere.toml, which the program names"
    );
    assert_eq!(
        refusal("[profiles.prod]\n[profiles.test]", &[("CALLSIGN_PROFILE", "prdo")]),
        "there is no profile `prdo`, which the environment variable `CALLSIGN_PROFILE` names: no table \
         `[profiles.prdo]` in callsign.toml; configured: prod, test"
    );
    let folder = tempfile::tempdir().unwrap();
    let error = builder(folder.path(), "", &[]).profile("prod").build().unwrap_err();
    assert_eq!(
        without(folder.path(), &error.to_string()),
        "there is no profile `prod`, which the program names: no table `[profiles.prod]` in callsign.toml; \
         configured: none"
    );
}

#[test]
fn an_error_in_a_profile_names_the_profile() {
    assert_eq!(
        refusal("[profiles.prod.client]\ntll = \"15s\"", &[("CALLSIGN_PROFILE", "prod")]),
        "`client.tll` in the profile `prod` in callsign.toml: unknown key; allowed keys: ttl, store_dir, protection, \
         services"
    );
}

#[test]
fn broken_toml_is_shown_by_file_line_and_column() {
    refused(
        "registry = \"main\"\n[registries.main\ntype = \"fake\"",
        "callsign.toml, line 2, column 17: invalid table header, expected `.`, `]`",
    );
}

#[test]
fn no_error_and_no_debug_shows_a_secret() {
    let secret = "hunter2";
    let main = "registry = \"main\"\n[registries.main]\ntype = \"fake\"\naddress = \"h:1\"\n";
    let broken = [
        format!("{main}password = {secret}"),
        format!("{main}password = \"{secret}"),
        format!("{main}password = [\"{secret}\"]"),
        format!("{main}passwort = \"{secret}\""),
        format!("registry = \"fake://root:{secret}@h\""),
        format!("registry = \"etdc://root:{secret}@h:1\""),
        format!("registry = \"root:{secret}@h:1\""),
        format!("registry = \"{secret}@h:1://\""),
        format!("[registries]\nmain = \"fake://root:{secret}@h:1\""),
    ];
    for toml in &broken {
        let folder = tempfile::tempdir().unwrap();
        let mut error: Option<Box<dyn std::error::Error>> =
            Some(Box::new(builder(folder.path(), toml, &[]).build().unwrap_err()));
        while let Some(shown) = error {
            assert!(!format!("{shown} {shown:?}").contains(secret), "{shown}");
            error = shown.source().map(|source| source.to_string().into());
        }
    }
    let environment =
        [("CALLSIGN_REGISTRIES__MAIN__PASSWORD", secret), ("CALLSIGN_REGISTRIES__MAIN__RETRIES", "many")];
    assert!(!refusal(main, &environment).contains(secret));
    let folder = tempfile::tempdir().unwrap();
    let builder = builder(folder.path(), main, &environment).registry(format!("fake://root:{secret}@h:1"));
    assert!(!format!("{builder:?}").contains(secret), "{builder:?}");
}
