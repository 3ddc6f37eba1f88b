//! The last known good sets on disk, for an application that starts while no registry answers.
//!
//! One file per service, and the one before it. A set is written beside them, synchronized, and then takes the place
//! of the newest in one step: whenever the process or the machine stops, the older or the newer set can be read, and
//! never half of one. What cannot be read is reported, and a broken file is set aside for a person to look at.
//! Several processes may share the folder; the last one to finish wins.
//!
//! Everything here blocks.

mod files;
mod format;
mod name;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod fixtures;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use callsign_core::{Error, ErrorKind, Instance, Result, ServiceKey};

pub(crate) use files::{Files, RealFiles};
use format::Flaw;
use name::FileNames;

/// The largest file that is read or written: some 800 000 instances. A broken one cannot take all memory.
const MAX_BYTES: u64 = 256 << 20;
/// How old a file must be to count as left behind by a crash, and how often a service's are looked for.
const LEFTOVER_AGE: Duration = Duration::from_secs(60);
const GOES_ON: &str = "the view goes on without it";

/// The store in one folder. Cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Disk {
    dir: Arc<Path>,
    files: Arc<dyn Files>,
    /// When the leftovers of each service were last looked for, by the stem of its files.
    swept: Arc<Mutex<HashMap<String, SystemTime>>>,
}

/// What the store has of a service.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The newest set that can be read.
    pub(crate) saved: Option<Saved>,
    /// Each file that was set aside or could not be read, and instances that were left out.
    pub(crate) problems: Vec<Error>,
}

/// A set as it was saved.
#[derive(Debug)]
pub(crate) struct Saved {
    /// Sorted by id, each id once.
    pub(crate) instances: Vec<Arc<Instance>>,
    /// When it was saved, by the clock of the machine that did, to the millisecond.
    pub(crate) written_at: SystemTime,
}

impl Disk {
    /// The store in the folder `dir`, which is created when something is saved. Does no I/O.
    pub(crate) fn new(dir: impl Into<PathBuf>) -> Self {
        Self::with_files(dir, Arc::new(RealFiles))
    }

    /// The same over other file operations.
    pub(crate) fn with_files(dir: impl Into<PathBuf>, files: Arc<dyn Files>) -> Self {
        Self { dir: dir.into().into(), files, swept: Arc::default() }
    }

    /// Replaces the set of `service`; the one it replaces is kept as the older generation. Blocks.
    ///
    /// # Errors
    /// `PermissionDenied` or `Unavailable` for trouble with the disk: what was saved before can still be loaded.
    /// `LimitExceeded` for a set of more than 256 MiB, `InvalidInput` for an instance of another service.
    pub(crate) fn save(
        &self,
        service: &ServiceKey,
        instances: &[Arc<Instance>],
        written_at: SystemTime,
    ) -> Result<()> {
        self.try_save(service, instances, written_at).map_err(|error| error.with_operation("save"))
    }

    fn try_save(
        &self,
        service: &ServiceKey,
        instances: &[Arc<Instance>],
        written_at: SystemTime,
    ) -> Result<()> {
        let encoded = format::encode(service, instances, written_at)?;
        let (header, payload) = (encoded.header.as_bytes(), &*encoded.payload);
        if (header.len() + payload.len()) as u64 > MAX_BYTES {
            return Err(Error::limit_exceeded(format!(
                "the view of {service} has {} bytes, {MAX_BYTES} can be saved: {GOES_ON}",
                payload.len()
            )));
        }
        self.files
            .create_dir_all(&self.dir)
            .map_err(|error| trouble("create the folder", &self.dir, GOES_ON, error))?;
        let names = FileNames::new(&self.dir, service);
        self.sweep(&names);

        let temporary = names.temporary();
        let replaced = self
            .files
            .write_new(&temporary, &[header, payload])
            .map_err(|error| trouble("write", &temporary, GOES_ON, error))
            .and_then(|()| self.replace(&temporary, &names));
        if replaced.is_err() {
            // What is left behind after all is found by a later sweep.
            self.files.remove(&temporary).ok();
        }
        replaced?;
        self.files.sync_dir(&self.dir).map_err(|error| {
            let now = "the saved view may be the older one after a power failure";
            trouble("synchronize the folder", &self.dir, now, error)
        })
    }

    /// Between the two steps, and if the second fails, there is the older generation.
    fn replace(&self, temporary: &Path, names: &FileNames<'_>) -> Result<()> {
        let (current, older) = (names.current(), names.older());
        match self.files.rename(&current, &older) {
            // The first save, or another process is between its two steps.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(trouble("make the older generation of", &current, GOES_ON, error)),
            Ok(()) => {}
        }
        self.files.rename(temporary, &current).map_err(|error| trouble("replace", &current, GOES_ON, error))
    }

    /// Removes what crashed processes left of this service. Trouble with it is not worth a report: the save that
    /// follows has the same.
    fn sweep(&self, names: &FileNames<'_>) {
        let now = SystemTime::now();
        let is_old = |at: &SystemTime| now.duration_since(*at).is_ok_and(|age| age > LEFTOVER_AGE);
        {
            let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
            if swept.get(names.stem()).is_some_and(|last| !is_old(last)) {
                return;
            }
            swept.insert(names.stem().to_owned(), now);
        }
        let found = self.files.list(&self.dir, &|name| names.is_temporary(name));
        for (path, _) in found.unwrap_or_default().iter().filter(|(_, at)| is_old(at)) {
            self.files.remove(path).ok();
        }
    }

    /// The newest set of `service` that can be read. Blocks; never fails.
    pub(crate) fn load(&self, service: &ServiceKey) -> Loaded {
        let names = FileNames::new(&self.dir, service);
        let generations = [(names.current(), "the generation before it is tried"), (names.older(), GOES_ON)];
        let mut problems = Vec::new();
        let saved = generations.iter().find_map(|(path, next)| self.read(path, service, next, &mut problems));
        let problems = problems.into_iter().map(|error| error.with_operation("load")).collect();
        Loaded { saved, problems }
    }

    fn read(
        &self,
        path: &Path,
        service: &ServiceKey,
        next: &str,
        problems: &mut Vec<Error>,
    ) -> Option<Saved> {
        let bytes = match self.files.read(path, MAX_BYTES) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                problems.push(self.set_aside(path, &error.to_string(), next));
                return None;
            }
            Err(error) => {
                problems.push(trouble("read", path, next, error));
                return None;
            }
        };
        let shown = path.display();
        match format::decode(&bytes, service) {
            Ok(decoded) => {
                problems.extend(
                    decoded
                        .skipped
                        .map(|skipped| Error::invalid_input(format!("in the saved view {shown}, {skipped}"))),
                );
                return Some(decoded.saved);
            }
            Err(Flaw::Broken(reason)) => problems.push(self.set_aside(path, &reason, next)),
            Err(Flaw::Unsupported(reason)) => problems.push(Error::unsupported(format!(
                "the saved view {shown} cannot be used: {reason}; it stays where it is, and {next}"
            ))),
            Err(Flaw::Foreign(reason)) => problems.push(Error::not_found(format!(
                "the saved view {shown} is not that of {service}: {reason}; it stays where it is, and {next}"
            ))),
        }
        None
    }

    /// Renames a broken file, so that it is neither read again nor lost, and says so.
    fn set_aside(&self, path: &Path, reason: &str, next: &str) -> Error {
        let (shown, aside) = (path.display(), name::set_aside(path));
        let aside_shown = aside.display();
        match self.files.rename(path, &aside) {
            Ok(()) => Error::invalid_input(format!(
                "the saved view {shown} is broken: {reason}; it was set aside as {aside_shown}, and {next}"
            )),
            Err(error) => Error::invalid_input(format!(
                "the saved view {shown} is broken: {reason}; it could not be set aside as {aside_shown}, and {next}"
            ))
            .with_source(error),
        }
    }
}

/// What was tried on which path, and what happens now.
fn trouble(tried: &str, path: &Path, next: &str, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("cannot {tried} {}: {next}", path.display())).with_source(error)
}

#[cfg(test)]
mod tests;
