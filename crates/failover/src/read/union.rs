//! What several members list, as one set.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use callsign_core::{Authority, Instance, InstanceId, Skipped};
use tokio::time::Instant;

use super::slot::Slot;

/// The set.
#[derive(Debug)]
pub(crate) struct Merged {
    pub(crate) instances: Vec<Arc<Instance>>,
    pub(crate) skipped: Arc<[Skipped]>,
    pub(crate) authority: Authority,
    pub(crate) as_of: Instant,
}

/// Merges what the members list: the higher pair, then who is live, then the order of the members. Of records without a
/// pair those go whose first endpoint somebody else has, too. `former` is what was shown before: what has not changed stays
/// the same `Arc`.
pub(crate) fn merge(
    slots: &mut [Slot],
    live: &[bool],
    recovering: &[bool],
    former: &[Arc<Instance>],
    now: Instant,
) -> Merged {
    let mut set: HashMap<InstanceId, Arc<Instance>> = HashMap::new();
    let mut authority = Authority::Quorum;
    let mut as_of = now;
    let mut skipped: BTreeMap<Arc<str>, Skipped> = BTreeMap::new();
    let mut left_over: HashMap<InstanceId, Vec<Arc<Instance>>> = HashMap::new();
    for (nth, slot) in slots.iter_mut().enumerate().filter(|(nth, _)| live[*nth]) {
        if !recovering[nth] {
            slot.is_live_again();
        }
        let Some(listing) = &slot.listing else { continue };
        authority = weaker(authority, listing.authority);
        as_of = as_of.min(slot.as_of.unwrap_or(listing.as_of));
        for instance in listing.instances.iter() {
            if slot.is_left_over(instance) {
                left_over.entry(instance.id().clone()).or_default().push(instance.clone());
                continue;
            }
            let held = set.get(instance.id());
            if held.is_none_or(|held| instance.pair() > held.pair()) {
                set.insert(instance.id().clone(), instance.clone());
            }
        }
        skipped.extend(listing.skipped.iter().map(|one| (one.id.clone(), one.clone())));
    }
    // Who is there elsewhere, too, is back; also where all members return at the same time.
    for (id, found) in left_over {
        let elsewhere = set.contains_key(&id) || found.len() > 1;
        for instance in found.into_iter().filter(|_| elsewhere) {
            let held = set.entry(id.clone()).or_insert_with(|| instance.clone());
            if instance.pair() > held.pair() {
                *held = instance;
            }
        }
    }
    let mut unproven: HashMap<InstanceId, Arc<Instance>> = HashMap::new();
    for (slot, _) in slots.iter_mut().zip(live).filter(|(_, live)| !**live) {
        for instance in slot.kept(&set, &skipped, now) {
            let held = unproven.get(instance.id());
            if held.is_none_or(|held| instance.pair() > held.pair()) {
                unproven.insert(instance.id().clone(), instance);
            }
        }
    }
    if !unproven.is_empty() {
        authority = Authority::Stale;
        set.extend(unproven);
    }
    let mut instances: Vec<_> = set.into_values().collect();
    instances.sort_by(|a, b| a.id().cmp(b.id()));
    drop_twins(&mut instances);
    for instance in &mut instances {
        let known = former.binary_search_by(|other| other.id().cmp(instance.id()));
        if let Some(known) = known.ok().map(|at| &former[at]).filter(|known| **known == *instance) {
            *instance = known.clone();
        }
    }
    let shown = |one: &Instance| instances.binary_search_by(|other| other.id().cmp(one.id())).is_ok();
    for (slot, _) in slots.iter_mut().zip(live).filter(|(_, live)| !**live) {
        former.iter().filter(|one| !shown(one)).for_each(|one| slot.has_left(one, now));
    }
    skipped.retain(|id, _| instances.binary_search_by(|one| one.id().as_str().cmp(id)).is_err());
    Merged { instances, skipped: skipped.into_values().collect(), authority, as_of }
}

/// Other software gives the same instance another id in each registry.
fn drop_twins(instances: &mut Vec<Arc<Instance>>) {
    if instances.iter().all(|instance| !instance.pair().is_none()) {
        return;
    }
    let owned = instances.iter().filter(|instance| !instance.pair().is_none());
    let mut seen: HashSet<_> = owned.map(|instance| instance.endpoints.primary().clone()).collect();
    instances
        .retain(|instance| !instance.pair().is_none() || seen.insert(instance.endpoints.primary().clone()));
}

fn weaker(one: Authority, other: Authority) -> Authority {
    match (one, other) {
        (Authority::Quorum, other) => other,
        (Authority::Single, Authority::Quorum) => Authority::Single,
        (one, Authority::Quorum) => one,
        (Authority::Single, other) => other,
        (one, _) => one,
    }
}
