//! Tools that do not come with Rust: pinned here, fetched once into the cache folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::Invocation;
use crate::session::Session;

/// The version is a tool's whole pin: a new one gets a folder of its own.
#[derive(Debug)]
pub(crate) struct Tool {
    name: &'static str,
    version: &'static str,
    source: Source,
}

#[derive(Clone, Copy, Debug)]
enum Source {
    /// Built from source by `cargo install`.
    Crate,
    /// A binary in a Python wheel, by `pip`: nothing is built.
    Wheel,
}

pub(crate) const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", source: Source::Crate };
pub(crate) const TYPOS: Tool = Tool { name: "typos", version: "1.52.0", source: Source::Wheel };

/// A tool cannot be had here.
#[derive(Debug)]
pub(crate) struct Unavailable {
    pub(crate) reason: String,
    /// What was tried and how it answered.
    pub(crate) output: String,
}

impl Tool {
    /// The path of the tool's program, after fetching it if need be.
    pub(crate) fn provide(&self, session: &Session, echo: bool) -> Result<Result<PathBuf, Unavailable>> {
        let folder = session.cache.join(format!("{}-{}", self.name, self.version));
        let program = folder.join("bin").join(self.name);
        if program.is_file() {
            return Ok(Ok(program));
        }
        // Installed beside its place and moved there whole, so that a run cut short leaves no half of a tool.
        let aside = session.cache.join(format!(".{}-{}.{}", self.name, self.version, std::process::id()));
        fs::create_dir_all(&aside).with_context(|| format!("cannot make the folder {}", aside.display()))?;
        let installed = self.install(&aside, echo);
        let moved = match &installed {
            // A run at the same time may have put it there first; then its copy is as good as this one.
            Ok(()) => fs::rename(&aside, &folder)
                .or_else(|error| if program.is_file() { Ok(()) } else { Err(error) }),
            Err(_) => Ok(()),
        };
        if aside.exists() {
            fs::remove_dir_all(&aside).with_context(|| format!("cannot remove {}", aside.display()))?;
        }
        moved.with_context(|| format!("cannot put {} into {}", self.name, folder.display()))?;
        Ok(installed.map(|()| program))
    }

    fn install(&self, folder: &Path, echo: bool) -> Result<(), Unavailable> {
        let unavailable = |why: &str, output: String| Unavailable {
            reason: format!("{} {} cannot be installed: {why}", self.name, self.version),
            output,
        };
        let command = self.installer(folder);
        let finished =
            command.run(echo).map_err(|error| unavailable(&format!("{error:#}"), String::new()))?;
        if !finished.success() {
            let why = cause(&finished.output).map_or_else(|| finished.end.to_string(), str::to_owned);
            return Err(unavailable(&why, format!("$ {command}\n{}", finished.output)));
        }
        if !folder.join("bin").join(self.name).is_file() {
            return Err(unavailable("the package holds no program of that name", finished.output));
        }
        // What building it left behind; it is only disk space.
        let _ = fs::remove_dir_all(folder.join("target"));
        Ok(())
    }

    fn installer(&self, folder: &Path) -> Invocation {
        match self.source {
            Source::Crate => {
                Invocation::cargo(["install", self.name, "--version", self.version, "--locked", "--debug"])
                    .with_arguments([
                        Path::new("--root"),
                        folder,
                        Path::new("--target-dir"),
                        &folder.join("target"),
                    ])
                    .with_variable("CARGO_PROFILE_DEV_DEBUG", "0")
            }
            Source::Wheel => Invocation::new("python3")
                .with_arguments([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "--no-deps",
                ])
                .with_arguments(["--only-binary", ":all:", &format!("{}=={}", self.name, self.version)])
                .with_arguments([Path::new("--target"), folder]),
        }
    }
}

/// The line of an installer's output that says why it failed.
fn cause(output: &str) -> Option<&str> {
    let says_error = |line: &&str| line.to_ascii_lowercase().starts_with("error");
    output
        .lines()
        .map(str::trim)
        .rfind(says_error)
        .or_else(|| output.lines().rfind(|line| !line.trim().is_empty()))
}

/// For CI's log: a failure that comes with a new toolchain should be seen to.
pub(crate) fn print_versions() {
    for (program, arguments) in [
        ("rustc", ["--version"].as_slice()),
        ("cargo", &["--version"]),
        ("cargo", &["clippy", "--version"]),
        ("cargo", &["fmt", "--version"]),
        ("python3", &["--version"]),
    ] {
        let invocation = Invocation::new(program).with_arguments(arguments);
        match invocation.run(false) {
            Ok(finished) if finished.success() => println!("{}", finished.output.trim()),
            Ok(finished) => println!("`{invocation}` {}", finished.end),
            Err(_) => println!("{program}: not found"),
        }
    }
    for tool in [CARGO_DENY, TYPOS] {
        println!("{} {} (pinned)", tool.name, tool.version);
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_the_last_error_or_else_the_last_line() {
        assert_eq!(cause("Updating\nERROR: no network\nnotice\n\n"), Some("ERROR: no network"));
        assert_eq!(
            cause("/usr/bin/python3: No module named pip\n"),
            Some("/usr/bin/python3: No module named pip")
        );
        assert_eq!(cause(""), None);
    }

    #[test]
    fn versions_are_pinned_and_land_in_the_cache() {
        let folder = Path::new("/cache/aside");
        let deny = CARGO_DENY.installer(folder).to_string();
        assert!(
            deny.contains(&format!("--version {}", CARGO_DENY.version))
                && deny.contains("--root /cache/aside")
        );
        let typos = TYPOS.installer(folder).to_string();
        assert!(
            typos.contains(&format!("typos=={}", TYPOS.version)) && typos.contains("--target /cache/aside")
        );
    }
}
