//! What holds for a whole run: where things are, and how much to say.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::cache;
use crate::workspace::Workspace;

#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) root: PathBuf,
    pub(crate) cache: PathBuf,
    /// CI shows test output as it comes, and a tool that cannot be had fails its step there.
    pub(crate) ci: bool,
    pub(crate) verbose: bool,
}

impl Session {
    pub(crate) fn new(workspace: &Workspace, verbose: bool) -> Result<Self> {
        let ci = std::env::var("CI").is_ok_and(|value| matches!(value.as_str(), "true" | "1"));
        let cache = cache::folder()?;
        let root = workspace.root.clone();
        ensure!(!cache.starts_with(&root), "the cache folder {} lies inside the checkout", cache.display());
        Ok(Self { root, cache, ci, verbose })
    }

    pub(crate) fn in_ci(workspace: &Workspace) -> Result<Self> {
        Ok(Self { ci: true, ..Self::new(workspace, false)? })
    }
}
