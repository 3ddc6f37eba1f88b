//! Links of packages that are unpacked beside the system rather than into it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

/// Turns each absolute link below `root` that leads to a file of the packages into one that finds it there: Java looks
/// for its settings by such a link, and does not start without them.
pub(super) fn stay_inside(root: &Path) -> Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let list = || format!("cannot list {}", folder.display());
        for entry in fs::read_dir(&folder).with_context(list)? {
            let entry = entry.with_context(list)?;
            let kind = entry.file_type().with_context(list)?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_symlink() {
                mend(&entry.path(), root)?;
            }
        }
    }
    Ok(())
}

fn mend(link: &Path, root: &Path) -> Result<()> {
    let target = fs::read_link(link).with_context(|| format!("cannot read the link {}", link.display()))?;
    let Ok(below) = target.strip_prefix("/") else { return Ok(()) };
    // Of what other packages hold, the system's will do.
    if fs::symlink_metadata(root.join(below)).is_err() {
        return Ok(());
    }
    let replace = || format!("cannot replace the link {}", link.display());
    fs::remove_file(link).with_context(replace)?;
    symlink(way_up(link, root).join(below), link).with_context(replace)
}

/// From the folder of `link` to `root`.
fn way_up(link: &Path, root: &Path) -> PathBuf {
    let below = link.strip_prefix(root).unwrap_or(link);
    let folders = below.components().filter(|part| matches!(part, Component::Normal(_))).count();
    std::iter::repeat_n("..", folders.saturating_sub(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_a_file_of_the_packages_finds_it_wherever_they_are_unpacked() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in ["etc/java", "usr/lib/jvm/conf"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        fs::write(at("etc/java/security"), "settings").unwrap();
        symlink("/etc/java/security", at("usr/lib/jvm/conf/security")).unwrap();
        symlink("/nowhere/else", at("usr/lib/other")).unwrap();
        symlink("lib", at("usr/relative")).unwrap();
        stay_inside(root.path()).unwrap();
        let moved = root.path().with_extension("moved");
        fs::rename(root.path(), &moved).unwrap();
        assert_eq!(fs::read_to_string(moved.join("usr/lib/jvm/conf/security")).unwrap(), "settings");
        assert_eq!(fs::read_link(moved.join("usr/lib/other")).unwrap(), Path::new("/nowhere/else"));
        assert_eq!(fs::read_link(moved.join("usr/relative")).unwrap(), Path::new("lib"));
        fs::remove_dir_all(moved).unwrap();
    }
}
