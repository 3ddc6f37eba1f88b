//! Walking what is shown and what is listed side by side.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use callsign_core::{Authority, Instance, InstanceId, Listing, Status};
use tokio::time::Instant;

use super::protection::Holds;
use super::tombstones::Tombstones;

/// A listing taken together with what is shown. All lists are sorted by id.
pub(crate) struct Merged {
    /// The set, with everybody in it who is missing for no known reason.
    pub(crate) instances: Vec<Arc<Instance>>,
    /// Neither listed nor explained, and not held yet.
    pub(crate) missing: Vec<Arc<Instance>>,
    /// Not listed any more, after having announced it.
    pub(crate) departed: Vec<Arc<Instance>>,
    /// Listed again after having left: not in the set.
    pub(crate) ghosts: Vec<InstanceId>,
    /// How many are in the set for a better reason than being held.
    pub(crate) present: usize,
    /// Whether `instances` is exactly what was listed.
    pub(crate) as_listed: bool,
}

impl Merged {
    fn keep(&mut self, instance: &Arc<Instance>) {
        self.present += 1;
        self.instances.push(instance.clone());
    }
}

/// Takes `listing` together with what is shown: the higher pair wins, who has left stays away, and whoever is missing
/// is found.
pub(crate) fn merge(
    shown: &[Arc<Instance>],
    listing: &Listing,
    holds: &Holds,
    tombstones: &Tombstones,
    now: Instant,
) -> Merged {
    let stale = listing.authority == Authority::Stale;
    let skipped: BTreeSet<&str> = listing.skipped.iter().map(|skipped| &*skipped.id).collect();
    let mut merged = Merged {
        instances: Vec::with_capacity(shown.len().max(listing.instances.len())),
        missing: Vec::new(),
        departed: Vec::new(),
        ghosts: Vec::new(),
        present: 0,
        as_listed: true,
    };
    for pairing in pair_up(shown, &listing.instances) {
        if let Pairing::Same(instance) = pairing {
            merged.keep(instance);
            continue;
        }
        let as_listed = merged.as_listed;
        merged.as_listed = false;
        match pairing {
            Pairing::Same(_) => {}
            Pairing::Both(old, new) => {
                let takes_over = if stale { new.pair() > old.pair() } else { new.supersedes(old) };
                if takes_over && old != new {
                    merged.as_listed = as_listed;
                    merged.keep(new);
                } else {
                    merged.keep(old);
                }
            }
            Pairing::Right(new) if tombstones.is_ghost(new, stale, now) => {
                merged.ghosts.push(new.id().clone());
            }
            // Who was leaving when a stale registry last knew is gone by now.
            Pairing::Right(new) if stale && new.status == Status::Draining => {}
            Pairing::Right(new) => {
                merged.as_listed = as_listed;
                merged.keep(new);
            }
            Pairing::Left(old) if stale || skipped.contains(old.id().as_str()) => merged.keep(old),
            Pairing::Left(old) if old.status == Status::Draining => {
                merged.as_listed = as_listed;
                merged.departed.push(old.clone());
            }
            Pairing::Left(old) => {
                merged.instances.push(old.clone());
                if !holds.contains(old.id()) {
                    merged.missing.push(old.clone());
                }
            }
        }
    }
    merged
}

/// `instances` without those that are `gone`. Both are sorted by id.
pub(crate) fn without(mut instances: Vec<Arc<Instance>>, gone: &[Arc<Instance>]) -> Vec<Arc<Instance>> {
    if !gone.is_empty() {
        instances.retain(|instance| gone.binary_search_by(|gone| gone.id().cmp(instance.id())).is_err());
    }
    instances
}

/// What two listings say of one id.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pairing<'a> {
    /// Both hold the very same record.
    Same(&'a Arc<Instance>),
    /// Both hold one.
    Both(&'a Arc<Instance>, &'a Arc<Instance>),
    /// Only the first.
    Left(&'a Arc<Instance>),
    /// Only the second.
    Right(&'a Arc<Instance>),
}

/// Pairs up two slices that are sorted by id. An unchanged record is the same `Arc` in both, which costs one
/// comparison of pointers; ids are compared only where the pointers differ.
pub(crate) fn pair_up<'a>(
    mut left: &'a [Arc<Instance>],
    mut right: &'a [Arc<Instance>],
) -> impl Iterator<Item = Pairing<'a>> {
    std::iter::from_fn(move || {
        let order = match (left.first(), right.first()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {
                (left, right) = (&left[1..], &right[1..]);
                return Some(Pairing::Same(old));
            }
            (Some(old), Some(new)) => old.id().cmp(new.id()),
        };
        let old = left.first();
        let new = right.first();
        if order.is_le() {
            left = &left[1..];
        }
        if order.is_ge() {
            right = &right[1..];
        }
        Some(match (order, old, new) {
            (Ordering::Equal, Some(old), Some(new)) => Pairing::Both(old, new),
            (Ordering::Less, Some(old), _) => Pairing::Left(old),
            (_, _, Some(new)) => Pairing::Right(new),
            // `order` was computed from the heads that are there.
            _ => return None,
        })
    })
}
