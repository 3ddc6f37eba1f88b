//! Registry types of a third party, and configurations in temporary files.
#![allow(dead_code, reason = "each test file uses a part")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::sync::Arc;

use callsign::core::config::{RegistryUrl, Secret, Table};
use callsign::core::{Backend, Dict, Factory, Members};
use callsign::{Callsign, CallsignBuilder, Result};
use callsign_memory::{Memory, Store};
use serde::Deserialize;

/// The type `fake`: wants an address, stores in memory.
#[derive(Debug)]
pub(crate) struct Fake;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FakeConfig {
    address: String,
    #[serde(default)]
    #[allow(dead_code)]
    retries: u8,
    #[serde(default)]
    #[allow(dead_code)]
    password: Option<Secret>,
}

impl Factory for Fake {
    fn types(&self) -> &'static [&'static str] {
        &["fake"]
    }

    fn build(&self, table: &Table, _: &dyn Members) -> Result<Arc<dyn Backend>> {
        let config: FakeConfig = table.extract()?;
        Ok(Arc::new(Memory::new(Store::named(&config.address), table.name().clone())))
    }

    fn table_of(&self, url: &RegistryUrl) -> Result<Dict> {
        let addresses: Vec<_> = url.hosts()?.iter().map(ToString::to_string).collect();
        Ok([("address".to_owned(), addresses.join(",").into())].into())
    }
}

/// The type `group`: behaves as its first member.
#[derive(Debug)]
pub(crate) struct Group;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupConfig {
    members: Vec<String>,
}

impl Factory for Group {
    fn types(&self) -> &'static [&'static str] {
        &["group"]
    }

    fn build(&self, table: &Table, members: &dyn Members) -> Result<Arc<dyn Backend>> {
        let config: GroupConfig = table.extract()?;
        let mut built = Vec::new();
        for name in &config.members {
            built.push(members.member(name)?);
        }
        let first = built.first().cloned();
        first.ok_or_else(|| table.error("members", "none: at least one is needed"))
    }

    fn table_of(&self, url: &RegistryUrl) -> Result<Dict> {
        Err(callsign::Error::config(format!("the registry `{url}` has members: configure it as a table")))
    }
}

/// A builder that knows the types above and reads `toml` and `environment`, nothing else.
pub(crate) fn builder(folder: &Path, toml: &str, environment: &[(&str, &str)]) -> CallsignBuilder {
    let file = folder.join("callsign.toml");
    std::fs::write(&file, toml).unwrap();
    Callsign::builder().file(file).environment(environment.iter().copied()).factory(Fake).factory(Group)
}

/// What building from `toml` and `environment` is refused with, without the temporary folder's path.
pub(crate) fn refusal(toml: &str, environment: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let error = builder(folder.path(), toml, environment).build().unwrap_err();
    without(folder.path(), &error.to_string())
}

/// `text` without the path of `folder`.
pub(crate) fn without(folder: &Path, text: &str) -> String {
    text.replace(&format!("{}/", folder.display()), "")
}

/// Answers to `memory`, as a program's own variant would.
#[derive(Debug)]
pub(crate) struct FakeMemory;

impl Factory for FakeMemory {
    fn types(&self) -> &'static [&'static str] {
        &["memory"]
    }

    fn build(&self, _: &Table, _: &dyn Members) -> Result<Arc<dyn Backend>> {
        Ok(Arc::new(Memory::new(Store::named("replaced"), "replaced")))
    }

    fn table_of(&self, _: &RegistryUrl) -> Result<Dict> {
        Ok(Dict::new())
    }
}
