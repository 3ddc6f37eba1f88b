//! Getting servers into the cache folder.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::apt::{Suite, System};
use super::links;
use super::place::{self, PACKAGES};
use super::table::{Server, Source};
use crate::process::Invocation;
use crate::transcript::Transcript;

/// A program says its version at once, or it hangs.
const ANSWER: Duration = Duration::from_secs(20);

/// A server that could not be had.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) server: &'static Server,
    pub(super) cause: String,
}

/// Fetches each of `servers`. That one cannot be had does not keep the next from being tried.
pub(super) fn fetch(servers: &[&'static Server], cache: &Path, transcript: &mut Transcript) -> Vec<Failure> {
    if servers.is_empty() {
        return Vec::new();
    }
    let fetched =
        Workshop::open(cache, transcript).map(|workshop| workshop.fetch(servers, cache, transcript));
    fetched.unwrap_or_else(|error| {
        let cause = format!("{error:#}");
        servers.iter().map(|server| Failure { server, cause: cause.clone() }).collect()
    })
}

/// Why servers are missing and what to do about it, in one line.
pub(super) fn explain(failures: &[Failure]) -> String {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for Failure { server, cause } in failures {
        names.entry(cause).or_default().push(server.name);
    }
    let causes: Vec<_> =
        names.iter().map(|(cause, names)| format!("{}: {cause}", names.join(", "))).collect();
    let own: Vec<_> = failures.iter().map(|failure| failure.server.variable()).collect();
    format!(
        "no {}; get the programs elsewhere (your distribution, the makers' releases, the images that compose/ \
         names) and set {} to their paths",
        causes.join("; no "),
        own.join(", ")
    )
}

/// A folder beside the servers in which they are put together. It belongs to one run at a time, and what is left in it
/// by one that was cut short is worth nothing.
struct Workshop {
    folder: PathBuf,
    _lock: File,
}

impl Workshop {
    fn open(cache: &Path, transcript: &mut Transcript) -> Result<Self> {
        let servers = cache.join("servers");
        fs::create_dir_all(&servers)
            .with_context(|| format!("cannot make the folder {}", servers.display()))?;
        let lock = servers.join(".lock");
        let cannot = || format!("cannot lock {}", lock.display());
        let file = File::create(&lock).with_context(cannot)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            transcript.say("waiting for another run that fetches servers");
            file.lock().with_context(cannot)?;
        }
        let folder = servers.join(".fetching");
        clear(&folder)?;
        Ok(Self { folder, _lock: file })
    }

    fn fetch(&self, servers: &[&'static Server], cache: &Path, transcript: &mut Transcript) -> Vec<Failure> {
        // Another run may have fetched some while this one waited for its turn.
        let is_missing = |server: &&Server| !place::folder(server, cache).join(server.program).is_file();
        let missing: Vec<_> = servers.iter().copied().filter(is_missing).collect();
        if missing.is_empty() {
            return Vec::new();
        }
        let mut mirror = Mirror { system: None, suites: BTreeMap::new() };
        let mut failures = Vec::new();
        for server in missing {
            let made = match server.source {
                Source::Debian { suite, packages } => mirror
                    .suite(suite, &self.folder, transcript)
                    .and_then(|suite| self.unpack(server, packages, suite, transcript)),
                Source::Crate { name, version } => self.build(server, name, version, transcript),
            };
            let put = made.and_then(|root| put(server, &root, cache, transcript));
            failures.extend(put.err().map(|error| Failure { server, cause: format!("{error:#}") }));
        }
        failures
    }

    /// The files of `packages`, in a folder of their own.
    fn unpack(
        &self,
        server: &Server,
        names: &[&str],
        suite: &Suite,
        transcript: &mut Transcript,
    ) -> Result<PathBuf> {
        transcript.say(&format!("downloading {}: {}", server.name, names.join(", ")));
        let packages = self.folder.join(format!("{}.packages", server.name));
        let root = self.folder.join(server.name);
        for folder in [&packages, &root] {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        suite.download(names, &packages, transcript)?;
        let mut versions = Vec::new();
        for package in names {
            let (file, version) = downloaded(package, &packages)?;
            let unpack = Invocation::new("dpkg").with_arguments(["-x"]).with_arguments([&file, &root]);
            ensure!(transcript.run(&unpack)?.success(), "{} cannot be unpacked", file.display());
            versions.push(format!("{package} {version}\n"));
        }
        links::stay_inside(&root)?;
        fs::write(root.join(PACKAGES), versions.concat()).context("cannot write down the versions")?;
        Ok(root)
    }

    /// The programs of a crate, in a folder of their own. What cargo leaves behind goes with the workshop.
    fn build(
        &self,
        server: &Server,
        name: &str,
        version: &str,
        transcript: &mut Transcript,
    ) -> Result<PathBuf> {
        transcript.say(&format!("building {}: this takes about six minutes, once", server.name));
        let root = self.folder.join(server.name);
        let install =
            Invocation::cargo(["install", name, "--version", version, "--locked", "--debug", "--root"])
                .with_arguments([&root])
                .with_variable("CARGO_TARGET_DIR", self.folder.join(format!("{}.target", server.name)))
                .with_variable("CARGO_PROFILE_DEV_DEBUG", "0")
                .with_variable("CARGO_PROFILE_DEV_STRIP", "symbols");
        ensure!(transcript.run(&install)?.success(), "{name} {version} cannot be built");
        fs::write(root.join(PACKAGES), format!("{name} {version}\n"))
            .context("cannot write down the version")?;
        Ok(root)
    }
}

/// Moves a whole server to its place, once it runs: half of one is never there.
fn put(server: &Server, root: &Path, cache: &Path, transcript: &mut Transcript) -> Result<()> {
    let place = place::folder(server, cache);
    let version = ask_version(server, root)?;
    // What an older run has left of a server without its program.
    clear(&place)?;
    fs::rename(root, &place)
        .with_context(|| format!("cannot move {} to {}", root.display(), place.display()))?;
    transcript.say(&format!("{} is there: {version}", server.name));
    Ok(())
}

/// Debian's indices, each read once, and only if it is needed.
struct Mirror {
    system: Option<Result<System, String>>,
    suites: BTreeMap<&'static str, Result<Suite, String>>,
}

impl Mirror {
    fn suite(&mut self, name: &'static str, folder: &Path, transcript: &mut Transcript) -> Result<&Suite> {
        let system = self.system.get_or_insert_with(|| System::ask().map_err(|error| format!("{error:#}")));
        let suite = self.suites.entry(name).or_insert_with(|| {
            let system = system.as_ref().map_err(Clone::clone)?;
            transcript.say(&format!("reading the index of Debian's {name}"));
            Suite::read(name, system, &folder.join(name), transcript).map_err(|error| format!("{error:#}"))
        });
        suite.as_ref().map_err(|cause| anyhow::anyhow!("{cause}"))
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // The indices alone have 100 MB each. Whatever stays behind is cleared by the next run.
        let _ = clear(&self.folder);
    }
}

fn clear(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if folder.exists() => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The file that `apt-get download` has made for a package, `NAME_VERSION_ARCHITECTURE.deb`, and its version.
fn downloaded(package: &str, folder: &Path) -> Result<(PathBuf, String)> {
    let list = || format!("cannot list {}", folder.display());
    for entry in fs::read_dir(folder).with_context(list)? {
        let file = entry.with_context(list)?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let mut parts = name.split('_');
        if parts.next() == Some(package) {
            let version = parts.next().unwrap_or("unknown").replace("%3a", ":");
            return Ok((file, version));
        }
    }
    Err(anyhow::anyhow!("apt-get has downloaded no file for {package}"))
}

/// The first line that the program says about its version: one that was built for a newer system says nothing of it.
fn ask_version(server: &Server, root: &Path) -> Result<String> {
    let program = root.join(server.program);
    ensure!(program.is_file(), "{} holds no {}", server.name, server.program);
    if server.version.is_empty() {
        return Ok(server.program.to_owned());
    }
    let asked = Invocation::new(program).with_arguments(server.version).with_limit(ANSWER).run(false)?;
    let line = asked.output.lines().next().unwrap_or_default().to_owned();
    ensure!(asked.success(), "the program does not run here: {}, {line}", asked.end);
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::servers::table::SERVERS;

    #[test]
    fn the_explanation_says_each_cause_once_and_how_to_do_without() {
        let failure = |server, cause: &str| Failure { server, cause: cause.to_owned() };
        let [old, new, ..] = &SERVERS;
        let explained = explain(&[failure(old, "no mirror"), failure(new, "no mirror")]);
        assert!(explained.starts_with("no etcd-3.4, etcd-3.5: no mirror; get "), "{explained}");
        assert!(explained.contains("CALLSIGN_TEST_ETCD_3_4, CALLSIGN_TEST_ETCD_3_5"), "{explained}");
        let explained = explain(&[failure(old, "no mirror"), failure(new, "not signed")]);
        assert!(explained.starts_with("no etcd-3.4: no mirror; no etcd-3.5: not signed; "), "{explained}");
    }

    #[test]
    fn what_a_run_cut_short_has_left_is_cleared_and_the_next_run_waits_its_turn() {
        let cache = tempfile::tempdir().unwrap();
        let left = cache.path().join("servers/.fetching/left");
        fs::create_dir_all(&left).unwrap();
        let mut transcript = Transcript::new(false);
        let workshop = Workshop::open(cache.path(), &mut transcript).unwrap();
        assert!(!left.exists());
        let second = File::open(cache.path().join("servers/.lock")).unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
        drop(workshop);
        second.try_lock().unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_the_cause_for_each_server() {
        let cache = tempfile::NamedTempFile::new().unwrap();
        let failures = fetch(&[&SERVERS[0], &SERVERS[1]], cache.path(), &mut Transcript::new(false));
        assert_eq!(failures.len(), 2);
        assert!(failures[0].cause.contains("cannot make the folder"), "{}", failures[0].cause);
    }

    #[test]
    fn a_package_is_known_by_its_whole_name() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["etcd_1_amd64.deb", "etcd-server_1%3a3.4.23-4+b4_amd64.deb"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let (_, version) = downloaded("etcd-server", folder.path()).unwrap();
        assert_eq!(version, "1:3.4.23-4+b4");
        assert!(downloaded("etcd-client", folder.path()).is_err());
    }
}
