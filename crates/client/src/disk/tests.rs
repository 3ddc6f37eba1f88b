//! What the store promises, over real files and over files with faults.

mod damage;

use std::error::Error as _;
use std::fs::{self, File};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use super::faults::{Fault, FaultyFiles, Step};
use super::fixtures::{at, instances, service};
use super::*;

/// A store in a folder of its own, with the sets `a` and, newer, `b`.
struct Scene {
    dir: TempDir,
    disk: Disk,
}

impl Scene {
    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::new(dir.path());
        Self { dir, disk }
    }

    fn new() -> Self {
        let scene = Self::empty();
        scene.save("a");
        scene.save("b");
        scene
    }

    fn save(&self, set: &str) {
        self.disk.save(&service(), &instances(set, 2), at(1)).unwrap();
    }

    /// Saves `c` with a fault, then reads without it.
    fn save_with(&self, fault: Fault) -> (Result<()>, Vec<Step>) {
        let files = Arc::new(FaultyFiles::new(fault));
        let disk = Disk::with_files(self.dir.path(), files.clone());
        let result = disk.save(&service(), &instances("c", 2), at(1));
        (result, files.steps())
    }

    fn current(&self) -> PathBuf {
        FileNames::new(self.dir.path(), &service()).current()
    }

    fn older(&self) -> PathBuf {
        FileNames::new(self.dir.path(), &service()).older()
    }

    /// The names of all files, without the stem.
    fn suffixes(&self) -> Vec<String> {
        let names = FileNames::new(self.dir.path(), &service());
        let mut found: Vec<_> = fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .map(|name| name.strip_prefix(names.stem()).unwrap_or(&name).to_owned())
            .collect();
        found.sort();
        found
    }

    fn load(&self) -> (Option<&'static str>, Vec<Error>) {
        let loaded = self.disk.load(&service());
        let set = loaded.saved.map(|saved| {
            ["a", "b", "c", "d"]
                .into_iter()
                .find(|set| saved.instances == instances(set, 2))
                .expect("a set that was saved")
        });
        (set, loaded.problems)
    }
}

fn messages(problems: &[Error]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_folder_and_a_missing_one_have_nothing_and_no_problem() {
    let scene = Scene::empty();
    let missing = Disk::new(scene.dir.path().join("not/there"));
    for disk in [&scene.disk, &missing] {
        let loaded = disk.load(&service());
        assert!(loaded.saved.is_none() && loaded.problems.is_empty());
    }
    missing.save(&service(), &[], at(7)).unwrap();
    let saved = missing.load(&service()).saved.unwrap();
    assert_eq!((saved.instances.len(), saved.written_at), (0, at(7)));
}

#[test]
fn the_newest_set_is_loaded_and_the_one_before_it_is_kept() {
    let scene = Scene::new();
    assert_eq!(scene.load().0, Some("b"));
    assert_eq!(scene.suffixes(), [".view", ".view.old"]);
    fs::remove_file(scene.current()).unwrap();
    let (set, problems) = scene.load();
    assert_eq!((set, problems.len()), (Some("a"), 0));
}

#[test]
fn a_set_is_on_the_disk_before_it_takes_the_place_of_another() {
    let (result, steps) = Scene::new().save_with(Fault::None);
    result.unwrap();
    assert_eq!(steps, [Step::CreateDir, Step::List, Step::Write, Step::Rename, Step::Rename, Step::SyncDir]);
}

#[test]
fn a_file_truncated_at_any_length_gives_the_older_generation_and_is_set_aside() {
    let scene = Scene::new();
    let whole = fs::read(scene.current()).unwrap();
    for length in 0..whole.len() {
        fs::write(scene.current(), &whole[..length]).unwrap();
        let (set, problems) = scene.load();
        assert_eq!((set, problems.len()), (Some("a"), 1), "{length}");
        let message = problems[0].to_string();
        assert!(message.contains("is broken") && message.contains(".view.bad"), "{message}");
        assert!(message.contains("the generation before it is tried"), "{message}");
    }
    assert_eq!(scene.suffixes(), [".view.bad", ".view.old"]);
    // Reported once: it is out of the way now.
    assert!(scene.load().1.is_empty());
}

#[test]
fn both_generations_broken_is_nothing_and_two_problems() {
    let scene = Scene::new();
    fs::write(scene.current(), b"").unwrap();
    fs::write(scene.older(), b"callsign-view").unwrap();
    let (set, problems) = scene.load();
    assert_eq!((set, problems.len()), (None, 2));
    assert!(problems[1].to_string().ends_with("the view goes on without it"));
    assert_eq!(scene.suffixes(), [".view.bad", ".view.old.bad"]);
    scene.save("d");
    assert_eq!(scene.load().0, Some("d"));
}

#[test]
fn a_crash_between_any_two_steps_leaves_the_older_or_the_newer_set() {
    let mut outcomes = Vec::new();
    for step in 0..=6 {
        let scene = Scene::new();
        let (result, _) = scene.save_with(Fault::CrashBefore(step));
        let (set, problems) = scene.load();
        assert!(problems.is_empty(), "before step {step}: {problems:?}");
        assert!(result.is_err() || set == Some("c"), "before step {step}");
        outcomes.push(set.unwrap());
        // And life goes on.
        scene.save("d");
        assert_eq!(scene.load().0, Some("d"));
    }
    assert_eq!(outcomes, ["b", "b", "b", "b", "b", "c", "c"]);
}

#[test]
fn a_crash_in_the_first_save_leaves_nothing_or_the_set() {
    for step in 0..=6 {
        let scene = Scene::empty();
        let (result, _) = scene.save_with(Fault::CrashBefore(step));
        let (set, problems) = scene.load();
        assert!(problems.is_empty(), "before step {step}: {problems:?}");
        assert!(set.is_none() || set == Some("c"), "before step {step}");
        assert!(result.is_err() || set == Some("c"), "before step {step}");
    }
}

#[test]
fn a_torn_write_is_never_loaded() {
    let scene = Scene::new();
    for count in [0, 1, 50, 500, usize::MAX] {
        assert!(scene.save_with(Fault::CrashInWrite(count)).0.is_err());
        let (set, problems) = scene.load();
        assert_eq!((set, problems.len()), (Some("b"), 0), "{count}");
    }
}

#[test]
fn a_full_or_forbidden_disk_is_reported_and_the_last_set_stays() {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    for step in [Step::CreateDir, Step::Write, Step::Rename, Step::SyncDir] {
        for io_kind in [StorageFull, PermissionDenied, ReadOnlyFilesystem, QuotaExceeded] {
            let scene = Scene::new();
            let (result, _) = scene.save_with(Fault::Fails(step, io_kind));
            let error = result.unwrap_err();
            let kind = match io_kind {
                PermissionDenied | ReadOnlyFilesystem => ErrorKind::PermissionDenied,
                _ => ErrorKind::Unavailable,
            };
            assert_eq!(error.kind(), kind);
            let message = error.to_string();
            assert!(message.starts_with(&format!("save: {kind}: cannot ")), "{message}");
            assert!(message.contains(&*scene.dir.path().to_string_lossy()), "{message}");
            let source = error.source().unwrap().downcast_ref::<io::Error>();
            assert_eq!(source.unwrap().kind(), io_kind);

            // The new set is in place when only the last step failed.
            let expected = if step == Step::SyncDir { "c" } else { "b" };
            let (set, problems) = scene.load();
            assert_eq!((set, problems.len()), (Some(expected), 0));
            assert_eq!(scene.suffixes(), [".view", ".view.old"], "{step:?} left something");
        }
    }
}

#[test]
fn a_save_that_cannot_list_the_folder_saves() {
    let scene = Scene::new();
    let (result, _) = scene.save_with(Fault::Fails(Step::List, io::ErrorKind::PermissionDenied));
    result.unwrap();
    assert_eq!(scene.load().0, Some("c"));
}

#[test]
fn a_folder_that_cannot_be_one_is_reported() {
    let scene = Scene::empty();
    let file = scene.dir.path().join("file");
    fs::write(&file, b"x").unwrap();
    let disk = Disk::new(file.join("views"));
    let error = disk.save(&service(), &[], at(1)).unwrap_err();
    assert!(error.to_string().contains("cannot create the folder"), "{error}");
    let loaded = disk.load(&service());
    assert!(loaded.saved.is_none() && loaded.problems.len() == 2);
}

#[test]
fn an_unreadable_file_is_reported_and_not_set_aside() {
    let scene = Scene::new();
    let files = FaultyFiles::new(Fault::Fails(Step::Read, io::ErrorKind::PermissionDenied));
    let loaded = Disk::with_files(scene.dir.path(), Arc::new(files)).load(&service());
    assert!(loaded.saved.is_none());
    let [newer, older] = &*loaded.problems else { panic!("{:?}", loaded.problems) };
    assert!(newer.to_string().starts_with("load: permission denied: cannot read "), "{newer}");
    assert!(older.to_string().ends_with("the view goes on without it"), "{older}");
    assert_eq!(scene.load().0, Some("b"));
}

#[test]
fn a_broken_file_that_cannot_be_set_aside_is_reported_with_the_cause() {
    let scene = Scene::new();
    fs::write(scene.current(), b"junk").unwrap();
    let files = FaultyFiles::new(Fault::Fails(Step::Rename, io::ErrorKind::ReadOnlyFilesystem));
    let loaded = Disk::with_files(scene.dir.path(), Arc::new(files)).load(&service());
    assert_eq!(loaded.saved.unwrap().instances, instances("a", 2));
    let message = loaded.problems[0].to_string();
    assert!(message.contains("could not be set aside"), "{message}");
    assert!(loaded.problems[0].source().is_some());
}

#[test]
fn the_file_of_another_service_is_no_data_and_is_reported() {
    let scene = Scene::new();
    let carts = ServiceKey::new("carts").unwrap();
    let names = FileNames::new(scene.dir.path(), &carts);
    fs::copy(scene.current(), names.current()).unwrap();
    let loaded = scene.disk.load(&carts);
    assert!(loaded.saved.is_none());
    let message = &messages(&loaded.problems)[0];
    assert!(
        message.contains("is not that of default/default/carts: it belongs to default/default/orders"),
        "{message}"
    );
    assert!(names.current().exists());
}

#[test]
fn the_file_of_a_newer_format_is_refused_and_left_alone() {
    let scene = Scene::new();
    let text = fs::read_to_string(scene.current()).unwrap();
    fs::write(scene.current(), text.replacen(" 1 ", " 2 ", 1)).unwrap();
    let (set, problems) = scene.load();
    assert_eq!(set, Some("a"));
    assert_eq!(problems[0].kind(), ErrorKind::Unsupported);
    assert!(problems[0].to_string().contains("format version 2"), "{problems:?}");
    assert_eq!(scene.suffixes(), [".view", ".view.old"]);
}

#[test]
fn something_that_is_not_a_file_is_set_aside() {
    let scene = Scene::new();
    fs::remove_file(scene.current()).unwrap();
    fs::create_dir(scene.current()).unwrap();
    let (set, problems) = scene.load();
    assert_eq!((set, problems.len()), (Some("a"), 1));
    assert!(problems[0].to_string().contains("it is not a file"), "{problems:?}");
}

#[test]
fn what_a_crash_left_is_removed_by_a_later_save() {
    let scene = Scene::new();
    scene.save_with(Fault::CrashInWrite(10)).0.unwrap_err();
    scene.save_with(Fault::CrashInWrite(20)).0.unwrap_err();
    let leftovers: Vec<_> = scene.suffixes().into_iter().filter(|name| name.contains(".tmp")).collect();
    let names = FileNames::new(scene.dir.path(), &service());
    let path = |suffix: &str| scene.dir.path().join(format!("{}{suffix}", names.stem()));
    let age = |path: &Path| {
        let then = SystemTime::now() - 2 * LEFTOVER_AGE;
        File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    };
    age(&path(&leftovers[0]));
    // Old, but not of this service.
    let other = FileNames::new(scene.dir.path(), &ServiceKey::new("carts").unwrap()).temporary();
    fs::write(&other, b"").unwrap();
    age(&other);

    // A store that has just looked does not look again.
    scene.save("c");
    assert!(path(&leftovers[0]).exists());
    Disk::new(scene.dir.path()).save(&service(), &instances("d", 2), at(1)).unwrap();
    assert!(!path(&leftovers[0]).exists(), "an old leftover stayed");
    assert!(path(&leftovers[1]).exists(), "somebody may still be writing this one");
    assert!(other.exists(), "the file of another service was removed");
}

#[test]
fn names_of_255_bytes_are_saved_side_by_side() {
    let scene = Scene::empty();
    let services: Vec<_> = ["a", "b", "/", "%"]
        .iter()
        .map(|last| ServiceKey::new(format!("{}é{last}", "/".repeat(252))).unwrap())
        .collect();
    for (n, service) in services.iter().enumerate() {
        scene.disk.save(service, &[], at(n as u64)).unwrap();
    }
    for (n, service) in services.iter().enumerate() {
        let loaded = scene.disk.load(service);
        assert!(loaded.problems.is_empty());
        assert_eq!(loaded.saved.unwrap().written_at, at(n as u64));
    }
}

#[test]
fn two_writers_never_give_a_reader_a_torn_set_or_none() {
    let scene = Scene::new();
    let done = AtomicBool::new(false);
    thread::scope(|threads| {
        let writers = ["c", "d"].map(|set| {
            let disk = Disk::new(scene.dir.path());
            let sets = instances(set, 2);
            threads.spawn(move || {
                for _ in 0..100 {
                    disk.save(&service(), &sets, at(1)).unwrap();
                }
            })
        });
        let reader = threads.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let (set, problems) = scene.load();
                assert!(set.is_some() && problems.is_empty(), "{problems:?}");
            }
        });
        let results = writers.map(thread::ScopedJoinHandle::join);
        // Also when a writer has failed: the reader would wait for ever.
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        assert!(results.iter().all(Result::is_ok));
    });
    assert!(scene.load().0.is_some());
    assert_eq!(scene.suffixes(), [".view", ".view.old"]);
}
