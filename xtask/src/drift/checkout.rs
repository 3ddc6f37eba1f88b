//! The files of the checkout, by their paths from its root.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What is not part of the sources. In a worktree `.git` is a file.
const FOREIGN: [&str; 2] = [".git", "target"];

#[derive(Debug)]
pub(super) struct Checkout {
    files: BTreeSet<String>,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Folder(PathBuf),
    #[cfg_attr(not(test), expect(dead_code, reason = "a checkout made up for a test"))]
    Texts(BTreeMap<String, String>),
}

impl Checkout {
    pub(super) fn read(root: &Path) -> Result<Self> {
        let mut files = BTreeSet::new();
        walk(root, "", &mut files)?;
        Ok(Self { files, source: Source::Folder(root.to_owned()) })
    }

    #[cfg(test)]
    pub(super) fn of(texts: &[(&str, &str)]) -> Self {
        let texts: BTreeMap<_, _> =
            texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Self { files: texts.keys().cloned().collect(), source: Source::Texts(texts) }
    }

    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    pub(super) fn text(&self, file: &str) -> Result<String> {
        match &self.source {
            Source::Folder(root) => {
                fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {file}"))
            }
            Source::Texts(texts) => texts.get(file).cloned().with_context(|| format!("no text for {file}")),
        }
    }

    /// Whether there is a file or folder of this path, in which `*` stands for any part of a name.
    pub(super) fn contains(&self, path: &str) -> bool {
        let wanted: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        wanted.is_empty()
            || self.files.iter().any(|file| {
                let mut parts = file.split('/');
                wanted.iter().all(|pattern| parts.next().is_some_and(|part| matches(pattern, part)))
            })
    }

    /// Whether some file's path ends with this one.
    pub(super) fn contains_tail(&self, path: &str) -> bool {
        self.files.iter().any(|file| {
            let mut parts = file.rsplit('/');
            path.rsplit('/').all(|pattern| parts.next().is_some_and(|part| matches(pattern, part)))
        })
    }
}

fn walk(root: &Path, folder: &str, files: &mut BTreeSet<String>) -> Result<()> {
    let place = root.join(folder);
    let read = || format!("cannot list {}", place.display());
    for entry in fs::read_dir(&place).with_context(read)? {
        let entry = entry.with_context(read)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if FOREIGN.contains(&name.as_str()) {
            continue;
        }
        if entry.file_type().with_context(read)?.is_dir() {
            walk(root, &path, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

/// Whether a name fits a pattern in which `*` stands for any part.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(start) else {
        return false;
    };
    name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| matches(rest, &name[at..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_folders_and_patterns_are_found() {
        let checkout = Checkout::of(&[("crates/core/src/lib.rs", ""), ("docs/decisions/0001-traits.md", "")]);
        for path in
            ["crates/core/src/lib.rs", "crates/core", "crates/", "crates/*/src", "docs/decisions/*-*.md"]
        {
            assert!(checkout.contains(path), "{path}");
        }
        for path in ["crates/core/lib.rs", "crate", "crates/*/lib.rs", "docs/decisions/*-*.txt"] {
            assert!(!checkout.contains(path), "{path}");
        }
    }

    #[test]
    fn a_tail_is_whole_names_at_the_end() {
        let checkout = Checkout::of(&[("crates/core/src/lib.rs", "")]);
        assert!(checkout.contains_tail("lib.rs") && checkout.contains_tail("src/lib.rs"));
        assert!(!checkout.contains_tail("b.rs") && !checkout.contains_tail("core/src"));
    }

    #[test]
    fn a_star_stands_for_any_part_of_a_name() {
        assert!(matches("*", "") && matches("a*c", "abbc") && matches("*-*.md", "0001-x-y.md"));
        assert!(!matches("a*c", "abcd") && !matches("", "a"));
    }
}
