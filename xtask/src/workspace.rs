//! What cargo knows about this workspace.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::Invocation;

#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) packages: Vec<Package>,
}

#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Relative to the root, such as `crates/core`.
    pub(crate) folder: PathBuf,
    /// Without `default`.
    pub(crate) features: Vec<String>,
    pub(crate) targets: Vec<Target>,
    /// Names of what it depends on directly, for tests and builds too.
    pub(crate) dependencies: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) kind: TargetKind,
    pub(crate) name: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TargetKind {
    Lib,
    Bin,
    Example,
    Test,
    Bench,
    BuildScript,
}

impl Workspace {
    pub(crate) fn load() -> Result<Self> {
        let metadata = Invocation::cargo(["metadata", "--format-version", "1", "--no-deps"]);
        let output = metadata.output()?;
        if !output.status.success() {
            bail!("`{metadata}` failed:\n{}", String::from_utf8_lossy(&output.stderr).trim_end());
        }
        let metadata = serde_json::from_slice(&output.stdout).context("cannot read cargo's metadata")?;
        Self::parse(&metadata).context("cargo's metadata lacks a field")
    }

    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    fn parse(metadata: &Value) -> Option<Self> {
        let root = PathBuf::from(metadata["workspace_root"].as_str()?);
        let packages = metadata["packages"].as_array()?;
        let packages =
            packages.iter().map(|package| Package::parse(package, &root)).collect::<Option<_>>()?;
        Some(Self { root, packages })
    }
}

impl Package {
    /// The name without the project's prefix: `core` for `callsign-core`.
    pub(crate) fn short_name(&self) -> &str {
        self.name.strip_prefix("callsign-").unwrap_or(&self.name)
    }

    pub(crate) fn targets(&self, kind: TargetKind) -> impl Iterator<Item = &str> {
        self.targets.iter().filter(move |target| target.kind == kind).map(|target| target.name.as_str())
    }

    pub(crate) fn has_target(&self, kind: TargetKind, name: &str) -> bool {
        self.targets(kind).any(|target| target == name)
    }

    fn parse(package: &Value, root: &Path) -> Option<Self> {
        let folder =
            Path::new(package["manifest_path"].as_str()?).parent()?.strip_prefix(root).ok()?.to_owned();
        let features = package["features"].as_object()?.keys().filter(|name| *name != "default").cloned();
        let dependencies = package["dependencies"].as_array()?.iter();
        Some(Self {
            name: package["name"].as_str()?.to_owned(),
            folder,
            features: features.collect(),
            targets: package["targets"].as_array()?.iter().map(Target::parse).collect::<Option<_>>()?,
            dependencies: dependencies
                .map(|dependency| dependency["name"].as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
        })
    }
}

impl Target {
    fn parse(target: &Value) -> Option<Self> {
        let kind = match target["kind"].as_array()?.first()?.as_str()? {
            "bin" => TargetKind::Bin,
            "example" => TargetKind::Example,
            "test" => TargetKind::Test,
            "bench" => TargetKind::Bench,
            "custom-build" => TargetKind::BuildScript,
            // lib, rlib, dylib, cdylib, staticlib, proc-macro
            _ => TargetKind::Lib,
        };
        Some(Self { kind, name: target["name"].as_str()?.to_owned() })
    }
}

/// A small workspace for the tests of what works on one.
#[cfg(test)]
pub(crate) fn sample() -> Workspace {
    use TargetKind::{Bin, Lib, Test};
    let package = |name: &str,
                   folder: &str,
                   features: &[&str],
                   targets: &[(TargetKind, &str)],
                   dependencies: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let targets = targets.iter().map(|(kind, name)| Target { kind: *kind, name: (*name).to_owned() });
        Package {
            name: name.to_owned(),
            folder: folder.into(),
            features: owned(features),
            targets: targets.collect(),
            dependencies: owned(dependencies),
        }
    };
    Workspace {
        root: "/checkout".into(),
        packages: vec![
            package(
                "callsign",
                "crates/callsign",
                &["etcd", "memory"],
                &[(Lib, "callsign")],
                &["callsign-etcd", "callsign-memory"],
            ),
            package("callsign-core", "crates/core", &[], &[(Lib, "callsign_core")], &[]),
            package("callsign-etcd", "crates/etcd", &[], &[(Lib, "callsign_etcd")], &["callsign-core"]),
            package("callsign-memory", "crates/memory", &[], &[(Lib, "callsign_memory")], &["callsign-core"]),
            package(
                "callsign-testkit",
                "crates/testkit",
                &[],
                &[(Lib, "callsign_testkit"), (Test, "simulation")],
                &["callsign-core", "callsign-memory"],
            ),
            package(
                "callsign-failover",
                "crates/failover",
                &[],
                &[(Lib, "callsign_failover"), (Test, "matrix")],
                &["callsign-core", "callsign-memory"],
            ),
            package(
                "callsign-integration-tests",
                "integration-tests",
                &[],
                &[(Lib, "callsign_integration_tests"), (Test, "etcd")],
                &["callsign-etcd", "callsign-testkit"],
            ),
            package("callsign-examples", "examples", &[], &[(Bin, "quickstart")], &["callsign"]),
            package("xtask", "xtask", &[], &[(Bin, "xtask")], &["anyhow"]),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_features_targets_and_dependencies_are_read() {
        let metadata = serde_json::json!({
            "workspace_root": "/checkout",
            "packages": [{
                "name": "callsign-core",
                "manifest_path": "/checkout/crates/core/Cargo.toml",
                "features": { "default": ["tls"], "tls": [] },
                "dependencies": [{ "name": "tokio" }],
                "targets": [
                    { "kind": ["rlib"], "name": "callsign_core" },
                    { "kind": ["test"], "name": "watch" },
                ],
            }],
        });
        let workspace = Workspace::parse(&metadata).unwrap();
        let core = workspace.package("callsign-core").unwrap();
        assert_eq!(core.short_name(), "core");
        assert_eq!(core.folder, Path::new("crates/core"));
        assert_eq!(core.features, ["tls"]);
        assert_eq!(core.dependencies, ["tokio"]);
        assert!(core.has_target(TargetKind::Test, "watch") && core.targets(TargetKind::Lib).count() == 1);
    }

    #[test]
    fn metadata_without_a_field_is_not_guessed_at() {
        assert!(Workspace::parse(&serde_json::json!({ "packages": [] })).is_none());
    }
}
