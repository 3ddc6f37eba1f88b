//! The journal on disks that fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use callsign_core::{Backend, Discovery, Event, EventStream, Instance, Pair, Read, Registry, Ttl};
use callsign_memory::{Fault, Memory, Store};
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::Failover;

const SECOND: Duration = Duration::from_secs(1);

/// A disk in memory, which can be full, broken, or silent.
#[derive(Debug, Clone, Default)]
struct FakeDisk(Arc<Fake>);

#[derive(Debug, Default)]
struct Fake {
    bytes: Mutex<Vec<u8>>,
    aside: Mutex<Vec<u8>>,
    full: AtomicBool,
    unreadable: AtomicBool,
    hangs: Mutex<bool>,
    answers: Condvar,
}

impl FakeDisk {
    fn bytes(&self) -> Vec<u8> {
        self.0.bytes.lock().unwrap().clone()
    }

    fn hang(&self, hangs: bool) {
        *self.0.hangs.lock().unwrap() = hangs;
        self.0.answers.notify_all();
    }

    fn room(&self) -> io::Result<()> {
        drop(self.0.answers.wait_while(self.0.hangs.lock().unwrap(), |hangs| *hangs).unwrap());
        if self.0.full.load(Ordering::SeqCst) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for FakeDisk {
    fn open(&mut self) -> io::Result<Vec<u8>> {
        if self.0.unreadable.load(Ordering::SeqCst) {
            return Err(io::Error::other("cannot be read"));
        }
        Ok(self.bytes())
    }

    fn cut(&mut self, whole: u64) -> io::Result<()> {
        self.0.bytes.lock().unwrap().truncate(usize::try_from(whole).unwrap());
        Ok(())
    }

    fn set_aside(&mut self, rest: &[u8]) -> io::Result<std::path::PathBuf> {
        self.room()?;
        *self.0.aside.lock().unwrap() = std::mem::replace(&mut *self.0.bytes.lock().unwrap(), rest.to_vec());
        Ok("aside".into())
    }

    fn append(&mut self, bytes: &[u8], _: bool) -> io::Result<()> {
        self.room()?;
        self.0.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(())
    }

    fn replace(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.room()?;
        *self.0.bytes.lock().unwrap() = bytes.to_vec();
        Ok(())
    }

    fn len(&self) -> u64 {
        self.bytes().len() as u64
    }
}

fn record(id: &str) -> Record {
    let instance = Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").pair(Pair::new(1, 1));
    Record::new(instance.build().unwrap(), Ttl::default())
}

fn failover(disk: &FakeDisk, stores: &[Store; 2]) -> (Failover, EventStream) {
    let member = |nth: usize| Arc::new(Memory::new(stores[nth].clone(), "m"));
    let builder = Failover::builder("dr").member("main", member(0)).member("backup", member(1));
    let failover = Failover::start_with(builder, Some(Journal::on(Box::new(disk.clone())))).unwrap();
    let events = failover.events();
    (failover, events)
}

fn troubles(events: &mut EventStream) -> Vec<Event> {
    let mut told = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        told.push(event);
    }
    told.retain(|event| event.kind == EventKind::JournalTrouble);
    told
}

async fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let reached = async {
        while !check() {
            sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(timeout(30 * SECOND, reached).await.is_ok(), "{what}");
}

fn pending(bytes: &[u8]) -> usize {
    format::read(bytes).pending.len()
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_told_once_and_survived() {
    let (disk, stores) = (FakeDisk::default(), [Store::new(), Store::new()]);
    let (failover, mut events) = failover(&disk, &stores);
    let _outage = stores[0].inject(Fault::Unavailable);
    sleep(3 * SECOND).await;
    disk.0.full.store(true, Ordering::SeqCst);
    for id in ["a", "b", "c"] {
        let start = Instant::now();
        failover.deregister(&record(id)).await.unwrap();
        assert!(start.elapsed() <= 2 * SECOND, "nobody waits for a disk: {:?}", start.elapsed());
    }
    sleep(20 * SECOND).await;
    let told = troubles(&mut events);
    assert!(told.len() == 1 && told[0].cause.is_some(), "{told:?}");
    assert_eq!(failover.control().members()[0].pending_deletes, 3);
    disk.0.full.store(false, Ordering::SeqCst);
    eventually("all of it is written when there is room", || pending(&disk.bytes()) == 3).await;
}

// In real time: a paused clock waits for the disk, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_disk_that_hangs() {
    let (disk, stores) = (FakeDisk::default(), [Store::new(), Store::new()]);
    let (failover, mut events) = failover(&disk, &stores);
    for id in ["a", "b"] {
        failover.register(&record(id)).await.unwrap();
    }
    let outage = stores[0].inject(Fault::Unavailable);
    disk.hang(true);
    let start = Instant::now();
    for id in ["a", "b"] {
        failover.deregister(&record(id)).await.unwrap();
    }
    let took = start.elapsed();
    let told =
        async { while events.next().await.is_some_and(|event| event.kind != EventKind::JournalTrouble) {} };
    let told = timeout(30 * SECOND, told).await;
    drop(outage);
    let gone = async {
        while failover.control().members()[0].pending_deletes > 0 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    let gone = timeout(30 * SECOND, gone).await;
    // Whatever is wrong, the runtime waits for the disk when it shuts down.
    disk.hang(false);
    assert!(took <= 8 * SECOND, "{took:?}");
    assert!(told.is_ok(), "nobody says that the disk hangs");
    assert!(gone.is_ok(), "removals wait for the disk: {:?}", failover.control().members()[0]);
    let main =
        Memory::new(stores[0].clone(), "main").list(&record("a").key().service, Read::Quorum).await.unwrap();
    assert_eq!(main.instances.len(), 0);
    eventually("what was not written is, when the disk answers", || {
        !disk.bytes().is_empty() && pending(&disk.bytes()) == 0
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_cannot_be_read_is_not_written_over() {
    let (disk, stores) = (FakeDisk::default(), [Store::new(), Store::new()]);
    let former = Note::remove(&record("former"), vec!["main".into()]).line().unwrap();
    *disk.0.bytes.lock().unwrap() = former.clone().into_bytes();
    disk.0.unreadable.store(true, Ordering::SeqCst);
    let outage = stores[0].inject(Fault::Unavailable);
    let (failover, mut events) = failover(&disk, &stores);
    sleep(3 * SECOND).await;
    failover.deregister(&record("new")).await.unwrap();
    sleep(10 * SECOND).await;
    assert_eq!(disk.bytes(), former.as_bytes(), "what was not read is still there");
    assert_eq!(troubles(&mut events).len(), 1);
    disk.0.unreadable.store(false, Ordering::SeqCst);
    eventually("both are there", || pending(&disk.bytes()) == 2).await;
    eventually("both are to be done", || failover.control().members()[0].pending_deletes == 2).await;
    outage.heal();
    eventually("both are done", || pending(&disk.bytes()) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn lines_that_make_no_sense_are_kept_aside_and_a_torn_tail_is_cut() {
    let (disk, stores) = (FakeDisk::default(), [Store::new(), Store::new()]);
    let line = |id: &str| Note::remove(&record(id), vec!["main".into()]).line().unwrap();
    let torn = line("torn");
    let bytes = [line("a"), "nonsense\n".to_owned(), line("b"), torn[..torn.len() - 5].to_owned()].concat();
    *disk.0.bytes.lock().unwrap() = bytes.clone().into_bytes();
    let _outage = stores[0].inject(Fault::Unavailable);
    let (failover, mut events) = failover(&disk, &stores);
    eventually("what can be read is done", || failover.control().members()[0].pending_deletes == 2).await;
    assert_eq!(*disk.0.aside.lock().unwrap(), bytes.as_bytes());
    assert_eq!((pending(&disk.bytes()), troubles(&mut events).len()), (2, 1));
}

#[test]
fn processes_that_share_a_folder_keep_a_file_each() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let mut disk = RealDisk::new(folder.path(), "a/b");
        let bytes = disk.open().unwrap();
        (disk, bytes)
    };
    let (mut one, _) = open();
    let (mut other, _) = open();
    one.append(b"one\n", true).unwrap();
    other.append(b"other\n", true).unwrap();
    drop(one);
    let (mut next, bytes) = open();
    assert_eq!(bytes, b"one\n");
    next.append(b"two\n", true).unwrap();
    next.cut(4).unwrap();
    next.append(b"three\n", true).unwrap();
    next.replace(b"all\n").unwrap();
    next.append(b"more\n", false).unwrap();
    let aside = next.set_aside(b"rest\n").unwrap();
    assert_eq!(std::fs::read(aside).unwrap(), b"all\nmore\n");
    next.append(b"last\n", true).unwrap();
    drop(next);
    assert_eq!(open().1, b"rest\nlast\n");
}

#[test]
fn a_file_that_cannot_be_put_aside_is_where_it_was_and_its_process_finds_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut disk = RealDisk::new(folder.path(), "dr");
    disk.open().unwrap();
    disk.append(b"damaged\n", true).unwrap();
    // Nothing can be written where the new one would be.
    let next = folder.path().join("dr.0.next");
    std::fs::create_dir(&next).unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let before = files();
    disk.set_aside(b"rest\n").unwrap_err();
    assert_eq!(files(), before, "each attempt leaves something behind");
    assert_eq!(disk.open().unwrap(), b"damaged\n", "it keeps itself out of its own file");
    std::fs::remove_dir(&next).unwrap();
    disk.set_aside(b"rest\n").unwrap();
    assert_eq!(disk.open().unwrap(), b"rest\n");
}

#[tokio::test(start_paused = true)]
async fn a_journal_does_not_grow_for_ever_while_one_removal_is_pending() {
    let (disk, stores) = (FakeDisk::default(), [Store::new(), Store::new()]);
    let _outage = stores[0].inject(Fault::Unavailable);
    let (failover, _events) = failover(&disk, &stores);
    let journal = failover.journal().unwrap();
    journal.remember(&record("kept"), vec!["main".into()]);
    for nth in 0..4000 {
        let record = record(&format!("gone-{nth}"));
        journal.remember(&record, vec!["main".into()]);
        journal.forget(record.key().clone(), "main".into());
        if nth % 500 == 0 {
            journal.written(journal.now()).await;
        }
    }
    journal.written(journal.now()).await;
    eventually("what is over is written no more", || disk.bytes().len() < 2000).await;
    assert_eq!(pending(&disk.bytes()), 1);
}
