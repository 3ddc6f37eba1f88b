//! Where a server's program is.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::table::Server;

/// In a server's folder: its packages with their versions, one per line, its own first.
pub(super) const PACKAGES: &str = "packages";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The server's variable names it.
    Given(PathBuf),
    Fetched {
        program: PathBuf,
        version: String,
    },
    Missing,
}

/// The folder of the server's files. The tests look into it, too, when nobody tells them where a program is.
pub(super) fn folder(server: &Server, cache: &Path) -> PathBuf {
    cache.join("servers").join(server.name)
}

/// Fails with a reason when the server's variable is set to what is no program.
pub(super) fn find(server: &Server, cache: &Path) -> Result<Place, String> {
    look(server, cache, std::env::var_os(server.variable()))
}

fn look(server: &Server, cache: &Path, given: Option<OsString>) -> Result<Place, String> {
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        // Tests run in their package's folder, where a relative path would lead elsewhere.
        return match std::path::absolute(&given) {
            Ok(program) if program.is_file() => Ok(Place::Given(program)),
            _ => Err(format!(
                "{} names {}, where there is no program: give the path of one, or unset it",
                server.variable(),
                given.display()
            )),
        };
    }
    let folder = folder(server, cache);
    let program = folder.join(server.program);
    if !program.is_file() {
        return Ok(Place::Missing);
    }
    let packages = fs::read_to_string(folder.join(PACKAGES)).unwrap_or_default();
    let version = packages.split_whitespace().nth(1).unwrap_or("unknown").to_owned();
    Ok(Place::Fetched { program, version })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::table::SERVERS;

    const SERVER: &Server = &SERVERS[0];

    #[test]
    fn a_program_that_the_variable_names_comes_first() {
        let cache = tempfile::tempdir().unwrap();
        let own = cache.path().join("etcd");
        fs::write(&own, "").unwrap();
        assert_eq!(look(SERVER, cache.path(), Some(own.clone().into())), Ok(Place::Given(own)));
        assert_eq!(look(SERVER, cache.path(), Some(OsString::new())), Ok(Place::Missing));
    }

    #[test]
    fn a_variable_that_leads_nowhere_is_not_passed_over() {
        let cache = tempfile::tempdir().unwrap();
        for nowhere in [cache.path().join("none"), cache.path().to_owned()] {
            let reason = look(SERVER, cache.path(), Some(nowhere.clone().into())).unwrap_err();
            let named = [SERVER.variable(), nowhere.display().to_string()];
            assert!(named.iter().all(|name| reason.contains(name)), "{reason}");
        }
    }

    #[test]
    fn a_fetched_server_is_found_with_its_version() {
        let cache = tempfile::tempdir().unwrap();
        let folder = folder(SERVER, cache.path());
        let program = folder.join(SERVER.program);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(&program, "").unwrap();
        fs::write(folder.join(PACKAGES), "etcd-server 3.4.23-4\nlibc6 2.36\n").unwrap();
        let fetched = Place::Fetched { program, version: "3.4.23-4".to_owned() };
        assert_eq!(look(SERVER, cache.path(), None), Ok(fetched));
    }
}
