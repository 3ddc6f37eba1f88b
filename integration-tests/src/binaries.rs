//! Where a server's program is found.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The program of the server `name`, such as `etcd-3.5`: what `CALLSIGN_TEST_ETCD_3_5` names, or else the file
/// `inside` the folder of that name which `cargo xtask servers fetch` has filled.
///
/// # Errors
/// Why there is none, and what to do: the reason for which tests are ignored.
pub fn find(name: &str, inside: &str) -> Result<PathBuf, String> {
    find_with(&|variable| env::var_os(variable), name, inside)
}

fn find_with(
    variables: &dyn Fn(&str) -> Option<OsString>,
    name: &str,
    inside: &str,
) -> Result<PathBuf, String> {
    let set = |variable: &str| variables(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let variable = format!("CALLSIGN_TEST_{}", name.to_uppercase().replace(['-', '.'], "_"));
    if let Some(program) = set(&variable) {
        return if program.is_file() {
            Ok(program)
        } else {
            Err(format!(
                "`{variable}` names {}, which is no file: correct it, or unset it and run `cargo xtask servers fetch`",
                program.display()
            ))
        };
    }
    let cache = set("CALLSIGN_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("callsign")))
        .or_else(|| Some(set("HOME")?.join(".cache/callsign")))
        .unwrap_or_else(|| Path::new(".cache").join("callsign"));
    let program = cache.join("servers").join(name).join(inside);
    if program.is_file() {
        Ok(program)
    } else {
        Err(format!(
            "no {name} at {}: run `cargo xtask servers fetch`, or set `{variable}` to the path of one",
            program.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_where(variables: &[(&str, &Path)]) -> Result<PathBuf, String> {
        let value = |wanted: &str| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).into())
        };
        find_with(&value, "etcd-3.5", "usr/bin/etcd")
    }

    #[test]
    fn a_path_by_hand_comes_before_the_cache_and_the_cache_before_the_home() {
        let folder = tempfile::tempdir().unwrap();
        let program = |below: &str| {
            let path = folder.path().join(below).join("servers/etcd-3.5/usr/bin/etcd");
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            path
        };
        let (cache, xdg, home) = (program("cache"), program("xdg/callsign"), program("home/.cache/callsign"));
        let mut variables = vec![("HOME", folder.path().join("home"))];
        let mut found = Vec::new();
        for more in [
            ("XDG_CACHE_HOME", folder.path().join("xdg")),
            ("CALLSIGN_CACHE", folder.path().join("cache")),
            ("CALLSIGN_TEST_ETCD_3_5", home.clone()),
        ] {
            let now: Vec<_> = variables.iter().map(|(name, path)| (*name, path.as_path())).collect();
            found.push(find_where(&now).unwrap());
            variables.push(more);
        }
        let now: Vec<_> = variables.iter().map(|(name, path)| (*name, path.as_path())).collect();
        found.push(find_where(&now).unwrap());
        assert_eq!(found, [home.clone(), xdg, cache, home]);
    }

    #[test]
    fn what_is_missing_is_named_with_the_way_to_get_it() {
        let reason = find_where(&[("HOME", Path::new("/nowhere"))]).unwrap_err();
        assert!(reason.contains("/nowhere/.cache/callsign/servers/etcd-3.5/usr/bin/etcd"), "{reason}");
        assert!(reason.contains("cargo xtask servers fetch"), "{reason}");
        assert!(reason.contains("CALLSIGN_TEST_ETCD_3_5"), "{reason}");
    }
}
