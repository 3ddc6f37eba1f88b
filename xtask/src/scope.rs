//! What `cargo xtask test NAME ...` is about.

use std::collections::BTreeSet;

use crate::cli::UsageError;
use crate::workspace::{Package, Workspace};

/// Crates that are a registry, or several: naming one also runs the suites over it and its dependants' tests.
const REGISTRIES: [&str; 6] = ["consul", "etcd", "failover", "memory", "nacos", "zookeeper"];
/// Holds the suites that run over every registry.
const TESTKIT: &str = "callsign-testkit";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Everything,
    Packages(BTreeSet<String>),
}

impl Scope {
    /// No names mean everything; a name is a package's, with or without the prefix `callsign-`.
    pub(crate) fn parse<N: AsRef<str>>(names: &[N], workspace: &Workspace) -> Result<Self, UsageError> {
        if names.is_empty() {
            return Ok(Self::Everything);
        }
        let mut packages = BTreeSet::new();
        for name in names.iter().map(AsRef::as_ref) {
            let package = find(name, workspace).ok_or_else(|| {
                UsageError(format!("unknown crate or registry `{name}`; known: {}", known(workspace)))
            })?;
            packages.insert(package.name.clone());
            if REGISTRIES.contains(&package.short_name()) {
                packages.extend(dependants(package, workspace));
                packages.extend(workspace.package(TESTKIT).map(|testkit| testkit.name.clone()));
            }
        }
        Ok(Self::Packages(packages))
    }

    pub(crate) fn includes(&self, package: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Packages(packages) => packages.contains(package),
        }
    }

    /// How cargo is told, by its commands that know `--workspace`.
    pub(crate) fn arguments(&self) -> Vec<String> {
        match self {
            Self::Everything => vec!["--workspace".to_owned()],
            Self::Packages(packages) => {
                packages.iter().flat_map(|name| ["--package".to_owned(), name.clone()]).collect()
            }
        }
    }
}

fn find<'a>(name: &str, workspace: &'a Workspace) -> Option<&'a Package> {
    workspace.packages.iter().find(|package| package.name == name || package.short_name() == name)
}

fn known(workspace: &Workspace) -> String {
    let mut names: Vec<_> = workspace.packages.iter().map(Package::short_name).collect();
    names.sort_unstable();
    names.join(", ")
}

fn dependants<'a>(package: &'a Package, workspace: &'a Workspace) -> impl Iterator<Item = String> + 'a {
    let depends = |candidate: &&Package| candidate.dependencies.contains(&package.name);
    workspace.packages.iter().filter(depends).map(|dependant| dependant.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::sample;

    fn packages(names: &[&str]) -> Vec<String> {
        match Scope::parse(names, &sample()).unwrap() {
            Scope::Everything => panic!("{names:?} means everything"),
            Scope::Packages(packages) => packages.into_iter().collect(),
        }
    }

    #[test]
    fn short_and_full_names_mean_the_same() {
        assert_eq!(packages(&["core"]), ["callsign-core"]);
        assert_eq!(packages(&["callsign-core", "core", "xtask"]), ["callsign-core", "xtask"]);
    }

    #[test]
    fn a_registry_brings_its_dependants_and_the_suites() {
        assert_eq!(
            packages(&["memory"]),
            ["callsign", "callsign-failover", "callsign-memory", "callsign-testkit"]
        );
        assert_eq!(
            packages(&["etcd"]),
            ["callsign", "callsign-etcd", "callsign-integration-tests", "callsign-testkit"]
        );
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let UsageError(message) = Scope::parse(&["mercury"], &sample()).unwrap_err();
        assert!(
            message.contains("`mercury`")
                && message.contains("callsign, core, etcd, examples, failover, integration-tests"),
            "{message}"
        );
    }

    #[test]
    fn cargo_is_told_the_whole_workspace_or_each_package() {
        let nothing: [&str; 0] = [];
        assert_eq!(Scope::parse(&nothing, &sample()).unwrap().arguments(), ["--workspace"]);
        assert_eq!(Scope::parse(&["core"], &sample()).unwrap().arguments(), ["--package", "callsign-core"]);
    }
}
