//! What one member has said of one service.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{
    Authority, Error, Instance, InstanceId, Listing, Pair, Result, Skipped, Status, WatchEvent,
};
use tokio::time::Instant;

/// How long somebody is kept whom a member listed that is out of reach, and whom another one has listed and lists no
/// more. For so long the listing proves nothing, and a view that has heard nothing proven for a second holds and probes whoever is
/// missing next: who has crashed goes, and who only cannot reach the other member stays.
const KEEP: Duration = Duration::from_millis(1500);

/// A watch owes a sign of progress every 10 s. Who has said nothing for longer may have missed anything since.
const QUIET: Duration = Duration::from_secs(15);

/// How long somebody is remembered who has left while a member is away: as long as views remember it.
const REMEMBERED: Duration = Duration::from_secs(600);

/// One member's word.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    /// The last listing that was proven.
    pub(crate) listing: Option<Listing>,
    /// One that came after it and was not.
    pub(crate) stale: Option<Listing>,
    pub(crate) trouble: Option<Error>,
    /// How much trouble there was.
    pub(crate) troubles: u64,
    pub(crate) heard_at: Option<Instant>,
    pub(crate) as_of: Option<Instant>,
    /// Whom others have listed since this one is not live.
    covered: HashSet<InstanceId>,
    /// Who has announced its leaving to others since.
    announced: HashSet<InstanceId>,
    /// Who is gone from the others, since when, and with which pair.
    gone: HashMap<InstanceId, (Instant, Pair)>,
}

impl Slot {
    /// Takes an item of the member's watch.
    pub(crate) fn take(&mut self, item: Result<WatchEvent>, now: Instant) {
        match item {
            Ok(WatchEvent::Listing(listing)) if listing.authority == Authority::Stale => {
                self.heard_at = Some(now);
                self.stale = Some(listing);
                self.trouble = None;
            }
            Ok(WatchEvent::Listing(listing)) => {
                self.heard_at = Some(now);
                if self.listing.as_ref().is_some_and(|held| is_older(&listing, held)) {
                    return;
                }
                (self.stale, self.trouble, self.as_of) = (None, None, Some(listing.as_of));
                self.listing = Some(listing);
            }
            Ok(WatchEvent::Progress { authority, as_of }) => {
                self.heard_at = Some(now);
                if authority != Authority::Stale && self.is_proven() {
                    self.as_of = self.as_of.max(Some(as_of));
                }
            }
            Ok(_) => {}
            Err(error) => {
                self.trouble = Some(error);
                self.troubles += 1;
            }
        }
    }

    /// Why the last listing is not one of now. A watch that hangs shows no error of its own for a while.
    pub(crate) fn trouble_at(&self, now: Instant) -> Option<Error> {
        let heard_at = self.heard_at.filter(|at| *at + QUIET < now);
        let quiet =
            |at| Error::timeout(format!("its watch has been silent for {:.0?}", now.duration_since(at)));
        self.trouble.clone().or_else(|| heard_at.map(quiet))
    }

    /// Whether the last word was a proven one.
    pub(crate) fn is_proven(&self) -> bool {
        self.listing.is_some() && self.stale.is_none() && self.trouble.is_none()
    }

    /// What there is, proven or not.
    pub(crate) fn known(&self) -> Option<&Listing> {
        self.stale.as_ref().or(self.listing.as_ref())
    }

    /// It is live: what was kept for it is over.
    pub(crate) fn is_live_again(&mut self) {
        self.covered.clear();
        self.announced.clear();
        self.gone.clear();
    }

    /// Whether `instance`, which this member lists again, went from the others while it was away: a registry that restarts
    /// begins the leases of the dead anew.
    pub(crate) fn is_left_over(&self, instance: &Instance) -> bool {
        self.gone.get(instance.id()).is_some_and(|(_, pair)| instance.pair() <= *pair)
    }

    /// `instance` went from the others while this member was away: one that was frozen takes what was sent to it before, and
    /// lists for a moment whom it has not seen leaving.
    pub(crate) fn has_left(&mut self, instance: &Instance, now: Instant) {
        self.gone.retain(|_, (since, _)| now.duration_since(*since) < REMEMBERED);
        let (_, pair) = self.gone.entry(instance.id().clone()).or_insert((now, instance.pair()));
        *pair = instance.pair().max(*pair);
    }

    /// Whom of this member, which is not live, to show beside `live`: whoever may still be there. Of those in `skipped` a live
    /// member has a record that makes no sense.
    pub(crate) fn kept(
        &mut self,
        live: &HashMap<InstanceId, Arc<Instance>>,
        skipped: &BTreeMap<Arc<str>, Skipped>,
        now: Instant,
    ) -> Vec<Arc<Instance>> {
        let known = self.known().map(|listing| listing.instances.clone());
        let mut kept = Vec::new();
        for instance in known.iter().flat_map(|instances| instances.iter()) {
            let id = instance.id();
            if let Some(elsewhere) = live.get(id) {
                self.covered.insert(id.clone());
                self.gone.remove(id);
                if elsewhere.status == Status::Draining {
                    self.announced.insert(id.clone());
                } else {
                    self.announced.remove(id);
                }
                continue;
            }
            let leaving = instance.status == Status::Draining;
            if leaving || self.announced.contains(id) {
                continue;
            }
            if self.covered.contains(id) && !skipped.contains_key(id.as_str()) {
                let (since, _) = *self.gone.entry(id.clone()).or_insert((now, instance.pair()));
                if now.duration_since(since) >= KEEP {
                    continue;
                }
            }
            kept.push(instance.clone());
        }
        kept
    }
}

fn is_older(listing: &Listing, than: &Listing) -> bool {
    (listing.epoch, listing.revision) < (than.epoch, than.revision)
}
