//! Real files with one fault: an operation that fails, or a crash before a certain step.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::files::{Files, RealFiles};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    CreateDir,
    List,
    Write,
    Read,
    Rename,
    SyncDir,
    Remove,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    None,
    /// Every such step fails. A write leaves half a file behind.
    Fails(Step, io::ErrorKind),
    /// The process is dead from this step on, counted from 0: nothing it still tries has an effect.
    CrashBefore(usize),
    /// The process dies while it writes, after so many bytes.
    CrashInWrite(usize),
}

#[derive(Debug)]
pub(super) struct FaultyFiles {
    fault: Fault,
    steps: Mutex<Vec<Step>>,
}

impl FaultyFiles {
    pub(super) fn new(fault: Fault) -> Self {
        Self { fault, steps: Mutex::default() }
    }

    /// What was tried, in order.
    pub(super) fn steps(&self) -> Vec<Step> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn step(&self, step: Step) -> io::Result<()> {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let dead = match self.fault {
            Fault::Fails(failing, kind) if failing == step => return Err(kind.into()),
            Fault::None | Fault::Fails(..) => false,
            Fault::CrashBefore(count) => steps.len() >= count,
            Fault::CrashInWrite(_) => steps.contains(&Step::Write),
        };
        steps.push(step);
        if dead {
            return Err(io::Error::other("the process is dead"));
        }
        Ok(())
    }
}

impl Files for FaultyFiles {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.step(Step::CreateDir)?;
        RealFiles.create_dir_all(dir)
    }

    fn list(&self, dir: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<Vec<(PathBuf, SystemTime)>> {
        self.step(Step::List)?;
        RealFiles.list(dir, wanted)
    }

    fn write_new(&self, path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let bytes = parts.concat();
        if let Err(error) = self.step(Step::Write) {
            if matches!(self.fault, Fault::Fails(..)) {
                RealFiles.write_new(path, &[&bytes[..bytes.len() / 2]])?;
            }
            return Err(error);
        }
        if let Fault::CrashInWrite(count) = self.fault {
            RealFiles.write_new(path, &[&bytes[..count.min(bytes.len())]])?;
            return Err(io::Error::other("the process died in the write"));
        }
        RealFiles.write_new(path, &[&bytes])
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.step(Step::Read)?;
        RealFiles.read(path, limit)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Rename)?;
        RealFiles.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(Step::SyncDir)?;
        RealFiles.sync_dir(dir)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(Step::Remove)?;
        RealFiles.remove(path)
    }
}
