//! A switch to a member that lacks what was shown: it is shown on, flagged, until it has been registered again there.

use std::collections::BTreeMap;
use std::sync::Arc;

use callsign_core::{Authority, Error, Instance, InstanceId, Listing, Status};
use tokio::time::Instant;

use crate::Settings;

/// What is shown on.
#[derive(Debug)]
pub(crate) struct Rebase {
    former: Listing,
    /// The member that it comes from, and its epoch then.
    from: usize,
    epoch: Option<u64>,
    instances: BTreeMap<InstanceId, Arc<Instance>>,
    until: Instant,
}

impl Rebase {
    /// `former` was shown, and `left` is what the member `from` has said last.
    pub(crate) fn new(
        former: Listing,
        from: usize,
        left: Option<&Listing>,
        now: Instant,
        settings: &Settings,
    ) -> Self {
        let instances = former.instances.iter().map(|one| (one.id().clone(), one.clone())).collect();
        let (epoch, until) = (left.map(|left| left.epoch), now + settings.failback_dwell);
        Self { former, from, epoch, instances, until }
    }

    /// The member that was left.
    pub(crate) fn from(&self) -> usize {
        self.from
    }

    /// The member that was left is heard again: who is listed neither there nor at the one that is read has left. A member
    /// that has forgotten does not know who has.
    pub(crate) fn is_told_by(&mut self, left: &Listing, listing: Option<&Listing>) {
        if self.epoch != Some(left.epoch) {
            return;
        }
        self.instances.retain(|id, _| has(left, id) || listing.is_some_and(|listing| has(listing, id)));
    }

    /// Whether `active` is where everything comes from: then nothing has happened.
    pub(crate) fn returns_to(&self, active: usize) -> bool {
        self.from == active
    }

    /// Yet another member is read: it has time, too.
    pub(crate) fn goes_on(&mut self, now: Instant, settings: &Settings) {
        self.until = now + settings.failback_dwell;
    }

    /// Whether `listing` of `active` can take the place of what is shown.
    pub(crate) fn is_over(
        &mut self,
        active: usize,
        listing: Option<&Listing>,
        settings: &Settings,
        now: Instant,
    ) -> bool {
        if self.returns_to(active) {
            return true;
        }
        let Some(listing) = listing else { return false };
        let listed = |id: &InstanceId| listing.instances.binary_search_by(|other| other.id().cmp(id)).is_ok();
        // Who has announced its leaving, and has left.
        self.instances.retain(|id, known| known.status != Status::Draining || listed(id));
        for instance in listing.instances.iter() {
            let known = self.instances.get(instance.id());
            if known.is_none_or(|known| instance.supersedes(known) && instance != known) {
                self.instances.insert(instance.id().clone(), instance.clone());
            }
        }
        let former: Vec<_> = self.instances.values().cloned().collect();
        now >= self.until || coverage(&former, &listing.instances) >= settings.coverage_min
    }

    /// What was shown, and what has been added since. It proves nothing.
    pub(crate) fn merged(&self, listing: Option<&Listing>) -> Listing {
        let instances = self.instances.values().cloned().collect();
        let mut merged = Listing::new(self.former.source.clone(), Authority::Stale, instances);
        merged.as_of = self.former.as_of;
        merged.skipped =
            listing.map_or_else(|| self.former.skipped.clone(), |listing| listing.skipped.clone());
        merged
    }

    pub(crate) fn cause(active: &str) -> Error {
        Error::unavailable(format!("`{active}` is read now, and not everybody is registered there yet"))
    }
}

fn has(listing: &Listing, id: &InstanceId) -> bool {
    listing.instances.binary_search_by(|other| other.id().cmp(id)).is_ok()
}

/// The share of `shown` that `listed` has, too, without those that are leaving. 1.0 where there is nobody.
pub(crate) fn coverage(shown: &[Arc<Instance>], listed: &[Arc<Instance>]) -> f64 {
    let (mut all, mut found) = (0_u32, 0_u32);
    for instance in shown.iter().filter(|one| one.status != Status::Draining) {
        all += 1;
        let at = listed.binary_search_by(|other| other.id().cmp(instance.id()));
        found += u32::from(at.is_ok_and(|at| listed[at].pair() >= instance.pair()));
    }
    if all == 0 { 1.0 } else { f64::from(found) / f64::from(all) }
}
