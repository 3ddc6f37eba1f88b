//! What survives a process, and what becomes of it when it is damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use callsign_client::Freshness;
use callsign_core::{Instance, Record, Registry, Ttl};
use callsign_failover::Topology;
use callsign_memory::Fault;
use tokio::time::sleep;

use crate::book::Book;
use crate::onlooker::Onlooker;
use crate::site::{BACKUP, MAIN, NAMES, Site};
use crate::support::Trouble;
use crate::world::{World, id, orders, payments};

const SECOND: Duration = Duration::from_secs(1);
/// How long a cold start may take while nobody answers.
const COLD: Duration = Duration::from_millis(300);

fn onlooker(world: &World, name: &str, book: &Book, folder: &Path) -> Onlooker {
    let site = Site::new(world.topology, &world.stores, 77, None);
    Onlooker::start(name, site, &[orders(), payments()], book, Some(folder))
}

/// The files in a folder whose name ends like this.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().ends_with(end)).collect()
}

/// Runs a process until it has kept what it sees, and ends it.
async fn kept_by_a_former_process(world: &World, folder: &Path) {
    let former = onlooker(world, "former", &world.book.aside(), folder);
    let stored = |_: &World| {
        let stored = files(folder, ".view").len();
        if stored == 2 { Ok(()) } else { Err(format!("{stored} files of 2")) }
    };
    world.until("kept on disk", 5 * SECOND, stored).await;
    // At most once a second; and a second generation comes with the next change.
    for weight in [7, 8, 9] {
        world.owners[&id("o-01")].update(weight);
        world.owners[&id("p-01")].update(weight);
        sleep(3 * SECOND).await;
    }
    world
        .until("two generations", 5 * SECOND, |_| {
            let older = files(folder, ".view.old").len();
            if older == 2 { Ok(()) } else { Err(format!("{older} files of 2")) }
        })
        .await;
    drop(former);
}

pub(crate) async fn all_down_and_a_client_restarted(topology: Topology) {
    let mut world = World::begin(topology).await;
    let folder = world.folder.path().join("views");
    kept_by_a_former_process(&world, &folder).await;
    let outages = [MAIN, BACKUP].map(|member| world.fault(member, Fault::Unavailable));
    let restarted = onlooker(&world, "restarted", &world.book, &folder);
    world.onlookers.push(restarted);
    world.until("seen from disk", COLD, World::nobody_is_missing).await;
    let seen = world.onlookers.last().unwrap().view(&orders()).snapshot();
    assert!(matches!(seen.freshness, Freshness::Bootstrap { .. }), "{:?}", seen.freshness);
    sleep(60 * SECOND).await;
    world.nobody_is_missing().unwrap();
    drop(outages);
    sleep(60 * SECOND).await;
    world.end().await;
}

pub(crate) async fn store_damaged(topology: Topology) {
    let mut world = World::begin(topology).await;
    let folder = world.folder.path().join("views");
    kept_by_a_former_process(&world, &folder).await;
    let outages = [MAIN, BACKUP].map(|member| world.fault(member, Fault::Unavailable));
    let newest = files(&folder, ".view");
    for (nth, path) in newest.iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        if nth == 0 {
            bytes.truncate(bytes.len() / 2);
        } else {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }
        fs::write(path, bytes).unwrap();
    }
    let restarted = onlooker(&world, "restarted", &world.book.aside(), &folder);
    world
        .until("seen from the older generation", COLD, |_| {
            let shown = restarted.shown(&orders()).len() + restarted.shown(&payments()).len();
            if shown == 20 { Ok(()) } else { Err(format!("{shown} of 20")) }
        })
        .await;
    drop(restarted);

    for path in files(&folder, ".view").into_iter().chain(files(&folder, ".view.old")) {
        fs::write(path, b"nonsense").unwrap();
    }
    let restarted = onlooker(&world, "restarted-again", &world.book.aside(), &folder);
    sleep(5 * SECOND).await;
    let seen = restarted.view(&orders()).snapshot();
    assert!(matches!(seen.freshness, Freshness::Unknown { .. }), "{:?}", seen.freshness);
    world.onlookers.push(restarted);
    drop(outages);
    sleep(60 * SECOND).await;
    world.end().await;
}

/// A process that registers something, removes it while the registry is away, and is killed in the middle of writing
/// that down a second time; the next one makes up for it.
pub(crate) async fn journal_torn(topology: Topology) {
    let world = World::begin(topology).await;
    let journal = world.folder.path().join("torn");
    let record = |id: &str| {
        let instance = Instance::builder("torn").id(id).endpoint("http://127.0.0.1:1").build().unwrap();
        Record::new(instance, Ttl::from_secs(3600).unwrap())
    };
    let (removed, kept) = (record("removed"), record("kept"));
    let service = removed.key().service.clone();

    let process = Site::new(topology, &world.stores, 1, Some(&journal));
    process.failover.register(&removed).await.unwrap();
    process.failover.register(&kept).await.unwrap();
    process.way(MAIN).set(Trouble::Refused);
    // Who stands by takes over within a second, and a removal before that is refused.
    let gone = async {
        while process.failover.deregister(&removed).await.is_err() {
            sleep(SECOND / 10).await;
        }
    };
    let gone = tokio::time::timeout(5 * SECOND, gone).await;
    assert!(gone.is_ok(), "one registry is there, and takes no removal");
    assert_eq!(pending(&process), 1, "the other one has not heard of it");
    process.set_all(Trouble::Hanging);
    drop(process);
    assert_eq!(world.listed(MAIN, &service).await.len(), 2, "its lease is longer than this test");

    let written: Vec<_> = files(&journal, "").into_iter().filter(|path| path.is_file()).collect();
    assert!(!written.is_empty(), "nothing is written down in {}", journal.display());
    for path in written {
        let mut bytes = fs::read(&path).unwrap();
        // The beginning of one more line.
        let half = bytes[..bytes.len() / 2].to_vec();
        bytes.extend(half);
        fs::write(&path, bytes).unwrap();
    }

    let process = Site::new(topology, &world.stores, 2, Some(&journal));
    let made_up_for = async {
        while world.listed(MAIN, &service).await.contains_key(removed.instance.id()) {
            sleep(SECOND / 10).await;
        }
    };
    let within = 20 * SECOND;
    let made_up_for = tokio::time::timeout(within, made_up_for).await;
    assert!(made_up_for.is_ok(), "{} has not heard of the removal within {within:?}", NAMES[MAIN]);
    assert!(
        world.listed(MAIN, &service).await.contains_key(kept.instance.id()),
        "nobody has removed this one"
    );
    world
        .until("nothing is pending", 5 * SECOND, |_| match pending(&process) {
            0 => Ok(()),
            count => Err(format!("{count} are pending")),
        })
        .await;
    world.end().await;
}

fn pending(process: &Site) -> usize {
    process.control.members()[MAIN].pending_deletes
}
