//! Where servers keep their data.

use std::path::Path;

use callsign_core::{Error, Result};
use rustix::fs::statvfs;
use tempfile::{Builder, TempDir};

/// Files that are in memory.
const MEMORY: &str = "/dev/shm";
/// What all suites together may take of it, several times over.
const ROOM: u64 = 6 << 30;

/// An empty folder for the data of `what`, in memory where there is room: a test that kills a process does not cut the
/// power, and on a disk that others use, too, each write of a registry waits for theirs.
pub(crate) fn temporary(what: &str) -> Result<TempDir> {
    let mut builder = Builder::new();
    let prefix = format!("callsign-{what}-");
    builder.prefix(&prefix);
    let folder = if has_room(Path::new(MEMORY)) { builder.tempdir_in(MEMORY) } else { builder.tempdir() };
    folder.map_err(|error| Error::unexpected(format!("no folder for the data of {what}")).with_source(error))
}

fn has_room(folder: &Path) -> bool {
    statvfs(folder).is_ok_and(|found| found.f_bavail.saturating_mul(found.f_frsize) >= ROOM)
}
