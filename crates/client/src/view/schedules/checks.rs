//! What holds whatever happens.

use std::time::Duration;

use callsign_core::{Authority, Health, Instance, InstanceId, Listing, Status};

use super::{World, ids};
use crate::view::{Freshness, Snapshot};

impl World {
    /// What holds for every step.
    pub(super) fn check_step(&mut self, before: &Snapshot, after: &Snapshot) {
        assert!(after.instances.is_sorted_by(|a, b| a.id() < b.id()), "sorted, and each id once");
        let routable: Vec<_> =
            after.instances.iter().filter(|instance| instance.routable()).cloned().collect();
        assert_eq!(routable[..], after.routable[..], "routable is what `Instance::routable` says");
        let same = ids(before) == ids(after) && before.instances == after.instances;
        assert!(after.seq > before.seq || (after.seq == before.seq && same), "a change has a new seq");
        for old in before.instances.iter() {
            let id = old.id();
            match after.get(id.as_str()) {
                Some(new) => assert!(new.pair() >= old.pair(), "{id} went back to {}", new.pair()),
                None if old.status == Status::Draining => {
                    self.buried.insert(id.clone(), (old.pair(), self.now + Duration::from_secs(600)));
                }
                None => {}
            }
            if is_lost(old, after) {
                self.check_removal(id);
            }
        }
        for new in after.instances.iter().filter(|new| before.get(new.id().as_str()).is_none()) {
            let buried = self.buried.get(new.id()).filter(|(_, until)| *until > self.now);
            assert!(buried.is_none_or(|(pair, _)| new.pair() > *pair), "{} came back", new.id());
        }
        for id in after.held.iter() {
            self.held_since.entry(id.clone()).or_insert(self.now);
        }
        for id in before.held.iter().filter(|id| !after.is_held(id.as_str())) {
            self.held_since.remove(id);
            self.confirmed.remove(id);
            self.silent.remove(id);
        }
    }

    /// A held one goes when it is confirmed absent and silent, or after its time.
    fn check_removal(&self, id: &InstanceId) {
        let Some(since) = self.held_since.get(id) else {
            return;
        };
        let confirmed = self.confirmed.contains(id) && self.silent.contains(id);
        let long = self.now.duration_since(*since) >= Duration::from_secs(30);
        assert!(confirmed || long, "{id} was let go without a reason");
    }

    /// What holds for a listing.
    pub(super) fn check_listing(&mut self, before: &Snapshot, listing: &Listing, watched: bool) {
        let after = self.machine.shown().clone();
        let same_source = before.source.as_ref() == Some(&listing.source);
        if same_source && (listing.epoch, listing.revision) < (before.epoch, before.revision) {
            assert_eq!(ids(before), ids(&after), "an older listing is not taken");
            return;
        }
        let removed: Vec<_> = before.instances.iter().filter(|old| is_lost(old, &after)).collect();
        if listing.authority == Authority::Stale {
            assert!(removed.is_empty(), "what is stale removes nothing");
            assert!(!after.freshness.is_live() || !watched);
            return;
        }
        assert!(after.freshness.is_live() || !watched, "freshness follows the watch");
        for instance in listing.instances.iter() {
            let buried = self.buried.get(instance.id()).filter(|(_, until)| *until > self.now);
            let ghost = before.get(instance.id().as_str()).is_none()
                && buried.is_some_and(|(pair, _)| instance.pair() <= *pair);
            assert!(ghost || after.get(instance.id().as_str()).is_some(), "{} is listed", instance.id());
        }
        for skipped in listing.skipped.iter() {
            let kept = before.get(&skipped.id).is_none() || after.get(&skipped.id).is_some();
            assert!(kept, "{} cannot be decoded, and keeps its former value", skipped.id);
        }
        let abrupt = removed.iter().filter(|old| !before.is_held(old.id().as_str())).count();
        let origin = Some((listing.source.clone(), listing.epoch));
        if abrupt > 0 {
            assert!(abrupt == 1 || abrupt * 10 <= sound(before) * 3, "{abrupt} at once");
            assert!(sound(&after) > after.held.len(), "nothing else is left");
            assert_eq!(self.origin, origin, "a new origin removes nothing by itself");
            let away = |since| self.now - since >= Duration::from_secs(1);
            let away = matches!(before.freshness, Freshness::Stale { since, .. } if away(since));
            assert!(!away, "the end of an outage removes nothing by itself");
        }
        self.origin = origin;
        if listing.authority == Authority::Single {
            self.confirmed.extend(after.held.iter().filter(|id| !before.is_held(id.as_str())).cloned());
        }
    }
}

/// Whether the registry's checks alone keep traffic from it.
pub(super) fn is_unfit(instance: &Instance) -> bool {
    instance.health == Health::Critical && instance.status == Status::Up
}

/// Whether `old`, who was well and has not said goodbye, gets no traffic any more.
fn is_lost(old: &Instance, after: &Snapshot) -> bool {
    let was_well = old.health != Health::Critical && old.status != Status::Draining;
    was_well && after.get(old.id().as_str()).is_none_or(|new| is_unfit(new))
}

fn sound(snapshot: &Snapshot) -> usize {
    snapshot.instances.iter().filter(|instance| instance.health != Health::Critical).count()
}
