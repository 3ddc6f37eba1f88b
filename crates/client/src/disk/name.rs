//! What the files of a service are called.
//!
//! `orders-3f0a92c41d5e7b68.view`: enough of the name for a person to find the file, and enough of a hash over the
//! whole key that no two services share one.

use std::path::{Path, PathBuf};

use callsign_core::ServiceKey;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// How much of the encoded name shows. With everything around it a file name stays below 143 bytes, the shortest
/// limit in use (eCryptfs); a name alone may have 255.
const READABLE: usize = 64;
const HASH_DIGITS: usize = 16;
const LITERAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');
const TEMPORARY: &str = ".tmp";

/// The names of one service's files in one folder.
#[derive(Debug)]
pub(super) struct FileNames<'a> {
    dir: &'a Path,
    stem: String,
}

impl<'a> FileNames<'a> {
    pub(super) fn new(dir: &'a Path, service: &ServiceKey) -> Self {
        Self { dir, stem: stem(service) }
    }

    /// The part that all of them start with.
    pub(super) fn stem(&self) -> &str {
        &self.stem
    }

    /// The newest set.
    pub(super) fn current(&self) -> PathBuf {
        self.dir.join(format!("{}.view", self.stem))
    }

    /// The set before it.
    pub(super) fn older(&self) -> PathBuf {
        self.dir.join(format!("{}.view.old", self.stem))
    }

    /// A name that nobody else writes to. Random beside the process id: in two containers over one volume both
    /// processes may have the id 1.
    pub(super) fn temporary(&self) -> PathBuf {
        let (process, call) = (std::process::id(), fastrand::u64(..));
        self.dir.join(format!("{}.view.{process:x}-{call:016x}{TEMPORARY}", self.stem))
    }

    /// Whether `name` is one that [`temporary`](Self::temporary) makes for this service, in whatever process.
    pub(super) fn is_temporary(&self, name: &str) -> bool {
        name.strip_prefix(self.stem.as_str())
            .and_then(|rest| rest.strip_prefix(".view."))
            .and_then(|rest| rest.strip_suffix(TEMPORARY))
            .is_some_and(|middle| middle.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'))
    }
}

/// Where a bad file goes: one per generation, so that they cannot fill the disk.
pub(super) fn set_aside(path: &Path) -> PathBuf {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".bad");
    aside.into()
}

/// SHA-256 in lower-case hex.
pub(super) fn sha256(bytes: impl AsRef<[u8]>) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

fn stem(service: &ServiceKey) -> String {
    // No name contains a NUL, so no two keys read the same.
    let key = format!("{}\0{}\0{}", service.namespace, service.group, service.name);
    let mut stem = utf8_percent_encode(service.name.as_str(), LITERAL).to_string();
    if stem.len() > READABLE {
        stem.truncate(READABLE);
        // Not in the middle of `%XX`.
        if let Some(cut) = stem.rfind('%').filter(|at| at + 3 > READABLE) {
            stem.truncate(cut);
        }
    }
    stem.push('-');
    stem.push_str(&sha256(key)[..HASH_DIGITS]);
    stem
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use callsign_core::{Group, Namespace};
    use percent_encoding::percent_decode_str;
    use proptest::prelude::*;

    use super::*;

    fn key(namespace: &str, group: &str, name: &str) -> ServiceKey {
        ServiceKey::new(name)
            .unwrap()
            .with_namespace(Namespace::new(namespace).unwrap())
            .with_group(Group::new(group).unwrap())
    }

    #[test]
    fn a_person_finds_the_file() {
        let stem = stem(&ServiceKey::new("orders.v1").unwrap());
        assert!(stem.starts_with("orders.v1-"), "{stem}");
        assert_eq!(stem.len(), "orders.v1-".len() + HASH_DIGITS);
    }

    #[test]
    fn names_that_differ_only_in_odd_characters_or_place_do_not_collide() {
        let long = "x".repeat(254);
        let keys = [
            key("default", "default", "a/b"),
            key("default", "default", "a%2Fb"),
            key("default", "default", "a\\b"),
            key("default", "default", "a b"),
            key("default", "default", "A/b"),
            key("default", "default", ".."),
            key("default", "default", "/"),
            key("default", "default", "é"),
            key("default", "default", "e\u{301}"),
            key("default", "default", &format!("{long}a")),
            key("default", "default", &format!("{long}b")),
            key("default", "a", "b"),
            key("a", "default", "b"),
            key("a/b", "c", "d"),
            key("a", "b/c", "d"),
            key("a", "b", "c/d"),
        ];
        let stems: HashSet<_> = keys.iter().map(|key| stem(key).to_lowercase()).collect();
        assert_eq!(stems.len(), keys.len());
    }

    #[test]
    fn a_temporary_name_is_recognised_by_its_own_service_only() {
        let (orders, carts) = (key("d", "d", "orders"), key("d", "d", "carts"));
        let dir = Path::new("/x");
        let names = FileNames::new(dir, &orders);
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let temporary = name(names.temporary());
        assert!(names.is_temporary(&temporary));
        assert_ne!(temporary, name(names.temporary()));
        assert!(!FileNames::new(dir, &carts).is_temporary(&temporary));
        for other in [names.current(), names.older(), set_aside(&names.older())] {
            assert!(!names.is_temporary(&name(other)));
        }
        // A service whose name looks like a file of this one.
        let mimic = key("d", "d", &format!("{}.view.1-2", names.stem()));
        assert!(!names.is_temporary(&name(FileNames::new(dir, &mimic).temporary())));
    }

    proptest! {
        #[test]
        fn every_name_gives_a_short_plain_file_name(name in "\\PC{1,80}", repeat in 1usize..20) {
            let mut long = name.repeat(repeat);
            while long.len() > 255 {
                long.pop();
            }
            let service = key("default", "default", &long);
            let names = FileNames::new(Path::new("/x"), &service);
            for path in [names.temporary(), set_aside(&names.older())] {
                let file = path.file_name().unwrap().to_str().unwrap();
                prop_assert!(file.len() < 143 && file.is_ascii() && !file.contains(['/', '\\', ' ']), "{file}");
                prop_assert_eq!(path.parent().unwrap(), Path::new("/x"));
            }
            let (shown, _) = names.stem().rsplit_once('-').unwrap();
            let decoded: Vec<u8> = percent_decode_str(shown).collect();
            prop_assert!(long.as_bytes().starts_with(&decoded));
        }
    }
}
