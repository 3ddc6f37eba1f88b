//! Which steps a run consists of.
//!
//! Cheap checks come first. Everything over the workspace runs with all features and without `RUSTFLAGS`, so that
//! clippy, the docs and the feature checks share one set of metadata, and the tests, doc tests and examples one set of
//! libraries. Only the simulation is built a second time, in release mode: a seed costs 45 ms there and fifteen times
//! that in debug.

use crate::process::Invocation;
use crate::scope::Scope;
use crate::step::{Step, Work};
use crate::workspace::{Package, TargetKind, Workspace};

/// The crate applications depend on, whose features choose the registries.
const FACE: &str = "callsign";
const EXAMPLES: &str = "callsign-examples";
const TESTKIT: &str = "callsign-testkit";
const SIMULATION: &str = "simulation";
const SIMULATION_SEEDS: u32 = 500;

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
    steps.push(Step {
        name: "unit and integration tests",
        work: tests(scope, &["--all-features", "--tests"]),
    });
    if has_library(workspace, scope) {
        steps.push(Step { name: "doc tests", work: tests(scope, &["--all-features", "--doc"]) });
    }
    if included(FACE).is_some() {
        steps.push(Step { name: "default features", work: default_features() });
    }
    if let Some(testkit) = included(TESTKIT) {
        steps.push(Step { name: "simulation", work: simulation(testkit) });
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

fn tests(scope: &Scope, arguments: &[&str]) -> Work {
    let command = Invocation::cargo(["test"])
        .with_arguments(scope.arguments())
        .with_arguments(arguments)
        .with_arguments(["--no-fail-fast"]);
    Work::Tests { commands: vec![command], at_least_one: false }
}

/// Over the workspace every registry is compiled in; the message for one that is not needs a run without.
fn default_features() -> Work {
    let command = Invocation::cargo(["test", "--package", FACE, "--tests", "--no-fail-fast"]);
    Work::Tests { commands: vec![command], at_least_one: true }
}

fn simulation(testkit: &Package) -> Work {
    if !testkit.has_target(TargetKind::Test, SIMULATION) {
        return Work::Missing(format!("{TESTKIT} has no test target `{SIMULATION}`"));
    }
    let command = Invocation::cargo(["test", "--release", "--package", TESTKIT, "--test", SIMULATION])
        .with_variable("CALLSIGN_SIM_SEEDS", SIMULATION_SEEDS.to_string());
    Work::Tests { commands: vec![command], at_least_one: true }
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
    use crate::workspace::sample;

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
    fn no_feature_and_each_feature_are_checked() {
        assert_eq!(
            commands(&plan(&["callsign"]), "features alone"),
            [
                "cargo clippy --package callsign --lib --no-default-features -- -D warnings",
                "cargo clippy --package callsign --lib --no-default-features --features memory -- -D warnings",
            ]
        );
    }

    #[test]
    fn a_missing_simulation_or_example_is_said_to_be_missing() {
        let mut workspace = sample();
        workspace.packages.iter_mut().for_each(|package| package.targets.clear());
        let steps = steps(&workspace, &Scope::Everything);
        for name in ["simulation", "examples"] {
            let step = steps.iter().find(|step| step.name == name).unwrap();
            assert!(matches!(step.work, Work::Missing(_)), "{step:?}");
        }
    }
}
