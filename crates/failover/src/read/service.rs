//! What is shown of one service: a pure machine over what its members say.

use std::collections::HashSet;
use std::sync::Arc;

use callsign_core::{Authority, Error, InstanceKey, Listing, MemberState, Result, WatchEvent};
use tokio::time::Instant;

use super::compare::same_content;
use super::newest::Newest;
use super::position::{Origin, Position};
use super::rebase::Rebase;
use super::slot::Slot;
use super::union::{self, Merged};
use crate::{Settings, Topology};

/// How a member is, as far as reading goes.
#[derive(Debug, Clone)]
pub(crate) struct Outlook {
    pub(crate) state: MemberState,
    pub(crate) since: Instant,
    pub(crate) cause: Option<Error>,
}

/// What reading needs to know of the group.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    pub(crate) members: Vec<Outlook>,
    pub(crate) active: usize,
    /// An operator wants `active` alone to be read.
    pub(crate) forced: bool,
}

/// What followers are handed. Each part has a number that grows when it is to be handed over again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    pub(crate) listing: Option<Listing>,
    pub(crate) listing_no: u64,
    pub(crate) trouble: Option<Error>,
    pub(crate) trouble_no: u64,
    pub(crate) as_of: Option<Instant>,
    pub(crate) progress_no: u64,
}

/// One service.
#[derive(Debug)]
pub(crate) struct Service {
    slots: Vec<Slot>,
    settings: Arc<Settings>,
    /// The backend's name, then those of the members behind it.
    sources: Arc<[Arc<str>]>,
    pub(crate) position: Position,
    /// Who was handed out last: the member, and the epochs of all that it was made of.
    origin: Option<Origin>,
    active: usize,
    rebase: Option<Rebase>,
    newest: Newest,
    /// What was last answered beside what is shown, and where that was then.
    beside: Option<(Listing, Position)>,
    pub(crate) shown: Shown,
    troubles: u64,
}

impl Service {
    pub(crate) fn new(
        settings: Arc<Settings>,
        sources: Arc<[Arc<str>]>,
        position: Position,
        active: usize,
    ) -> Self {
        Self {
            slots: sources.iter().skip(1).map(|_| Slot::default()).collect(),
            settings,
            sources,
            position,
            origin: None,
            active,
            rebase: None,
            newest: Newest::default(),
            beside: None,
            shown: Shown::default(),
            troubles: 0,
        }
    }

    /// Somebody begins to follow it: what was heard before is not of now.
    pub(crate) fn begin(&mut self) {
        self.slots = self.slots.iter().map(|_| Slot::default()).collect();
        self.rebase = None;
        let Shown { listing_no, trouble_no, progress_no, .. } = self.shown;
        self.shown = Shown { listing_no, trouble_no, progress_no, ..Shown::default() };
    }

    /// A member has said something.
    pub(crate) fn take(&mut self, member: usize, item: Result<WatchEvent>, picture: &Picture, now: Instant) {
        if let Some(slot) = self.slots.get_mut(member) {
            slot.take(item, now);
        }
        self.refresh(picture, now);
    }

    /// A member has answered a question: what is to be answered then. `None`: it proves nothing, and changes nothing.
    pub(crate) fn answered(
        &mut self,
        member: usize,
        listing: &Listing,
        picture: &Picture,
        now: Instant,
    ) -> Option<Listing> {
        if listing.authority == Authority::Stale {
            let mut listing = listing.clone();
            listing.source = self.sources.get(member + 1)?.clone();
            self.raise(&mut listing, now);
            return Some(listing.at(self.position.epoch, self.position.revision));
        }
        self.slots.get_mut(member)?.take(Ok(WatchEvent::Listing(listing.clone())), now);
        self.refresh(picture, now);
        if self.rebase.is_some() {
            return self.shown.listing.clone();
        }
        if self.is_union(picture) || member == self.active {
            return self.current();
        }
        let (listing, origin) = self.of_member(member, picture)?;
        Some(self.aside(listing, origin, picture, now))
    }

    /// All members of a union have answered a question, or have not: what is to be answered then. `None`: nobody has.
    pub(crate) fn answered_all(
        &mut self,
        answers: &[(usize, Option<Listing>)],
        picture: &Picture,
        now: Instant,
    ) -> Option<Listing> {
        let proven =
            |answer: &Option<Listing>| answer.as_ref().is_some_and(|one| one.authority != Authority::Stale);
        let mut live: Vec<_> = vec![false; self.slots.len()];
        for (member, answer) in answers.iter().filter(|(_, answer)| proven(answer)) {
            let slot = self.slots.get_mut(*member)?;
            slot.take(Ok(WatchEvent::Listing(answer.clone()?)), now);
            live[*member] = slot.is_proven();
        }
        self.refresh(picture, now);
        if live.iter().all(|live| !live) {
            let (member, stale) = answers.iter().find(|(_, answer)| answer.is_some())?;
            return self.answered(*member, stale.as_ref()?, picture, now);
        }
        if live.iter().all(|live| *live)
            && let Some(current) = self.current()
        {
            return Some(current);
        }
        let (listing, origin) = self.merged(&live, picture, now);
        Some(self.aside(listing, origin, picture, now))
    }

    /// Gives an answer its place that is not what followers are shown; what they are shown comes after it.
    fn aside(&mut self, mut listing: Listing, origin: Origin, picture: &Picture, now: Instant) -> Listing {
        self.raise(&mut listing, now);
        // Said again, it proves nothing: else two who tell of different members would have each other told for ever.
        if let Some((said, at)) = &self.beside
            && *at == self.position
            && same_content(said, &listing)
        {
            let mut said = said.clone();
            said.authority = Authority::Stale;
            return said;
        }
        let (answer, _) = self.number(listing, origin, now);
        self.refresh(picture, now);
        if let Some(shown) = &mut self.shown.listing
            && (shown.epoch, shown.revision) != (self.position.epoch, self.position.revision)
        {
            self.position.advance(false);
            (shown.epoch, shown.revision) = (self.position.epoch, self.position.revision);
            self.shown.listing_no += 1;
        }
        self.beside = Some((answer.clone(), self.position));
        answer
    }

    /// What is shown, as an answer. `None` while there is trouble.
    fn current(&self) -> Option<Listing> {
        let listing = self.shown.listing.clone().filter(|_| self.shown.trouble.is_none())?;
        Some(match self.shown.as_of {
            Some(as_of) => listing.with_as_of(as_of),
            None => listing,
        })
    }

    /// The members, the choice among them, or the time have changed.
    pub(crate) fn refresh(&mut self, picture: &Picture, now: Instant) {
        let before = std::mem::replace(&mut self.active, picture.active);
        if self.is_union(picture) {
            self.rebase = None;
            return self.refresh_union(picture, now);
        }
        if before != picture.active && self.settings.topology == Topology::Standby {
            self.rebase(before, now);
        }
        let active = picture.active;
        let slot = &self.slots[active];
        let outlook = &picture.members[active];
        let trouble = slot.trouble_at(now).or_else(|| silence(slot, outlook));
        let troubles = self.slots.iter().map(|slot| slot.troubles).sum();
        let as_of = slot.as_of;
        if let Some(rebase) = &mut self.rebase {
            let listing = self.slots[active].known().filter(|_| trouble.is_none());
            let left = (&self.slots[rebase.from()], &picture.members[rebase.from()]);
            if let Some(left) = left.0.listing.as_ref().filter(|_| is_live(left.0, left.1)) {
                rebase.is_told_by(left, listing);
            }
            if !rebase.is_over(active, listing, &self.settings, now) {
                let merged = rebase.merged(listing);
                let held = trouble.or_else(|| Some(Rebase::cause(&self.sources[active + 1])));
                return self.show_rebased(merged, held, troubles, now);
            }
            self.rebase = None;
        }
        match self.of_member(active, picture) {
            Some((listing, origin)) => self.show(listing, origin, trouble, troubles, as_of, now),
            None => self.show_trouble(trouble, troubles),
        }
    }

    /// The share of what is shown that `member` lists. 1.0 where nothing is shown.
    pub(crate) fn coverage(&self, member: usize) -> f64 {
        let Some(shown) = &self.shown.listing else { return 1.0 };
        let Some(slot) = self.slots.get(member) else { return 0.0 };
        let Some(listing) = slot.listing.as_ref().filter(|_| slot.is_proven()) else { return 0.0 };
        super::rebase::coverage(&shown.instances, &listing.instances)
    }

    /// The share of those whom `member` is known to list, without `own`, that `active` lists, too. 1.0 where there is nobody.
    pub(crate) fn share_of(&self, member: usize, active: usize, own: &HashSet<InstanceKey>) -> f64 {
        let listed = |member: usize| {
            let slot = self.slots.get(member).filter(|slot| slot.is_proven());
            slot.and_then(|slot| slot.listing.as_ref()).map(|listing| listing.instances.clone())
        };
        let others = listed(member).unwrap_or_default();
        let others: Vec<_> = others.iter().filter(|one| !own.contains(&one.key)).cloned().collect();
        super::rebase::coverage(&others, &listed(active).unwrap_or_default())
    }

    /// Whether the last that was heard of `member` is that its watch fails, or that it may not be read, whatever it says to
    /// probes. One that is asked for fewer requests is not.
    pub(crate) fn is_unheard(&self, member: usize) -> bool {
        let trouble = self.slots.get(member).and_then(|slot| slot.trouble.as_ref());
        trouble.is_some_and(|error| error.counts_as_outage() || error.is_misconfiguration())
    }

    fn is_union(&self, picture: &Picture) -> bool {
        self.settings.topology == Topology::Union && !picture.forced
    }

    /// What `member` says, in the backend's name.
    fn of_member(&self, member: usize, picture: &Picture) -> Option<(Listing, Origin)> {
        let mut listing = self.slots.get(member)?.known()?.clone();
        // Degraded: read, flagged, and never believed about removals.
        if picture.members.get(member)?.state == MemberState::Degraded {
            listing.authority = Authority::Stale;
        }
        listing.source = self.sources.get(member + 1)?.clone();
        let origin = Origin { source: member + 1, epochs: vec![Some(listing.epoch)] };
        Some((listing, origin))
    }

    fn refresh_union(&mut self, picture: &Picture, now: Instant) {
        let troubles = self.slots.iter().map(|slot| slot.troubles).sum();
        let live: Vec<_> =
            self.slots.iter().zip(&picture.members).map(|(slot, outlook)| is_live(slot, outlook)).collect();
        if !live.contains(&true) {
            let active = picture.active;
            let silent =
                || self.slots.iter().zip(&picture.members).find_map(|(slot, outlook)| silence(slot, outlook));
            let trouble = self.slots.get(active).and_then(|slot| slot.trouble.clone());
            let trouble =
                trouble.or_else(|| self.slots.iter().find_map(|slot| slot.trouble.clone())).or_else(silent);
            return self.show_trouble(trouble, troubles);
        }
        let (listing, origin) = self.merged(&live, picture, now);
        let as_of = listing.as_of;
        self.show(listing, origin, None, troubles, Some(as_of), now);
    }

    /// What all members say together, of whom some are live.
    fn merged(&mut self, live: &[bool], picture: &Picture, now: Instant) -> (Listing, Origin) {
        let former = self.shown.listing.as_ref().map(|listing| listing.instances.clone());
        let states = picture.members.iter().map(|outlook| outlook.state);
        let recovering: Vec<_> =
            states.map(|state| !matches!(state, MemberState::Healthy | MemberState::Suspect)).collect();
        let Merged { instances, skipped, authority, as_of } =
            union::merge(&mut self.slots, live, &recovering, former.as_deref().unwrap_or_default(), now);
        let epochs =
            self.slots.iter().map(|slot| slot.listing.as_ref().map(|listing| listing.epoch)).collect();
        let mut listing = Listing::new(self.sources[0].clone(), authority, instances).with_as_of(as_of);
        listing.skipped = skipped;
        (listing, Origin { source: 0, epochs })
    }

    /// Stays with what was shown, after a switch to a member that does not have it yet.
    fn rebase(&mut self, from: usize, now: Instant) {
        match &mut self.rebase {
            Some(rebase) if rebase.returns_to(self.active) => self.rebase = None,
            Some(rebase) => rebase.goes_on(now, &self.settings),
            None => {
                let shown = self.shown.listing.as_ref().filter(|listing| !listing.instances.is_empty());
                let left = self.slots[from].listing.as_ref();
                let rebase = |shown: &Listing| Rebase::new(shown.clone(), from, left, now, &self.settings);
                self.rebase = shown.map(rebase);
            }
        }
    }

    fn show_rebased(&mut self, mut listing: Listing, trouble: Option<Error>, troubles: u64, now: Instant) {
        self.raise(&mut listing, now);
        let same = self.shown.listing.as_ref().is_some_and(|shown| same_content(shown, &listing));
        if !same {
            self.position.advance(false);
            self.shown.listing = Some(listing.at(self.position.epoch, self.position.revision));
            self.shown.listing_no += 1;
        }
        self.show_trouble(trouble, troubles);
    }

    fn show(
        &mut self,
        listing: Listing,
        origin: Origin,
        trouble: Option<Error>,
        troubles: u64,
        as_of: Option<Instant>,
        now: Instant,
    ) {
        let (listing, news) = self.number(listing, origin, now);
        let healed = trouble.is_none() && self.shown.trouble.is_some();
        if news || healed || self.shown.listing.is_none() {
            self.shown.listing = Some(listing);
            self.shown.listing_no += 1;
        }
        if trouble.is_some() {
            return self.show_trouble(trouble, troubles);
        }
        (self.shown.trouble, self.troubles) = (None, troubles);
        if self.shown.as_of < as_of || self.shown.as_of.is_none() {
            self.shown.as_of = as_of;
            self.shown.progress_no += 1;
        } else if news {
            self.shown.as_of = as_of;
        }
    }

    fn show_trouble(&mut self, trouble: Option<Error>, troubles: u64) {
        let Some(trouble) = trouble else { return };
        if self.shown.trouble.is_none() || troubles != self.troubles {
            self.shown.trouble_no += 1;
        }
        self.troubles = troubles;
        self.shown.trouble = Some(trouble);
    }

    /// Nobody goes back to a former version.
    fn raise(&mut self, listing: &mut Listing, now: Instant) {
        let shown = self.shown.listing.as_ref().map(|shown| &*shown.instances).unwrap_or_default();
        if let Some(newest) = self.newest.of(&listing.instances, shown, now) {
            listing.instances = newest.into();
        }
    }

    /// Gives `listing` its place; whether it is another one than what was handed out last.
    fn number(&mut self, mut listing: Listing, origin: Origin, now: Instant) -> (Listing, bool) {
        self.raise(&mut listing, now);
        let elsewhere = self.origin.as_ref().is_some_and(|former| former.differs(&origin));
        let same =
            !elsewhere && self.shown.listing.as_ref().is_some_and(|shown| same_content(shown, &listing));
        if !same {
            self.position.advance(elsewhere);
        }
        self.origin = Some(match &self.origin {
            Some(former) => former.followed_by(origin),
            None => origin,
        });
        let position = self.position;
        (listing.at(position.epoch, position.revision), !same)
    }
}

/// Whether a member's last word counts as of now.
fn is_live(slot: &Slot, outlook: &Outlook) -> bool {
    slot.is_proven() && outlook.state != MemberState::Degraded && silence(slot, outlook).is_none()
}

/// The cause, where a member is down and has said nothing since: a watch that hangs shows no error of its own.
fn silence(slot: &Slot, outlook: &Outlook) -> Option<Error> {
    let heard = slot.heard_at.is_some_and(|at| at >= outlook.since);
    if outlook.state != MemberState::Down || heard {
        return None;
    }
    Some(outlook.cause.clone().unwrap_or_else(|| Error::unavailable("it does not answer")))
}
