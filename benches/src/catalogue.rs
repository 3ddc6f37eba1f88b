//! Everything that can be measured.

use anyhow::Result;

use crate::measure::Measured;
use crate::{disk, memory, pick, reads, view};

/// Measures that are taken together.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) names: &'static [&'static str],
    pub(crate) run: fn() -> Result<Vec<Measured>>,
}

pub(crate) const GROUPS: &[Group] = &[
    Group { names: &["view.update_10k", "view.update_10k_p99"], run: view::update },
    Group { names: &["view.heap_per_instance"], run: view::heap_per_instance },
    Group { names: &["view.snapshot"], run: view::snapshot },
    Group { names: &["view.reads_under_fault"], run: reads::under_fault },
    Group { names: &["pick.round_robin_10"], run: || pick::round_robin("pick.round_robin_10", 10) },
    Group { names: &["pick.round_robin_100"], run: || pick::round_robin("pick.round_robin_100", 100) },
    Group { names: &["pick.round_robin_10k"], run: || pick::round_robin("pick.round_robin_10k", 10_000) },
    Group { names: &["pick.round_robin_allocations"], run: pick::allocations },
    Group { names: &["disk.cold_start_10k"], run: disk::cold_start },
    Group {
        names: &["memory.register_to_seen", "memory.register_to_seen_p99"],
        run: memory::register_to_seen,
    },
    Group { names: &["memory.register_10k"], run: memory::register_10k },
];

/// All names.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().flat_map(|group| group.names).copied()
}

/// The part of a name before the dot.
pub(crate) fn area(name: &str) -> &str {
    name.split_once('.').map_or(name, |(area, _)| area)
}

impl Group {
    /// Whether `word` is a name in this group, or the area of one.
    pub(crate) fn answers_to(&self, word: &str) -> bool {
        self.names.iter().any(|name| *name == word || area(name) == word)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_name_has_an_area_and_is_there_once() {
        let mut seen = BTreeSet::new();
        for name in names() {
            assert_ne!(area(name), name);
            assert!(seen.insert(name), "{name} is there twice");
        }
    }
}
