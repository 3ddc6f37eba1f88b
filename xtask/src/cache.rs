//! The per-user folder for what is fetched or built once: tools now, servers later. Never inside the checkout.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

/// `$CALLSIGN_CACHE`, else `$XDG_CACHE_HOME/callsign`, else `~/.cache/callsign`.
pub(crate) fn folder() -> Result<PathBuf> {
    choose(|name| std::env::var_os(name), std::env::home_dir())
}

fn choose(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Result<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = set("CALLSIGN_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("callsign")))
        .or_else(|| home.map(|home| home.join(".cache/callsign")))
        .context("no cache folder: set CALLSIGN_CACHE, XDG_CACHE_HOME or HOME")?;
    ensure!(folder.is_absolute(), "the cache folder {} is not an absolute path", folder.display());
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn chosen(variables: &[(&str, &str)], home: Option<&str>) -> Result<PathBuf> {
        let variable =
            |name: &str| variables.iter().find(|(set, _)| *set == name).map(|(_, value)| value.into());
        choose(variable, home.map(PathBuf::from))
    }

    #[test]
    fn the_nearest_variable_wins_and_an_empty_one_counts_as_unset() {
        let all = [("CALLSIGN_CACHE", "/a"), ("XDG_CACHE_HOME", "/b")];
        assert_eq!(chosen(&all, Some("/c")).unwrap(), Path::new("/a"));
        assert_eq!(chosen(&all[1..], Some("/c")).unwrap(), Path::new("/b/callsign"));
        assert_eq!(chosen(&[("XDG_CACHE_HOME", "")], Some("/c")).unwrap(), Path::new("/c/.cache/callsign"));
    }

    #[test]
    fn no_folder_or_a_relative_one_is_an_error() {
        assert!(chosen(&[], None).is_err());
        assert!(chosen(&[("CALLSIGN_CACHE", "cache")], None).is_err());
    }
}
