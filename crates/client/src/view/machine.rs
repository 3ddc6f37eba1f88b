//! What a view shows, and why: a pure machine, stepped by the driver.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callsign_core::{Authority, Error, Instance, Listing, Result, ServiceKey, WatchEvent};
use tokio::time::Instant;

use super::merge::{is_sound, merge, without};
use super::protection::{Gate, Holds};
use super::step::{Input, Output};
use super::tombstones::Tombstones;
use super::{Freshness, HoldKind, Protection, Snapshot};
use crate::events::ClientEvent;

/// An outage as long as this may have ended leases: the shortest ttl is 2 s, and two thirds of it pass without a renewal
/// when one is missed.
const LONG: Duration = Duration::from_secs(1);
/// How long after an outage its consequences are told from deaths: the back-off of an owner, and then some.
const RECOVERING: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct ViewMachine {
    shown: Arc<Snapshot>,
    /// The next snapshot, while a step is under way.
    next: Snapshot,
    /// Whether anything but its age is new in `next`.
    changed: bool,
    protected: bool,
    /// Whether the last whole listing was proven, and no error has come since.
    proven: bool,
    /// Until when the end of an outage counts as recent.
    recovering_until: Option<Instant>,
    /// Source and epoch of the last proven listing.
    origin: Option<(Arc<str>, u64)>,
    holds: Holds,
    /// What the registry has of those who are shown as they were before their checks failed; sorted by id.
    failing: Vec<Arc<Instance>>,
    gate: Gate,
    tombstones: Tombstones,
}

impl ViewMachine {
    /// A view of `service` that knows nothing. `protected`: whether unexplained removals are held.
    pub(crate) fn new(service: ServiceKey, protected: bool) -> Self {
        let unknown = Snapshot::unknown(service);
        Self {
            shown: Arc::new(unknown.clone()),
            next: unknown,
            changed: false,
            protected,
            proven: false,
            recovering_until: None,
            origin: None,
            holds: Holds::new(),
            failing: Vec::new(),
            gate: Gate::default(),
            tombstones: Tombstones::default(),
        }
    }

    /// What is shown now.
    pub(crate) fn shown(&self) -> &Arc<Snapshot> {
        &self.shown
    }

    /// When to call with [`Input::Tick`] if nothing else happens before.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.holds.wake_at()
    }

    /// One step. Pure: the same inputs at the same times give the same outputs.
    pub(crate) fn step(&mut self, input: Input, now: Instant) -> Vec<Output> {
        let mut outputs = Vec::new();
        let heard = match input {
            Input::Watch(Ok(WatchEvent::Listing(listing))) => {
                self.listed(&listing, now, &mut outputs);
                true
            }
            Input::Watch(Ok(WatchEvent::Progress { authority, as_of })) => {
                self.progress(authority, as_of, now);
                true
            }
            Input::Watch(Ok(_)) | Input::Tick => false,
            Input::Watch(Err(error)) => {
                self.proven = false;
                self.trouble(error, now);
                true
            }
            Input::Asked(answer) => {
                self.asked(answer, now, &mut outputs);
                true
            }
            Input::Probed(results) => {
                for (id, probed) in results {
                    self.holds.probed(&id, probed, now);
                }
                false
            }
            Input::Bootstrap { instances, written_at } => {
                self.bootstrap(instances, written_at);
                true
            }
        };
        self.settle(now, &mut outputs);
        if heard || self.changed {
            self.publish(&mut outputs);
        }
        self.pursue(now, &mut outputs);
        outputs
    }

    fn listed(&mut self, listing: &Listing, now: Instant, outputs: &mut Vec<Output>) {
        let taken = self.apply(listing, now, outputs);
        if listing.authority == Authority::Stale {
            self.proven = false;
            self.trouble(without_proof(), now);
        } else if taken {
            if self.is_stale_for_long(now) {
                self.recovering_until = Some(now + RECOVERING);
            }
            self.proven = true;
            self.set_freshness(Freshness::Live);
        }
    }

    fn is_stale_for_long(&self, now: Instant) -> bool {
        matches!(self.next.freshness, Freshness::Stale { since, .. } if now.duration_since(since) >= LONG)
    }

    /// Whether leases of the living may have ended because nobody could renew them.
    fn is_recovering(&self, now: Instant) -> bool {
        self.is_stale_for_long(now) || self.recovering_until.is_some_and(|until| now < until)
    }

    fn asked(&mut self, answer: Result<Listing>, now: Instant, outputs: &mut Vec<Output>) {
        // An error here is one more "don't know". Freshness follows the watch alone.
        if let Ok(listing) = answer
            && listing.authority != Authority::Stale
            && self.apply(&listing, now, outputs)
        {
            self.holds.confirm(now);
        } else {
            self.holds.not_confirmed(now);
        }
    }

    fn bootstrap(&mut self, instances: Vec<Arc<Instance>>, written_at: SystemTime) {
        if matches!(self.next.freshness, Freshness::Unknown { .. }) {
            self.set_instances(instances.into());
            self.next.freshness = Freshness::Bootstrap { written_at };
            self.changed = true;
        }
    }

    /// Takes a whole listing; whether it was taken, and is not older than what is known.
    fn apply(&mut self, listing: &Listing, now: Instant, outputs: &mut Vec<Output>) -> bool {
        let same_source = self.next.source.as_ref() == Some(&listing.source);
        let stale = listing.authority == Authority::Stale;
        if same_source && (listing.epoch, listing.revision) < (self.next.epoch, self.next.revision) {
            return false;
        }
        let origin = (listing.source.clone(), listing.epoch);
        let new_origin = self.origin.as_ref() != Some(&origin);
        let returned = if stale { 0 } else { self.holds.release_listed(listing) };

        let merged = merge(&self.next.instances, listing, &self.holds, &self.tombstones, now);
        for id in merged.ghosts {
            let service = self.next.service.clone();
            outputs.push(Output::Tell(ClientEvent::GhostSuppressed { service, id }));
        }
        for instance in &merged.departed {
            self.holds.forget(instance.id());
            self.tombstones.bury(instance, now);
        }
        if !stale {
            self.failing = merged.failing;
        }
        let missing = self.gate(merged.missing, &merged.instances, new_origin, now);
        let instances = self.let_go(merged.instances, &missing.gone, now);
        self.hold(&missing.held, missing.kind, listing.authority, now, outputs);
        if returned > 0 {
            self.changed = true;
            self.tell_released(0, returned, outputs);
        }

        if merged.as_listed && missing.gone.is_empty() {
            self.set_instances(listing.instances.clone());
        } else {
            self.set_instances(instances.into());
        }
        self.describe(listing, same_source);
        if !stale {
            self.origin = Some(origin);
        }
        true
    }

    fn describe(&mut self, listing: &Listing, same_source: bool) {
        let next = &mut self.next;
        self.changed |= !same_source
            || next.authority != Some(listing.authority)
            || (!Arc::ptr_eq(&next.skipped, &listing.skipped) && next.skipped != listing.skipped);
        next.epoch = listing.epoch;
        next.revision = listing.revision;
        next.source = Some(listing.source.clone());
        next.authority = Some(listing.authority);
        next.as_of = Some(if same_source {
            next.as_of.map_or(listing.as_of, |at| at.max(listing.as_of))
        } else {
            listing.as_of
        });
        next.skipped = listing.skipped.clone();
    }

    /// Decides on who is missing without having said goodbye.
    fn gate(
        &mut self,
        missing: Vec<Arc<Instance>>,
        set: &[Arc<Instance>],
        new_origin: bool,
        now: Instant,
    ) -> Missing {
        let kind = match (self.protected, missing.is_empty()) {
            (_, true) | (false, _) => None,
            (true, false) if new_origin => Some(HoldKind::NewOrigin),
            (true, false) if self.is_recovering(now) => Some(HoldKind::Outage),
            // While some are held, who goes missing as well is part of the same story.
            (true, false) if !self.holds.is_empty() => Some(self.holds.kind()),
            (true, false) => {
                let sound = |of: &[Arc<Instance>]| of.iter().filter(|instance| is_sound(instance)).count();
                let present = sound(set).saturating_sub(missing.len());
                self.gate.judge(missing.len(), present, sound(&self.next.instances), now)
            }
        };
        match kind {
            Some(kind) => Missing { held: missing, gone: Vec::new(), kind },
            None => Missing { held: Vec::new(), gone: missing, kind: HoldKind::Empty },
        }
    }

    fn hold(
        &mut self,
        held: &[Arc<Instance>],
        kind: HoldKind,
        authority: Authority,
        now: Instant,
        outputs: &mut Vec<Output>,
    ) {
        if held.is_empty() {
            return;
        }
        for instance in held {
            self.holds.hold(instance, kind, authority != Authority::Quorum, now);
        }
        self.changed = true;
        let (service, count) = (self.next.service.clone(), held.len());
        outputs.push(Output::Tell(ClientEvent::Held { service, kind, count }));
    }

    /// `instances` without those who are `gone`. Who is listed all the same, with checks that fail, is shown like that.
    fn let_go(
        &mut self,
        instances: Vec<Arc<Instance>>,
        gone: &[Arc<Instance>],
        now: Instant,
    ) -> Vec<Arc<Instance>> {
        for gone in gone {
            self.tombstones.bury(gone, now);
        }
        without(instances, gone, &self.failing)
    }

    /// Lets go of the held ones whose time has come.
    fn settle(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        if self.holds.is_empty() {
            return;
        }
        let gone = self.holds.verdicts(now);
        if gone.is_empty() {
            return;
        }
        let shown = self.next.instances.to_vec();
        let is_gone = |instance: &&Arc<Instance>| gone.binary_search(instance.id()).is_ok();
        let gone: Vec<_> = shown.iter().filter(is_gone).cloned().collect();
        let left = self.let_go(shown, &gone, now);
        self.set_instances(left.into());
        self.changed = true;
        self.tell_released(gone.len(), 0, outputs);
    }

    fn tell_released(&self, removed: usize, returned: usize, outputs: &mut Vec<Output>) {
        let service = self.next.service.clone();
        outputs.push(Output::Tell(ClientEvent::Released { service, removed, returned }));
    }

    fn progress(&mut self, authority: Authority, as_of: Instant, now: Instant) {
        if self.next.as_of.is_none() {
            return;
        }
        if authority == Authority::Stale {
            self.trouble(without_proof(), now);
        } else if self.proven {
            self.next.as_of = self.next.as_of.max(Some(as_of));
            self.set_freshness(Freshness::Live);
        }
    }

    fn trouble(&mut self, cause: Error, now: Instant) {
        let freshness = match &self.next.freshness {
            Freshness::Bootstrap { .. } if self.next.as_of.is_none() => return,
            Freshness::Unknown { .. } if self.next.as_of.is_none() => {
                Freshness::Unknown { cause: Some(cause) }
            }
            Freshness::Stale { since, .. } => Freshness::Stale { since: *since, cause },
            _ => Freshness::Stale { since: now, cause },
        };
        self.changed = true;
        self.next.freshness = freshness;
    }

    fn set_freshness(&mut self, freshness: Freshness) {
        self.changed |= std::mem::discriminant(&freshness) != std::mem::discriminant(&self.next.freshness);
        self.next.freshness = freshness;
    }

    fn set_instances(&mut self, instances: Arc<[Arc<Instance>]>) {
        let same = Arc::ptr_eq(&instances, &self.next.instances)
            || (instances.len() == self.next.instances.len()
                && instances.iter().zip(self.next.instances.iter()).all(|(new, old)| Arc::ptr_eq(new, old)));
        if same {
            return;
        }
        self.changed = true;
        self.next.routable = if instances.iter().all(|instance| instance.routable()) {
            instances.clone()
        } else {
            instances.iter().filter(|instance| instance.routable()).cloned().collect()
        };
        self.next.instances = instances;
    }

    fn publish(&mut self, outputs: &mut Vec<Output>) {
        let changed = std::mem::take(&mut self.changed);
        if changed {
            self.next.seq += 1;
            self.next.held = self.holds.ids().cloned().collect();
            self.next.protection = match self.holds.until() {
                Some(until) => Protection::Held { kind: self.holds.kind(), until, count: self.holds.len() },
                None => Protection::None,
            };
        }
        let before = std::mem::discriminant(&self.shown.freshness);
        if before != std::mem::discriminant(&self.next.freshness) {
            let (service, freshness) = (self.next.service.clone(), self.next.freshness.clone());
            outputs.push(Output::Tell(ClientEvent::Freshness { service, freshness }));
        }
        self.shown = Arc::new(self.next.clone());
        outputs.push(Output::Show { snapshot: self.shown.clone(), changed });
    }

    /// Goes after the truth about the held ones.
    fn pursue(&mut self, now: Instant, outputs: &mut Vec<Output>) {
        if self.holds.is_empty() {
            return;
        }
        if self.holds.ask(now) {
            outputs.push(Output::Ask);
        }
        for id in self.holds.probes(now) {
            if let Some(instance) = self.shown.get(id.as_str()) {
                outputs.push(Output::Probe(instance.clone()));
            }
        }
    }
}

struct Missing {
    held: Vec<Arc<Instance>>,
    gone: Vec<Arc<Instance>>,
    kind: HoldKind,
}

fn without_proof() -> Error {
    Error::unavailable("the registry answers without a quorum behind it").with_operation("watch")
}
