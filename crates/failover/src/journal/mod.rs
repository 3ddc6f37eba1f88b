//! Remembers over a restart which removals a member has not heard of, so that no registry brings anybody back.

mod disk;
mod format;

#[cfg(test)]
mod tests;

use std::io;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::{Backoff, Error, EventKind, InstanceKey, Record};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use crate::shared::Shared;
use disk::{Disk, RealDisk};
use format::{Note, Pending};

/// More lines than this that wait for the disk, and everything is written anew instead.
const QUEUE: usize = 4096;
/// A file that is longer than this, and mostly of what is over, is written anew.
const COMPACT: u64 = 256 * 1024;
/// The pauses before a disk is tried again.
const RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(10);
/// A disk that has not answered for so long is in trouble.
const SLOW: Duration = Duration::from_secs(5);

/// What is to be remembered. Taking note never waits; a task of its own writes.
#[derive(Debug)]
pub(crate) struct Journal {
    state: Mutex<State>,
    wake: Notify,
    written: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    pending: Pending,
    queue: Vec<Note>,
    /// The queue was too long: everything is to be written.
    anew: bool,
    /// How many notes were taken.
    position: u64,
    /// The file, until the task takes it.
    disk: Option<Box<dyn Disk>>,
}

impl Journal {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        Self::on(Box::new(RealDisk::new(folder, name)))
    }

    fn on(disk: Box<dyn Disk>) -> Self {
        let state = State {
            pending: Pending::default(),
            queue: Vec::new(),
            anew: false,
            position: 0,
            disk: Some(disk),
        };
        Self { state: Mutex::new(state), wake: Notify::new(), written: watch::Sender::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remember(&self, record: &Record, members: Vec<Arc<str>>) {
        self.take(Note::remove(record, members));
    }

    pub(crate) fn forget(&self, key: InstanceKey, member: Arc<str>) {
        self.take(Note::Confirmed { service: key.service, id: key.id, member });
    }

    fn take(&self, note: Note) {
        let mut state = self.state();
        state.pending.apply(&note);
        state.position += 1;
        if state.queue.len() < QUEUE {
            state.queue.push(note);
        } else {
            state.queue.clear();
            state.anew = true;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// How many notes were taken.
    pub(crate) fn now(&self) -> u64 {
        self.state().position
    }

    /// Waits until the first `position` notes are on the disk.
    pub(crate) async fn written(&self, position: u64) {
        // The sender lives as long as `self`.
        let _ = self.written.subscribe().wait_for(|written| *written >= position).await;
    }
}

/// Keeps the journal, for ever.
pub(crate) async fn keep(shared: Arc<Shared>) {
    let Some(journal) = &shared.journal else { return };
    let Some(disk) = journal.state().disk.take() else { return };
    let mut trouble = Trouble { shared: &shared, told: false, backoff: Backoff::new(RETRY, LONGEST_RETRY) };
    let Some(mut disk) = open(&shared, journal, disk, &mut trouble).await else { return };
    // How long it was when it was written anew.
    let mut compacted = 0;
    loop {
        let (notes, anew, position) = {
            let mut state = journal.state();
            let anew = state.anew || disk.len() > COMPACT + 4 * compacted;
            let pending = anew.then(|| state.pending.clone());
            state.anew = false;
            (std::mem::take(&mut state.queue), pending, state.position)
        };
        if notes.is_empty() && anew.is_none() {
            journal.written.send_replace(position);
            journal.wake.notified().await;
            continue;
        }
        let is_anew = anew.is_some();
        let work = move || {
            let result = write(&mut *disk, &notes, anew.as_ref());
            (disk, result)
        };
        match trouble.watch_over("write", shared.spawner.blocking(work)).await {
            Ok((kept, Ok(()))) => {
                disk = kept;
                if is_anew {
                    compacted = disk.len();
                }
                journal.written.send_replace(position);
                trouble.is_over();
            }
            Ok((kept, Err(error))) => {
                disk = kept;
                // What was in the notes is in the whole.
                journal.state().anew = true;
                trouble.pause("write", error).await;
            }
            // The runtime shuts down.
            Err(_) => return,
        }
    }
}

/// Opens the file, and has done what a former process has left undone. Nothing is written before everything is read.
async fn open(
    shared: &Arc<Shared>,
    journal: &Journal,
    mut disk: Box<dyn Disk>,
    trouble: &mut Trouble<'_>,
) -> Option<Box<dyn Disk>> {
    loop {
        let work = move || {
            let result = read(&mut *disk);
            (disk, result)
        };
        let (kept, result) = trouble.watch_over("read", shared.spawner.blocking(work)).await.ok()?;
        disk = kept;
        match result {
            Ok((former, unread)) => {
                if let Some(reason) = unread {
                    shared.publish(EventKind::JournalTrouble, Some(Error::unexpected(reason)));
                }
                for (record, names) in former.iter() {
                    let position =
                        |name: &Arc<str>| shared.members.iter().position(|member| member.name == *name);
                    let members: Vec<_> = names.iter().filter_map(position).collect();
                    shared.writer.restore(shared, record, &members);
                }
                let known = |name: &Arc<str>| shared.members.iter().any(|member| member.name == *name);
                let strangers: Vec<_> = former
                    .iter()
                    .flat_map(|(record, names)| names.iter().map(|name| (record.key().clone(), name.clone())))
                    .filter(|(_, name)| !known(name))
                    .collect();
                journal.state().pending.absorb(former);
                for (key, name) in strangers {
                    journal.forget(key, name);
                }
                trouble.is_over();
                return Some(disk);
            }
            Err(error) => trouble.pause("read", error).await,
        }
    }
}

/// What is in the file, and what of it could not be read.
fn read(disk: &mut dyn Disk) -> io::Result<(Pending, Option<String>)> {
    let bytes = disk.open()?;
    let found = format::read(&bytes);
    if found.unread > 0 {
        let aside = disk.set_aside(&to_bytes(&found.pending)?)?;
        let reason =
            format!("{} lines of the journal cannot be read: kept as {}", found.unread, aside.display());
        return Ok((found.pending, Some(reason)));
    }
    if found.whole < bytes.len() {
        disk.cut(found.whole as u64)?;
    }
    Ok((found.pending, None))
}

fn write(disk: &mut dyn Disk, notes: &[Note], anew: Option<&Pending>) -> io::Result<()> {
    if let Some(pending) = anew {
        return disk.replace(&to_bytes(pending)?);
    }
    let mut bytes = Vec::new();
    for note in notes {
        bytes.extend_from_slice(note.line().map_err(io::Error::other)?.as_bytes());
    }
    // A confirmation that is lost costs one more removal of what is not there.
    disk.append(&bytes, notes.iter().any(|note| matches!(note, Note::Remove { .. })))
}

fn to_bytes(pending: &Pending) -> io::Result<Vec<u8>> {
    pending.to_bytes().map_err(io::Error::other)
}

/// Told once, until it is over.
struct Trouble<'a> {
    shared: &'a Shared,
    told: bool,
    backoff: Backoff,
}

impl Trouble<'_> {
    /// Waits for `work` as long as it takes, and tells when that is long.
    async fn watch_over<T>(&mut self, operation: &'static str, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        if let Ok(done) = timeout(SLOW, &mut work).await {
            return done;
        }
        let slow = format!("the disk has not answered for {} s", SLOW.as_secs());
        self.tell(operation, io::Error::new(io::ErrorKind::TimedOut, slow));
        work.await
    }

    async fn pause(&mut self, operation: &'static str, error: io::Error) {
        self.tell(operation, error);
        sleep(self.backoff.next_delay()).await;
    }

    fn tell(&mut self, operation: &'static str, error: io::Error) {
        if !std::mem::replace(&mut self.told, true) {
            let told =
                Error::unavailable(format!("cannot {operation} the journal: {error}")).with_source(error);
            self.shared.publish(EventKind::JournalTrouble, Some(told));
        }
    }

    fn is_over(&mut self) {
        self.told = false;
        self.backoff.reset();
    }
}
