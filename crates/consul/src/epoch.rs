//! Notices that the registry is not the one it was: wiped, restored, or another one behind the same address.
//!
//! Consul itself does not tell. Each service has an index that grows with the servers' log; the leader's answer to a
//! question that was asked after index 30 was seen cannot be of index 12, unless the log has begun anew.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::codec::Place;

/// More services than this are not looked at for long: forgotten, so that nothing can grow for ever.
const AT_MOST: usize = 4096;

/// The highest index of each service, and how often one fell.
#[derive(Debug, Default)]
pub(crate) struct Epochs(Mutex<Now>);

#[derive(Debug, Default)]
struct Now {
    epoch: u64,
    /// With the epoch they belong to.
    indices: HashMap<Place, (u64, u64)>,
}

/// What was known when a question was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    epoch: u64,
    index: u64,
}

impl Floor {
    /// Whether an answer of this index is older than what was known.
    pub(crate) fn is_above(self, index: u64) -> bool {
        index < self.index
    }
}

/// Where an answer belongs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
    /// Whether this answer began the epoch.
    pub(crate) begins: bool,
}

impl Epochs {
    /// To be taken before a question is asked.
    pub(crate) fn floor(&self, place: &Place) -> Floor {
        let now = self.now();
        let index = now.indices.get(place).filter(|(epoch, _)| *epoch == now.epoch);
        Floor { epoch: now.epoch, index: index.map_or(0, |(_, index)| *index) }
    }

    /// Where an answer belongs of which nothing is proven.
    pub(crate) fn unproven(&self, index: u64) -> Position {
        Position { epoch: self.now().epoch, revision: index, begins: false }
    }

    /// Where the leader's answer to a question belongs that was asked at `floor`.
    pub(crate) fn position(&self, place: &Place, floor: Floor, index: u64) -> Position {
        let mut now = self.now();
        let begins = now.epoch == floor.epoch && floor.is_above(index);
        if begins {
            now.epoch += 1;
        }
        if now.indices.len() >= AT_MOST {
            now.indices.clear();
        }
        let epoch = now.epoch;
        let known = now.indices.entry(place.clone()).or_default();
        *known = if known.0 == epoch { (epoch, known.1.max(index)) } else { (epoch, index) };
        Position { epoch, revision: index, begins }
    }

    /// Takes note of an index that somebody who follows the service since `epoch` has been told, in order. Whether that
    /// epoch still lasts.
    pub(crate) fn follow(&self, place: &Place, epoch: u64, index: u64) -> bool {
        let mut now = self.now();
        let lasts = now.epoch == epoch;
        if lasts && let Some(known) = now.indices.get_mut(place) {
            known.1 = known.1.max(index);
        }
        lasts
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Place {
        Place { name: name.to_owned(), namespace: None }
    }

    #[test]
    fn an_index_that_falls_begins_an_epoch_once_for_all_services() {
        let (epochs, a, b) = (Epochs::default(), place("a"), place("b"));
        epochs.position(&a, epochs.floor(&a), 30);
        epochs.position(&b, epochs.floor(&b), 40);
        let (one, other) = (epochs.floor(&a), epochs.floor(&b));
        assert!(epochs.position(&a, one, 12).begins);
        assert!(!epochs.position(&b, other, 12).begins, "both were asked before the fall was noticed");
        let later = epochs.position(&b, epochs.floor(&b), 12);
        assert_eq!(later, Position { epoch: 1, revision: 12, begins: false });
    }

    #[test]
    fn who_follows_hears_that_the_epoch_is_over() {
        let (epochs, a, b) = (Epochs::default(), place("a"), place("b"));
        epochs.position(&a, epochs.floor(&a), 30);
        assert!(epochs.follow(&a, 0, 35) && epochs.floor(&a).is_above(34));
        epochs.position(&b, epochs.floor(&b), 30);
        epochs.position(&b, epochs.floor(&b), 2);
        assert!(!epochs.follow(&a, 0, 36));
    }

    #[test]
    fn answers_that_overtake_each_other_are_no_fall() {
        let (epochs, a) = (Epochs::default(), place("a"));
        let (slow, fast) = (epochs.floor(&a), epochs.floor(&a));
        epochs.position(&a, fast, 12);
        assert!(!epochs.position(&a, slow, 10).begins);
        assert!(epochs.floor(&a).is_above(11));
    }
}
