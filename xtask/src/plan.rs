//! Which steps a run consists of.
//!
//! Cheap checks come first. Everything over the workspace runs with all features and without `RUSTFLAGS`, so that
//! clippy, the docs and the feature checks share one set of metadata, and the tests, doc tests and examples one set of
//! libraries. Only the simulations are built a second time, in release mode: a seed costs 45 ms there and fifteen
//! times that in debug.
//!
//! The tests on real servers are picked out of all tests by their names, not by their package: cargo unifies features
//! over the packages that it is told, so that one package alone would have most of its dependencies built again.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use crate::process::Invocation;
use crate::scope::Scope;
use crate::step::{Step, Work};
use crate::workspace::{Package, TargetKind, Workspace};

/// The crate applications depend on, whose features choose the registries.
const FACE: &str = "callsign";
const EXAMPLES: &str = "callsign-examples";
const TESTKIT: &str = "callsign-testkit";
/// All of its tests start servers.
const REAL_SERVERS: &str = "callsign-integration-tests";
/// Those of them that keep two cores busy by themselves, or hold servers to the second: one at a time. The others run
/// beside them.
const LARGE: [&str; 6] = ["consul", "etcd", "nacos", "pairs", "rounds", "zookeeper"];
const SIMULATION: &str = "simulation";
const SIMULATION_SEEDS: u32 = 500;
const FAILOVER: &str = "callsign-failover";
const MATRIX: &str = "matrix";
/// The row of it that is random.
const MATRIX_LIVES: &str = "_30_";
const MATRIX_SEEDS: u32 = 500;

pub(crate) fn steps(workspace: &Workspace, scope: &Scope) -> Vec<Step> {
    let everything = *scope == Scope::Everything;
    let mut steps = vec![Step { name: "formatting", work: Work::Commands(vec![formatting(scope)]) }];
    if everything {
        steps.push(Step { name: "docs match the checkout", work: Work::Drift });
        steps.push(Step { name: "spelling", work: Work::Spelling });
    }
    steps.push(Step {
        name: "lints",
        work: Work::Commands(vec![clippy(scope.arguments(), &["--all-features"])]),
    });
    let included = |name: &str| workspace.package(name).filter(|_| scope.includes(name));
    if let Some(face) = included(FACE) {
        steps.push(Step { name: "features alone", work: Work::Commands(each_feature(face)) });
    }
    steps.push(Step { name: "documentation", work: Work::Commands(vec![documentation(scope)]) });
    let real_servers = included(REAL_SERVERS);
    let elsewhere =
        real_servers.map_or(vec!["--tests".to_owned()], |all| tests_but_of(all, workspace, scope));
    steps.push(Step { name: "unit and integration tests", work: tests(scope, elsewhere) });
    if let Some(real_servers) = real_servers {
        steps.push(Step { name: "servers", work: Work::Servers });
        steps.push(Step { name: "real servers", work: on_real_servers(real_servers, workspace, scope) });
    }
    if has_library(workspace, scope) {
        steps.push(Step { name: "doc tests", work: tests(scope, ["--doc"]) });
    }
    if included(FACE).is_some() {
        steps.push(Step { name: "default features", work: default_features() });
    }
    if let Some(testkit) = included(TESTKIT) {
        steps.push(Step { name: "simulation", work: simulation(testkit, included(FAILOVER)) });
    }
    if let Some(examples) = included(EXAMPLES) {
        steps.push(Step { name: "examples", work: run_examples(examples) });
    }
    if everything {
        steps.push(Step { name: "dependencies", work: Work::Dependencies });
        steps.push(Step { name: "advisories", work: Work::Advisories });
    }
    steps
}

fn formatting(scope: &Scope) -> Invocation {
    // `cargo fmt` has no `--workspace`: its word for it is `--all`.
    let whole = vec!["--all".to_owned()];
    let packages = if *scope == Scope::Everything { whole } else { scope.arguments() };
    Invocation::cargo(["fmt"]).with_arguments(packages).with_arguments(["--check"])
}

fn clippy(packages: Vec<String>, features: &[&str]) -> Invocation {
    Invocation::cargo(["clippy"])
        .with_arguments(packages)
        .with_arguments(["--all-targets", "--keep-going"])
        .with_arguments(features)
        .with_arguments(["--", "-D", "warnings"])
}

/// Clippy rather than `cargo check`: it reuses what the lints step has checked, and what only one combination of
/// features leaves unused is an error.
fn each_feature(face: &Package) -> Vec<Invocation> {
    let package = || vec!["--package".to_owned(), face.name.clone()];
    let library = |features: &[&str]| {
        Invocation::cargo(["clippy"])
            .with_arguments(package())
            .with_arguments(["--lib", "--no-default-features"])
            .with_arguments(features)
            .with_arguments(["--", "-D", "warnings"])
    };
    let alone = face.features.iter().map(|feature| library(&["--features", feature]));
    std::iter::once(library(&[])).chain(alone).collect()
}

fn documentation(scope: &Scope) -> Invocation {
    Invocation::cargo(["doc"])
        .with_arguments(scope.arguments())
        .with_arguments(["--all-features", "--no-deps", "--keep-going"])
        .with_variable("RUSTDOCFLAGS", "-D warnings")
}

fn tests<A: AsRef<OsStr>>(scope: &Scope, which: impl IntoIterator<Item = A>) -> Work {
    Work::Tests { commands: vec![test(scope, which)], at_least_one: false }
}

fn test<A: AsRef<OsStr>>(scope: &Scope, which: impl IntoIterator<Item = A>) -> Invocation {
    Invocation::cargo(["test"])
        .with_arguments(scope.arguments())
        .with_arguments(["--all-features"])
        .with_arguments(which)
        .with_arguments(["--no-fail-fast"])
}

/// What `--tests` means to cargo, but for one package's files in `tests`.
fn tests_but_of(package: &Package, workspace: &Workspace, scope: &Scope) -> Vec<String> {
    let others =
        workspace.packages.iter().filter(|other| other.name != package.name && scope.includes(&other.name));
    let names: BTreeSet<_> = others.flat_map(|other| other.targets(TargetKind::Test)).collect();
    ["--lib", "--bins"].map(str::to_owned).into_iter().chain(named(names)).collect()
}

fn on_real_servers(package: &Package, workspace: &Workspace, scope: &Scope) -> Work {
    let names: BTreeSet<_> = package.targets(TargetKind::Test).collect();
    if names.is_empty() {
        return Work::Missing(format!("{REAL_SERVERS} has no tests in {}/tests", package.folder.display()));
    }
    // Told by its name alone, cargo would run both.
    for other in workspace.packages.iter().filter(|other| other.name != package.name) {
        if let Some(name) = other.targets(TargetKind::Test).find(|name| names.contains(name)) {
            return Work::Missing(format!("{} has a test `{name}`, too: rename one", other.name));
        }
    }
    // What the tests start of the project itself is built before them, too: a build beside them takes a core from each.
    let programs = Invocation::cargo(["build", "--workspace", "--all-features", "--bins"]);
    let build = vec![test(scope, named(names.iter().copied())).with_arguments(["--no-run"]), programs];
    let (large, small): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| LARGE.contains(name));
    let lane = |names: Vec<_>| names.into_iter().map(|name| test(scope, named([name]))).collect();
    Work::RealServers { build, lanes: vec![lane(large), lane(small)] }
}

fn named<'a>(names: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = String> {
    names.into_iter().flat_map(|name| ["--test".to_owned(), name.to_owned()])
}

/// Over the workspace every registry is compiled in; the message for one that is not needs a run without.
fn default_features() -> Work {
    let command = Invocation::cargo(["test", "--package", FACE, "--tests", "--no-fail-fast"]);
    Work::Tests { commands: vec![command], at_least_one: true }
}

/// Random lives on paused time, so many of them that only optimized code gets through.
fn simulation(testkit: &Package, failover: Option<&Package>) -> Work {
    if !testkit.has_target(TargetKind::Test, SIMULATION) {
        return Work::Missing(format!("{TESTKIT} has no test target `{SIMULATION}`"));
    }
    let lives = |package: &str, test: &str, seeds: u32| {
        Invocation::cargo(["test", "--release", "--package", package, "--test", test])
            .with_variable("CALLSIGN_SIM_SEEDS", seeds.to_string())
    };
    let mut commands = vec![lives(TESTKIT, SIMULATION, SIMULATION_SEEDS)];
    if failover.is_some_and(|failover| failover.has_target(TargetKind::Test, MATRIX)) {
        commands.push(lives(FAILOVER, MATRIX, MATRIX_SEEDS).with_arguments(["--", MATRIX_LIVES]));
    }
    Work::Tests { commands, at_least_one: true }
}

fn run_examples(examples: &Package) -> Work {
    let programs: Vec<_> = examples.targets(TargetKind::Bin).map(str::to_owned).collect();
    if programs.is_empty() {
        return Work::Missing(format!("{EXAMPLES} has no programs in {}/src/bin", examples.folder.display()));
    }
    Work::Examples { programs }
}

/// `cargo test --doc` refuses packages of which none has a library.
fn has_library(workspace: &Workspace, scope: &Scope) -> bool {
    let mut packages = workspace.packages.iter().filter(|package| scope.includes(&package.name));
    packages.any(|package| package.targets(TargetKind::Lib).next().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Target, sample};

    fn plan(names: &[&str]) -> Vec<Step> {
        let workspace = sample();
        steps(&workspace, &Scope::parse(names, &workspace).unwrap())
    }

    fn names(steps: &[Step]) -> Vec<&str> {
        steps.iter().map(|step| step.name).collect()
    }

    fn commands(steps: &[Step], name: &str) -> Vec<String> {
        match &steps.iter().find(|step| step.name == name).unwrap().work {
            Work::Commands(commands) | Work::Tests { commands, .. } => {
                commands.iter().map(ToString::to_string).collect()
            }
            Work::RealServers { build, lanes } => {
                build.iter().chain(lanes.iter().flatten()).map(ToString::to_string).collect()
            }
            other => panic!("{name} is {other:?}"),
        }
    }

    #[test]
    fn a_run_without_names_has_every_step() {
        let expected = [
            "formatting",
            "docs match the checkout",
            "spelling",
            "lints",
            "features alone",
            "documentation",
            "unit and integration tests",
            "servers",
            "real servers",
            "doc tests",
            "default features",
            "simulation",
            "examples",
            "dependencies",
            "advisories",
        ];
        assert_eq!(names(&plan(&[])), expected);
    }

    #[test]
    fn one_crate_is_checked_and_tested_on_its_own() {
        let core = plan(&["core"]);
        assert_eq!(
            names(&core),
            ["formatting", "lints", "documentation", "unit and integration tests", "doc tests"]
        );
        assert_eq!(commands(&core, "formatting"), ["cargo fmt --package callsign-core --check"]);
        assert!(!names(&plan(&["xtask"])).contains(&"doc tests"));
    }

    #[test]
    fn a_registry_is_tested_with_the_suites_over_it() {
        let steps = plan(&["memory"]);
        assert!(names(&steps).contains(&"simulation"));
        let tests = &commands(&steps, "unit and integration tests")[0];
        for package in ["callsign-memory", "callsign-testkit", "callsign "] {
            assert!(tests.contains(&format!("--package {package}")), "{tests}");
        }
    }

    #[test]
    fn tests_on_real_servers_run_once_and_with_the_features_of_all_others() {
        let steps = plan(&[]);
        assert_eq!(
            commands(&steps, "unit and integration tests"),
            [
                "cargo test --workspace --all-features --lib --bins --test matrix --test simulation --no-fail-fast"
            ]
        );
        assert_eq!(
            commands(&steps, "real servers"),
            [
                "cargo test --workspace --all-features --test etcd --no-fail-fast --no-run",
                "cargo build --workspace --all-features --bins",
                "cargo test --workspace --all-features --test etcd --no-fail-fast",
            ]
        );
        let steps = plan(&["etcd"]);
        for name in ["servers", "real servers"] {
            assert!(names(&steps).contains(&name), "{name}");
        }
        let tests = &commands(&steps, "real servers")[0];
        assert!(tests.contains("--package callsign-etcd --package callsign-integration-tests"), "{tests}");
        assert!(!names(&plan(&["memory"])).contains(&"servers"));
    }

    #[test]
    fn a_test_on_real_servers_that_could_not_be_told_from_another_is_no_test() {
        let mut workspace = sample();
        let core = workspace.packages.iter_mut().find(|package| package.name == "callsign-core").unwrap();
        core.targets.push(Target { kind: TargetKind::Test, name: "etcd".to_owned() });
        let steps = steps(&workspace, &Scope::Everything);
        let step = steps.iter().find(|step| step.name == "real servers").unwrap();
        assert!(matches!(&step.work, Work::Missing(reason) if reason.contains("callsign-core")), "{step:?}");
    }

    #[test]
    fn no_feature_and_each_feature_are_checked() {
        assert_eq!(
            commands(&plan(&["callsign"]), "features alone"),
            [
                "cargo clippy --package callsign --lib --no-default-features -- -D warnings",
                "cargo clippy --package callsign --lib --no-default-features --features etcd -- -D warnings",
                "cargo clippy --package callsign --lib --no-default-features --features memory -- -D warnings",
            ]
        );
    }

    #[test]
    fn what_is_not_there_to_be_run_is_said_to_be_missing() {
        let mut workspace = sample();
        workspace.packages.iter_mut().for_each(|package| package.targets.clear());
        let steps = steps(&workspace, &Scope::Everything);
        for name in ["real servers", "simulation", "examples"] {
            let step = steps.iter().find(|step| step.name == name).unwrap();
            assert!(matches!(step.work, Work::Missing(_)), "{step:?}");
        }
    }
}
