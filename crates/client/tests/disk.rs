//! The last known good set on disk: a start without any registry, and disks that are in no state to help.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use callsign_client::{
    Client, ClientEvent, Freshness, HoldKind, Patch, Probed, Prober, Protection, RegisterOptions,
    Registration, Snapshot,
};
use callsign_core::{
    Instance, InstanceId, InstanceKey, Pair, Record, Registry, ServiceKey, Ttl, async_trait,
};
use callsign_memory::{Fault, Memory, Store};
use futures::StreamExt;
use futures::stream::BoxStream;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(10);

/// The processes that answer a probe.
#[derive(Debug, Clone, Default)]
struct Running(Arc<Mutex<BTreeSet<String>>>);

impl Running {
    fn set(&self, ids: &[&str]) {
        *self.0.lock().unwrap() = ids.iter().map(|id| (*id).to_owned()).collect();
    }
}

#[async_trait]
impl Prober for Running {
    async fn probe(&self, instance: &Instance) -> Probed {
        let runs = self.0.lock().unwrap().contains(instance.id().as_str());
        if runs { Probed::Answering } else { Probed::Silent }
    }
}

struct World {
    dir: TempDir,
    store: Store,
    running: Running,
}

impl World {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), store: Store::new(), running: Running::default() }
    }

    /// A client of the registry whose views are kept in `dir`.
    fn client_at(&self, dir: &Path) -> Client {
        let memory = Arc::new(Memory::new(self.store.clone(), "main"));
        Client::builder(memory).prober(self.running.clone()).store_dir(dir).build().unwrap()
    }

    fn client(&self) -> Client {
        self.client_at(self.dir.path())
    }

    /// Records that nobody renews, and nobody repairs.
    async fn put(&self, ids: &[&str]) {
        let memory = Memory::new(self.store.clone(), "main");
        for id in ids {
            let instance = instance(id).to_builder().pair(Pair::new(1, 1)).build().unwrap();
            memory.register(&Record::new(instance, Ttl::new(Ttl::MAX).unwrap())).await.unwrap();
        }
    }

    async fn register(&self, id: &str, options: RegisterOptions) -> Registration {
        let client = Client::new(Arc::new(Memory::new(self.store.clone(), "main"))).unwrap();
        client.register(instance(id), options).await.unwrap()
    }

    fn delete(&self, id: &str) {
        self.store.delete(&InstanceKey::new(orders(), InstanceId::new(id).unwrap()));
    }

    /// Files of the folder with this ending.
    fn files(&self, ending: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
    }

    fn file(&self) -> PathBuf {
        self.files(".view").pop().unwrap()
    }

    /// Lets a client write `ids` down, and ends it.
    async fn written(ids: &[&str]) -> Self {
        let world = Self::new();
        world.put(ids).await;
        let client = world.client();
        let view = client.service(orders());
        view.wait_for(SOON, |snapshot| is_live(snapshot, ids)).await.unwrap();
        // Time does not jump while a file is being written.
        sleep(Duration::from_secs(3)).await;
        assert_eq!(saved(&world.file()), ids);
        world
    }
}

fn orders() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

fn instance(id: &str) -> Instance {
    Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").build().unwrap()
}

/// The ids in a file.
fn saved(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    let payload: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    let instances = payload["instances"].as_array().unwrap();
    instances.iter().map(|instance| instance["id"].as_str().unwrap().to_owned()).collect()
}

fn ids(snapshot: &Snapshot) -> Vec<&str> {
    snapshot.instances.iter().map(|instance| instance.id().as_str()).collect()
}

fn is_live(snapshot: &Snapshot, wanted: &[&str]) -> bool {
    snapshot.freshness.is_live() && snapshot.protection == Protection::None && ids(snapshot) == wanted
}

/// Waits for trouble of this kind, past any other.
async fn disk_trouble(events: &mut BoxStream<'static, Arc<ClientEvent>>, kind: &str) -> String {
    let trouble = async {
        loop {
            if let ClientEvent::DiskTrouble { cause, service } = &*events.next().await.unwrap() {
                assert_eq!(*service, orders());
                if cause.to_string().contains(kind) {
                    return cause.to_string();
                }
            }
        }
    };
    timeout(SOON, trouble).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn cold_start_with_every_registry_dead_serves_the_file_until_a_registry_answers() {
    let world = World::written(&["a", "b", "c", "d"]).await;
    world.running.set(&["a", "b", "c"]);
    let outage = world.store.inject(Fault::Unavailable);
    let before = SystemTime::now();
    let client = world.client();
    let view = client.service(orders());
    let snapshot = view.ready(SOON).await.unwrap();
    let Freshness::Bootstrap { written_at } = snapshot.freshness else {
        panic!("{:?}", snapshot.freshness);
    };
    assert!(written_at <= before && before.duration_since(written_at).unwrap() < Duration::from_secs(60));
    assert_eq!((snapshot.routable().len(), snapshot.as_of, snapshot.age()), (4, None, None));
    assert!(snapshot.not_older_than(Duration::from_secs(3600)).is_err(), "of unknown age");
    let file = fs::read(world.file()).unwrap();
    sleep(Duration::from_secs(120)).await;
    assert!(matches!(view.snapshot().freshness, Freshness::Bootstrap { .. }));
    assert_eq!(fs::read(world.file()).unwrap(), file, "what was read is written back as if it were news");

    // Meanwhile `c` and `d` were lost, and `e` is new.
    world.delete("c");
    world.delete("d");
    let _new = world.register("e", RegisterOptions::new().with_wait(Duration::ZERO)).await;
    outage.heal();
    let snapshot = view.wait_for(SOON, |snapshot| snapshot.freshness.is_live()).await.unwrap();
    assert!(snapshot.get("e").is_some());
    let held = |snapshot: &Snapshot| {
        ids(snapshot) == ["a", "b", "c", "e"]
            && matches!(snapshot.protection, Protection::Held { kind: HoldKind::NewOrigin, count: 1, .. })
    };
    let snapshot = view.wait_for(SOON, held).await.unwrap();
    assert!(snapshot.is_held("c"), "who answers is kept, and marked");
    world.running.set(&["a", "b", "e"]);
    view.wait_for(SOON, |snapshot| is_live(snapshot, &["a", "b", "e"])).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(saved(&world.file()), ["a", "b", "e"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_from_the_future_is_served_all_the_same() {
    let world = World::written(&["a", "b"]).await;
    let text = fs::read_to_string(world.file()).unwrap();
    let mut payload: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    // The clock was an hour ahead, and was set back.
    let written_at = payload["written_at"].as_i64().unwrap() + 3_600_000;
    payload["written_at"] = written_at.into();
    let payload = payload.to_string();
    let header = format!("callsign-view 1 {:x} {}", Sha256::digest(&payload), payload.len());
    fs::write(world.file(), format!("{header}\n{payload}")).unwrap();

    let outage = world.store.inject(Fault::Unavailable);
    let client = world.client();
    let view = client.service(orders());
    let snapshot = view.ready(SOON).await.unwrap();
    assert!(
        matches!(snapshot.freshness, Freshness::Bootstrap { written_at } if written_at > SystemTime::now())
    );
    assert_eq!(ids(&snapshot), ["a", "b"]);
    outage.heal();
    view.wait_for(SOON, |snapshot| is_live(snapshot, &["a", "b"])).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert!(!fs::read_to_string(world.file()).unwrap().contains(&written_at.to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_held_set_is_never_written() {
    let world = World::written(&["a", "b", "c", "d"]).await;
    world.running.set(&["a", "b", "c", "d"]);
    let client = world.client();
    let view = client.service(orders());
    view.wait_for(SOON, |snapshot| is_live(snapshot, &["a", "b", "c", "d"])).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let file = fs::read(world.file()).unwrap();
    for id in ["a", "b", "c", "d"] {
        world.delete(id);
    }
    view.wait_for(SOON, |snapshot| snapshot.instances.iter().any(|one| snapshot.is_held(one.id().as_str())))
        .await
        .unwrap();
    // Longer than the minute after which an unchanged set is written again.
    sleep(Duration::from_secs(150)).await;
    assert!(!view.snapshot().instances.is_empty() && view.snapshot().freshness.is_live());
    // Deleted within one turn of the view, they are missed together.
    assert_eq!(fs::read(world.file()).unwrap(), file);
}

#[tokio::test(start_paused = true)]
async fn a_stale_set_is_never_written_and_an_unchanged_live_one_is_every_minute() {
    let world = World::written(&["a", "b"]).await;
    let client = world.client();
    let view = client.service(orders());
    view.wait_for(SOON, |snapshot| is_live(snapshot, &["a", "b"])).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    for fault in [Fault::Unavailable, Fault::Frozen, Fault::Stale] {
        let trouble = world.store.inject(fault);
        let stale = |snapshot: &Snapshot| matches!(snapshot.freshness, Freshness::Stale { .. });
        view.wait_for(Duration::from_secs(40), stale).await.unwrap();
        // What was begun while the answer was live may still end.
        sleep(Duration::from_secs(3)).await;
        let file = fs::read(world.file()).unwrap();
        sleep(Duration::from_secs(150)).await;
        assert_eq!(fs::read(world.file()).unwrap(), file, "written during {fault:?}");
        trouble.heal();
        view.wait_for(Duration::from_secs(40), |snapshot| snapshot.freshness.is_live()).await.unwrap();
        // The age in the file is that of the proof, also where nothing changes. Its clock is the wall's.
        sleep(Duration::from_secs(70)).await;
        assert_ne!(fs::read(world.file()).unwrap(), file, "not written after {fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_is_reported_set_aside_and_survived() {
    let world = World::written(&["a", "b"]).await;
    let path = world.file();
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    for old in world.files(".view.old") {
        fs::write(old, "garbage").unwrap();
    }
    let outage = world.store.inject(Fault::Unavailable);
    let client = world.client();
    let mut events = client.events();
    let view = client.service(orders());
    let trouble = disk_trouble(&mut events, "is broken").await;
    assert!(trouble.contains(".bad"), "{trouble}");
    assert!(view.ready(SOON).await.is_err());
    assert!(matches!(view.snapshot().freshness, Freshness::Unknown { cause: Some(_) }));
    assert!(!world.files(".bad").is_empty() && world.files(".view").is_empty());
    outage.heal();
    view.wait_for(SOON, |snapshot| is_live(snapshot, &["a", "b"])).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    assert_eq!(saved(&world.file()), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_gives_way_to_the_one_before_it() {
    let world = World::written(&["a", "b"]).await;
    fs::copy(world.file(), world.file().with_extension("view.old")).unwrap();
    fs::write(world.file(), "garbage").unwrap();
    let _outage = world.store.inject(Fault::Unavailable);
    let client = world.client();
    let mut events = client.events();
    let view = client.service(orders());
    disk_trouble(&mut events, "the generation before it is tried").await;
    let snapshot = view.ready(SOON).await.unwrap();
    assert!(matches!(snapshot.freshness, Freshness::Bootstrap { .. }));
    assert_eq!(ids(&snapshot), ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_be_written_is_reported_and_survived() {
    let world = World::new();
    let registration = world.register("a", RegisterOptions::new()).await;
    // A file where the folder should be.
    let in_the_way = world.dir.path().join("store");
    fs::write(&in_the_way, "not a folder").unwrap();
    let client = world.client_at(&in_the_way);
    let mut events = client.events();
    let view = client.service(orders());
    view.wait_for(SOON, |snapshot| is_live(snapshot, &["a"])).await.unwrap();
    disk_trouble(&mut events, "create the folder").await;
    registration.update(Patch::new().weight(7)).await.unwrap();
    let changed = |snapshot: &Snapshot| snapshot.get("a").is_some_and(|a| a.weight == 7.into());
    view.wait_for(SOON, changed).await.unwrap();
    // Each failure is told.
    disk_trouble(&mut events, "create the folder").await;
    assert_eq!(fs::read(&in_the_way).unwrap(), b"not a folder");
    // The disk is mended, and the next change is written.
    fs::remove_file(&in_the_way).unwrap();
    registration.update(Patch::new().weight(8)).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let written = fs::read_dir(&in_the_way).unwrap().count();
    assert!(written >= 1);
}

#[tokio::test(start_paused = true)]
async fn the_file_is_written_at_most_once_a_second_and_ends_with_the_last_change() {
    let world = World::new();
    let registration = world.register("a", RegisterOptions::new()).await;
    let client = world.client();
    let view = client.service(orders());
    view.wait_for(SOON, |snapshot| is_live(snapshot, &["a"])).await.unwrap();
    sleep(Duration::from_secs(3)).await;
    let mut writes = Vec::new();
    for weight in 1..=200_u16 {
        registration.update(Patch::new().weight(weight)).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        let bytes = fs::read(world.file()).unwrap();
        if writes.last() != Some(&bytes) {
            writes.push(bytes);
        }
    }
    // Ten seconds of changes.
    assert!((9..=12).contains(&writes.len()), "{} writes", writes.len());
    sleep(Duration::from_secs(2)).await;
    assert!(fs::read_to_string(world.file()).unwrap().contains("\"weight\":200"));
}
