//! Whatever has happened to the files: what was saved, or nothing.

use proptest::prelude::*;

use super::super::fixtures::any_instances;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_saved_is_loaded(set in any_instances()) {
        let scene = Scene::new();
        scene.disk.save(&service(), &set, at(5)).unwrap();
        let loaded = scene.disk.load(&service());
        prop_assert!(loaded.problems.is_empty());
        prop_assert_eq!(loaded.saved.unwrap().instances, set);
    }

    #[test]
    fn any_damage_gives_the_older_generation_or_nothing(
        at_byte: prop::sample::Index,
        mask in 1u8..,
        cut: Option<prop::sample::Index>,
        both: bool,
    ) {
        let scene = Scene::new();
        for path in [scene.current(), scene.older()].iter().take(1 + usize::from(both)) {
            let mut bytes = fs::read(path).unwrap();
            let at_byte = at_byte.index(bytes.len());
            bytes[at_byte] ^= mask;
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            fs::write(path, bytes).unwrap();
        }
        let (set, problems) = scene.load();
        prop_assert_eq!(set, (!both).then_some("a"));
        prop_assert_eq!(problems.len(), 1 + usize::from(both));
    }

    #[test]
    fn files_of_garbage_give_nothing(current: Vec<u8>, older: Vec<u8>) {
        let scene = Scene::new();
        fs::write(scene.current(), current).unwrap();
        fs::write(scene.older(), older).unwrap();
        let (set, problems) = scene.load();
        prop_assert!(set.is_none());
        prop_assert_eq!(problems.len(), 2);
    }
}
