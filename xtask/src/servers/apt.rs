//! Debian packages without root: an apt whose folders are all our own.
//!
//! Taken from the system are the mirror, out of its own sources, the way to it (a proxy), and Debian's keys, against
//! which apt checks every index and package. Nothing of the system is changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::process::{Finished, Invocation};
use crate::transcript::Transcript;

/// Debian's keys, by the names that the package `debian-archive-keyring` has had for them.
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];
/// By the suites that a mirror is asked for one knows it to be Debian's.
const DEBIAN: [&str; 11] = [
    "bullseye",
    "bookworm",
    "trixie",
    "forky",
    "duke",
    "sid",
    "oldoldstable",
    "oldstable",
    "stable",
    "testing",
    "unstable",
];
/// An index has 10 MB, a server 10 to 50: after this long, nothing more will come.
const LIMIT: Duration = Duration::from_secs(600);

/// What the system knows about getting Debian's packages.
#[derive(Debug)]
pub(super) struct System {
    mirrors: Vec<String>,
    keyring: &'static str,
    /// Lines of apt's configuration that say how to reach a mirror.
    way: String,
}

/// The packages of one suite.
#[derive(Debug)]
pub(super) struct Suite {
    configuration: PathBuf,
}

impl System {
    pub(super) fn ask() -> Result<Self> {
        let uris = answer(&apt("apt-get").with_arguments(["-q", "update", "--print-uris"]))
            .context("servers come as Debian packages, by apt-get and dpkg")?;
        let mirrors = mirrors(&uris);
        ensure!(
            !mirrors.is_empty(),
            "servers come as Debian packages, and this system's package sources name no mirror of Debian"
        );
        let keyring = KEYRINGS.into_iter().find(|keyring| Path::new(keyring).is_file());
        let keyring = keyring.with_context(|| {
            format!("Debian's keys are not at {} (package debian-archive-keyring)", KEYRINGS[0])
        })?;
        let way = way(&answer(&apt("apt-config").with_arguments(["dump"]))?);
        Ok(Self { mirrors, keyring, way })
    }
}

impl Suite {
    /// Reads the index of `suite`, from the first mirror that has it, into the new folder `folder`.
    pub(super) fn read(
        suite: &str,
        system: &System,
        folder: &Path,
        transcript: &mut Transcript,
    ) -> Result<Self> {
        let mut causes = Vec::new();
        for (number, mirror) in system.mirrors.iter().enumerate() {
            let this = Self::lay_out(suite, mirror, system, &folder.join(number.to_string()))?;
            let finished = transcript.run(&this.apt_get().with_arguments(["update"]))?;
            if finished.success() {
                return Ok(this);
            }
            causes.push(cause(&finished));
        }
        bail!("the index of Debian's {suite} cannot be read: {}", causes.join("; "))
    }

    /// Puts the newest of the suite's packages of these names into `folder`.
    pub(super) fn download(
        &self,
        packages: &[&str],
        folder: &Path,
        transcript: &mut Transcript,
    ) -> Result<()> {
        let download = self.apt_get().with_arguments(["download"]).with_arguments(packages).in_folder(folder);
        let finished = transcript.run(&download)?;
        ensure!(finished.success(), "{} cannot be downloaded: {}", packages.join(", "), cause(&finished));
        Ok(())
    }

    fn apt_get(&self) -> Invocation {
        apt("apt-get").with_variable("APT_CONFIG", &self.configuration).with_arguments(["-q"])
    }

    /// Every folder that apt uses, empty, and the configuration that names them.
    fn lay_out(suite: &str, mirror: &str, system: &System, root: &Path) -> Result<Self> {
        let place = root.to_str().filter(|place| !place.contains(['"', '\\', '\n']));
        let place = place.with_context(|| {
            format!("apt cannot be told of the folder {}: set CALLSIGN_CACHE to another", root.display())
        })?;
        for folder in ["etc", "state/lists/partial", "cache/archives/partial"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder)
                .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let write = |name: &str, text: String| {
            let file = root.join(name);
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
        };
        write("status", String::new())?;
        write("etc/sources.list", source(suite, mirror, system.keyring))?;
        write("apt.conf", format!("{}{}", system.way, configuration(place)))?;
        Ok(Self { configuration: root.join("apt.conf") })
    }
}

fn apt(program: &str) -> Invocation {
    Invocation::new(program).with_variable("LC_ALL", "C").with_limit(LIMIT)
}

/// What a command prints on its standard output; the rest is not shown, for it may hold a proxy's password.
fn answer(command: &Invocation) -> Result<String> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`{command}` failed: {}",
        said.lines().next().unwrap_or("without a word")
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The line of apt's output that says why it failed.
fn cause(finished: &Finished) -> String {
    let mut lines = finished.output.lines().filter(|line| line.starts_with("E: "));
    lines.next().map_or_else(|| format!("apt-get {}", finished.end), |line| line["E: ".len()..].to_owned())
}

/// Debian's mirrors among the addresses of all indices that the system's apt would read. A repository of a third party
/// may name its suites after Debian's, but only Debian has one for updates beside: such mirrors come first.
fn mirrors(uris: &str) -> Vec<String> {
    let releases = uris.lines().filter_map(|line| {
        let (address, _) = line.strip_prefix('\'')?.split_once('\'')?;
        let (mirror, rest) = address.rsplit_once("/dists/")?;
        Some((mirror, rest.strip_suffix("/InRelease")?))
    });
    let releases: Vec<_> = releases.collect();
    let has = |mirror: &str, suite: &str| releases.contains(&(mirror, suite));
    let updated = |mirror: &&str| DEBIAN.iter().any(|suite| has(mirror, &format!("{suite}-updates")));
    let mut known: Vec<_> =
        releases.iter().filter(|(_, suite)| DEBIAN.contains(suite)).map(|(mirror, _)| *mirror).collect();
    known.sort_by_key(|mirror| !updated(mirror));
    let mut mirrors: Vec<String> = Vec::new();
    for mirror in known {
        if !mirrors.iter().any(|named| named == mirror) {
            mirrors.push(mirror.to_owned());
        }
    }
    mirrors
}

fn way(dump: &str) -> String {
    let of_the_way =
        |line: &&str| line.starts_with("Acquire::http::") || line.starts_with("Acquire::https::");
    dump.lines().filter(of_the_way).flat_map(|line| [line, "\n"]).collect()
}

fn source(suite: &str, mirror: &str, keyring: &str) -> String {
    // A mirror that is frozen at a date signs for no longer than a week ahead of it; that the index is Debian's own is
    // what the signature is needed for.
    format!("deb [signed-by={keyring} check-valid-until=no] {mirror} {suite} main\n")
}

/// A whole configuration rather than options: with those, the system's own would still be read.
fn configuration(root: &str) -> String {
    format!(
        r#"Dir "{root}";
Dir::Etc "{root}/etc";
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
Dir::State "{root}/state";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::GzipIndexes "true";
Acquire::Retries "2";
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_of_debian_are_known_by_their_suites() {
        let uris = "\
'https://example.org/linux/debian/dists/bookworm/InRelease' a 0
'http://mirror.example.org/debian/dists/bookworm/InRelease' b 0
'http://mirror.example.org/debian/dists/bookworm-updates/InRelease' c 0
'http://mirror.example.org/debian/dists/bookworm/main/binary-amd64/Packages.xz' d 0
'http://mirror.example.org/debian-security/dists/bookworm-security/InRelease' e 0
'http://mirror.example.org/debian/dists/trixie/InRelease' f 0
'https://example.net/apt/dists/cloud-bookworm/InRelease' g 0
";
        assert_eq!(mirrors(uris), ["http://mirror.example.org/debian", "https://example.org/linux/debian"]);
    }

    #[test]
    fn another_distribution_has_no_mirror_of_debian() {
        let uris = "'http://archive.example.org/ubuntu/dists/noble/InRelease' a 0
'http://archive.example.org/ubuntu/dists/noble-updates/InRelease' b 0
";
        assert_eq!(mirrors(uris), Vec::<String>::new());
        assert_eq!(mirrors(""), Vec::<String>::new());
    }

    #[test]
    fn the_way_to_a_mirror_is_the_systems_and_nothing_else_is() {
        let dump = "\
APT::Update::Post-Invoke:: \"rm -f /var/cache/apt/*.bin\";
Acquire::http::Proxy \"http://proxy.example.org:3128\";
Acquire::Languages:: \"none\";
";
        assert_eq!(way(dump), "Acquire::http::Proxy \"http://proxy.example.org:3128\";\n");
    }

    #[test]
    fn all_folders_are_our_own_and_all_signatures_are_checked() {
        let root = tempfile::tempdir().unwrap();
        let system = System {
            mirrors: vec![],
            keyring: KEYRINGS[0],
            way: "Acquire::http::Timeout \"20\";\n".to_owned(),
        };
        let suite =
            Suite::lay_out("trixie", "http://mirror.example.org/debian", &system, root.path()).unwrap();
        let written = fs::read_to_string(suite.configuration).unwrap();
        assert!(written.starts_with(&system.way), "{written}");
        let folders = written.lines().filter_map(|line| line.strip_prefix("Dir"));
        for folder in folders {
            let ours = folder.contains(root.path().to_str().unwrap()) || folder.contains("/dev/null");
            assert!(ours, "{folder}");
        }
        let source = fs::read_to_string(root.path().join("etc/sources.list")).unwrap();
        assert!(source.contains(KEYRINGS[0]) && !source.contains("trusted"), "{source}");
        assert!(source.ends_with("http://mirror.example.org/debian trixie main\n"), "{source}");
    }

    #[test]
    fn a_folder_that_apt_s_configuration_cannot_name_is_refused() {
        let system = System { mirrors: vec![], keyring: KEYRINGS[0], way: String::new() };
        let error = Suite::lay_out("sid", "http://m", &system, Path::new("/a\"b")).unwrap_err();
        assert!(error.to_string().contains("CALLSIGN_CACHE"), "{error}");
    }
}
