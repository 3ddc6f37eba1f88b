//! Walking what is shown and what is listed side by side.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use callsign_core::{Authority, Health, Instance, InstanceId, Listing, Status};
use tokio::time::Instant;

use super::protection::Holds;
use super::tombstones::Tombstones;

/// A listing taken together with what is shown. All lists are sorted by id.
pub(crate) struct Merged {
    /// The set, with everybody in it who is missing for no known reason.
    pub(crate) instances: Vec<Arc<Instance>>,
    /// Neither explained nor listed as fit for traffic, and not held yet.
    pub(crate) missing: Vec<Arc<Instance>>,
    /// Listed with checks that fail, while the set has them as they were before; as they are listed.
    pub(crate) failing: Vec<Arc<Instance>>,
    /// Not listed any more, after having announced it or failed.
    pub(crate) departed: Vec<Arc<Instance>>,
    /// Listed again after having left: not in the set.
    pub(crate) ghosts: Vec<InstanceId>,
    /// Whether `instances` is exactly what was listed.
    pub(crate) as_listed: bool,
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
        failing: Vec::new(),
        departed: Vec::new(),
        ghosts: Vec::new(),
        as_listed: true,
    };
    for pairing in pair_up(shown, &listing.instances) {
        if let Pairing::Same(instance) = pairing {
            merged.instances.push(instance.clone());
            continue;
        }
        let as_listed = merged.as_listed;
        merged.as_listed = false;
        match pairing {
            Pairing::Same(_) => {}
            Pairing::Both(old, new) if fails(old, new) => {
                let known = as_before(old, new);
                if stale {
                    merged.instances.push(known);
                    continue;
                }
                if !holds.contains(old.id()) {
                    merged.missing.push(known.clone());
                }
                merged.instances.push(known);
                merged.failing.push(new.clone());
            }
            Pairing::Both(old, new) => {
                // A stale registry brings nobody back who has failed, as long as the owner is the same.
                let takes_over = if stale {
                    new.pair() > old.pair() && (is_sound(old) || new.incarnation > old.incarnation)
                } else {
                    new.supersedes(old)
                };
                if takes_over && old != new {
                    merged.as_listed = as_listed;
                    merged.instances.push(new.clone());
                } else {
                    merged.instances.push(old.clone());
                }
            }
            Pairing::Right(new) if tombstones.is_ghost(new, stale, now) => {
                merged.ghosts.push(new.id().clone());
            }
            // Who was leaving when a stale registry last knew is gone by now.
            Pairing::Right(new) if stale && new.status == Status::Draining => {}
            Pairing::Right(new) => {
                merged.as_listed = as_listed;
                merged.instances.push(new.clone());
            }
            Pairing::Left(old) if stale || skipped.contains(old.id().as_str()) => {
                merged.instances.push(old.clone());
            }
            Pairing::Left(old) if old.status == Status::Draining || !is_sound(old) => {
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

/// Whether no check of the registry's says that it is of no use.
pub(crate) fn is_sound(instance: &Instance) -> bool {
    instance.health != Health::Critical
}

/// Whether `new` says that `old`, who has not said goodbye, is of no use any more.
fn fails(old: &Instance, new: &Instance) -> bool {
    is_sound(old) && unfit(new)
}

/// Whether the registry's checks alone keep traffic from it.
pub(crate) fn unfit(instance: &Instance) -> bool {
    !is_sound(instance) && instance.status == Status::Up
}

/// What the owner says in `new`, with the health of `old`.
fn as_before(old: &Arc<Instance>, new: &Arc<Instance>) -> Arc<Instance> {
    let latest = if new.supersedes(old) { new } else { old };
    let known = with_health(latest, old.health);
    if known == *old { old.clone() } else { known }
}

fn with_health(instance: &Arc<Instance>, health: Health) -> Arc<Instance> {
    let mut instance = instance.clone();
    if instance.health != health {
        Arc::make_mut(&mut instance).health = health;
    }
    instance
}

/// The instance with the id of `instance`. `among` is sorted by id.
fn find<'a>(among: &'a [Arc<Instance>], instance: &Instance) -> Option<&'a Arc<Instance>> {
    among.binary_search_by(|other| other.id().cmp(instance.id())).ok().map(|at| &among[at])
}

/// `instances` without those that are `gone`; those who are `failing` are replaced by that. All are sorted by id.
pub(crate) fn without(
    instances: Vec<Arc<Instance>>,
    gone: &[Arc<Instance>],
    failing: &[Arc<Instance>],
) -> Vec<Arc<Instance>> {
    if gone.is_empty() {
        return instances;
    }
    let left = |instance: Arc<Instance>| match find(gone, &instance) {
        Some(_) => find(failing, &instance).map(|failing| {
            let newer = failing.supersedes(&instance);
            if newer { failing.clone() } else { with_health(&instance, failing.health) }
        }),
        None => Some(instance),
    };
    instances.into_iter().filter_map(left).collect()
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
