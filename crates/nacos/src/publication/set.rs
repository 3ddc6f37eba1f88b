//! What is published of one service: who is wanted, what the server has taken, and what is to be sent. Pure.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use callsign_core::{Error, ErrorKind, InstanceId, Pair, Result};
use tokio::sync::watch;
use tokio::time::Instant;

use super::member::{Member, Stored};
use super::sift::Sift;
use crate::codec::Place;
use crate::config::Flavour;
use crate::error::Failure;
use crate::message::Host;

/// After a set was refused, or nobody knows what became of it, it is sent again after so long.
const AGAIN: Duration = Duration::from_secs(1);
/// A set of which nobody knows what became may be taken late, after those that came later. So the last one is sent once
/// more after this, when no request is under way any more.
const SETTLED: Duration = Duration::from_secs(10);

/// Where an instance is: r-nacos has one for each.
type Address = (String, u32);

#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own: of the way, the queue and the past"
)]
pub(super) struct Publication {
    pub(super) members: BTreeMap<InstanceId, Member>,
    pub(super) version: u64,
    /// What the server has taken last on this connection.
    pub(super) taken: Option<Taken>,
    /// What may be at the server, of this connection.
    pub(super) there: BTreeMap<Address, Arc<Host>>,
    /// The version up to which everything was taken or refused.
    pub(super) handled: u64,
    pub(super) under_way: bool,
    pub(super) is_waiting: bool,
    pub(super) again: bool,
    pub(super) not_before: Option<Instant>,
    /// A request of this connection may be carried out yet.
    pub(super) is_unsettled: bool,
    pub(super) settle_at: Option<Instant>,
    pub(super) sent_at: Option<Instant>,
    /// A set was refused, and it is tried whose fault that was.
    pub(super) sift: Option<Sift>,
    pub(super) told: watch::Sender<Told>,
}

#[derive(Debug)]
pub(super) struct Taken {
    pub(super) version: u64,
    pub(super) set: BTreeMap<InstanceId, Stored>,
}

/// What callers are told.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) generation: u64,
    pub(super) taken: u64,
    pub(super) failed: Option<(u64, Error)>,
}

/// Stands for a change that is waited for.
#[derive(Debug)]
pub(super) struct Ticket {
    version: u64,
    /// Why the server does not take this one.
    refusal: Arc<OnceLock<Error>>,
    told: watch::Receiver<Told>,
}

/// A whole set, for one connection.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) place: Place,
    pub(super) generation: u64,
    pub(super) action: Action,
    pub(super) version: u64,
    pub(super) set: BTreeMap<InstanceId, Stored>,
    /// Whether all of it was to be sent once more.
    pub(super) again: bool,
}

/// How a set is published.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// It has one member.
    One(Arc<Host>),
    /// It has several.
    Batch(Vec<Arc<Host>>),
    /// It is empty. A server wants to be told of an instance all the same.
    Nothing(Arc<Host>),
    /// r-nacos: those who are new or changed, and those who are no longer in it.
    Each { put: Vec<Arc<Host>>, removed: Vec<Arc<Host>> },
}

impl Action {
    /// Those that the server is told to have.
    fn told(&self) -> &[Arc<Host>] {
        match self {
            Self::One(host) => std::slice::from_ref(host),
            Self::Batch(hosts) | Self::Each { put: hosts, .. } => hosts,
            Self::Nothing(_) => &[],
        }
    }
}

impl Ticket {
    /// Waits until the set is taken on the connection `generation`.
    pub(super) async fn taken(&mut self, generation: u64) -> Result<()> {
        let version = self.version;
        let refusal = self.refusal.clone();
        let is_decided = |told: &Told| {
            told.taken >= version
                || told.failed.as_ref().is_some_and(|(failed, _)| *failed >= version)
                || refusal.get().is_some()
        };
        let decided =
            |told: &Told| told.generation > generation || told.generation == generation && is_decided(told);
        let told = self.told.wait_for(decided).await;
        if let Some(error) = refusal.get() {
            return Err(error.clone());
        }
        match told.as_deref() {
            Ok(told) if told.generation > generation => {
                Err(Error::unavailable("the connection is lost").with_outcome_unknown())
            }
            Ok(Told { failed: Some((failed, error)), taken, .. })
                if *failed >= version && *taken < version =>
            {
                Err(error.clone())
            }
            Ok(_) => Ok(()),
            // Nobody wants anything of the service any more.
            Err(_) => Err(Error::not_found("the record was removed meanwhile")),
        }
    }
}

impl Publication {
    pub(super) fn new() -> Self {
        Self {
            members: BTreeMap::new(),
            version: 0,
            taken: None,
            there: BTreeMap::new(),
            handled: 0,
            under_way: false,
            is_waiting: false,
            again: false,
            not_before: None,
            is_unsettled: false,
            settle_at: None,
            sent_at: None,
            sift: None,
            told: watch::channel(Told::default()).0,
        }
    }

    /// For what is wanted of `id` since `version`.
    pub(super) fn ticket(&self, id: &InstanceId, version: u64) -> Ticket {
        let member = self.members.get(id);
        let refusal = member.map(|member| member.refusal.clone()).unwrap_or_default();
        Ticket { version, refusal, told: self.told.subscribe() }
    }

    pub(super) fn is_due(&self) -> bool {
        self.again || self.sift.is_some() || self.version > self.handled
    }

    /// The version of the set that is to be sent now.
    pub(super) fn planned(&self) -> u64 {
        self.sift.as_ref().map_or(self.version, |sift| sift.version)
    }

    /// `id` is not wanted any more, as the owner of `pair` says.
    pub(super) fn withdraw(&mut self, id: &InstanceId, pair: Pair) {
        if let Some(member) = self.members.get_mut(id)
            && member.wanted.as_ref().is_none_or(|held| held.record.pair() <= pair)
        {
            self.version += 1;
            (member.wanted, member.version) = (None, self.version);
        }
    }

    /// How what is wanted is published, and what that is; `None` where there is nothing to be said.
    pub(super) fn plan(&mut self, flavour: Flavour) -> (Option<Action>, BTreeMap<InstanceId, Stored>) {
        let set = self.wanted();
        let hosts: Vec<_> = set.values().map(|stored| stored.host.clone()).collect();
        let action = if flavour == Flavour::RNacos {
            self.each(&hosts, &set)
        } else {
            match hosts.as_slice() {
                [] => self.there.values().next().cloned().map(Action::Nothing),
                [one] => Some(Action::One(one.clone())),
                _ => Some(Action::Batch(hosts.clone())),
            }
        };
        self.there.extend(hosts.into_iter().map(|host| (address(&host), host)));
        (action, set)
    }

    /// Who is wanted; while it is tried who is refused, those who are not tried as they were before.
    fn wanted(&self) -> BTreeMap<InstanceId, Stored> {
        let held_back = self.sift.as_ref().map(Sift::held_back).unwrap_or_default();
        let planned = self.planned();
        let wanted = |(id, member): (&InstanceId, &Member)| {
            let wanted = member.wanted.as_ref()?;
            let is_tried = member.version <= planned && !held_back.contains(id);
            let stored = if is_tried { Some(wanted) } else { self.former(id) };
            Some((id.clone(), stored?.clone()))
        };
        self.members.iter().filter_map(wanted).collect()
    }

    /// As the server has it.
    fn former(&self, id: &InstanceId) -> Option<&Stored> {
        self.taken.as_ref()?.set.get(id)
    }

    fn each(&self, hosts: &[Arc<Host>], set: &BTreeMap<InstanceId, Stored>) -> Option<Action> {
        let wanted: HashSet<(&str, u32)> = hosts.iter().map(|host| (host.ip.as_str(), host.port)).collect();
        let is_wanted = |at: &Address| wanted.contains(&(at.0.as_str(), at.1));
        let removed: Vec<_> =
            self.there.iter().filter(|(at, _)| !is_wanted(at)).map(|(_, host)| host.clone()).collect();
        let taken = self.taken.as_ref().filter(|_| !self.again);
        let is_taken = |(id, stored): &(&InstanceId, &Stored)| {
            let held = taken.and_then(|taken| taken.set.get(*id));
            held.is_some_and(|held| Arc::ptr_eq(&held.host, &stored.host))
        };
        let put: Vec<_> =
            set.iter().filter(|entry| !is_taken(entry)).map(|(_, stored)| stored.host.clone()).collect();
        (!put.is_empty() || !removed.is_empty()).then_some(Action::Each { put, removed })
    }

    /// The server has taken `set`, of which it was told by `action`; by none, as it had it already.
    pub(super) fn finish(
        &mut self,
        generation: u64,
        version: u64,
        set: BTreeMap<InstanceId, Stored>,
        action: Option<&Action>,
        now: Instant,
    ) {
        self.not_before = None;
        self.again = false;
        let told: HashSet<_> = action.map_or(&[][..], Action::told).iter().map(Arc::as_ptr).collect();
        for (id, member) in &mut self.members {
            let Some(stored) = set.get(id).filter(|_| member.wanted.is_some()) else { continue };
            member.was_taken = true;
            // A neighbour's change proves nothing about it.
            if told.contains(&Arc::as_ptr(&stored.host)) {
                member.proven_at = member.proven_at.max(now);
            }
        }
        if std::mem::take(&mut self.is_unsettled) {
            self.settle_at = Some(now + SETTLED);
        }
        if self.settle_at.is_none() {
            self.there = set.values().map(|stored| (address(&stored.host), stored.host.clone())).collect();
        }
        if self.sift.as_mut().is_some_and(|sift| !sift.was_taken()) {
            // Some of those who wait are still to be tried.
            let version = self.taken.as_ref().map_or(0, |taken| taken.version);
            self.taken = Some(Taken { version, set });
            return;
        }
        self.sift = None;
        self.handled = self.handled.max(version);
        self.members.retain(|_, member| member.wanted.is_some() || member.version > version);
        self.taken = Some(Taken { version, set });
        self.told.send_replace(Told { generation, taken: version, failed: None });
    }

    /// The server has not taken what was planned. Where it has refused several, it is tried whose fault that is; where it is
    /// no single one's, what is new is given up, and what was there before is wanted again; where nobody knows, everything
    /// is sent once more.
    pub(super) fn fail(&mut self, plan: &Plan, failure: Failure, refused: bool, now: Instant) {
        if refused && self.sift_on(plan, &failure.error) {
            return;
        }
        self.sift = None;
        let taken = self.taken.as_ref().map_or(0, |taken| taken.version);
        let error = failure.error;
        self.not_before = Some(now + AGAIN);
        if refused {
            if self.is_unsettled || plan.again {
                // What came before this may be carried out yet.
                self.settle_at = Some(now + SETTLED);
            }
            self.give_up(plan, taken, &error);
        } else {
            (self.again, self.is_unsettled) = (true, true);
        }
        self.told.send_modify(|told| {
            (told.generation, told.failed) = (plan.generation, Some((plan.version, error)));
        });
    }

    /// Goes on with the search for who is refused, or begins it; whether there is anybody to be searched for.
    fn sift_on(&mut self, plan: &Plan, error: &Error) -> bool {
        // A refusal of another kind is not about one of them, and r-nacos is told of each by itself.
        if error.kind() != ErrorKind::LimitExceeded || matches!(plan.action, Action::Each { .. }) {
            return false;
        }
        if self.sift.is_none() && !self.begins_sift(plan) {
            return false;
        }
        let Some(refused) = self.sift.as_mut().and_then(Sift::was_refused) else { return false };
        for id in refused {
            let former = self.taken.as_ref().and_then(|taken| taken.set.get(&id));
            let Some(member) = self.members.get_mut(&id) else { continue };
            // Who wants something else by now is tried with that.
            if member.version > plan.version || member.wanted.is_none() {
                continue;
            }
            if !member.refuse(error, former) {
                self.members.remove(&id);
            }
        }
        // Who waits for one that is refused need not wait for the others.
        self.told.send_modify(|_| {});
        true
    }

    /// Begins the search, if there is anybody who may be refused, and anybody else for whom that matters.
    fn begins_sift(&mut self, plan: &Plan) -> bool {
        let taken = self.taken.as_ref().map_or(0, |taken| taken.version);
        let changed = self
            .members
            .iter()
            .filter(|(_, member)| member.version > taken && member.version <= plan.version);
        let (new, leaving): (Vec<_>, Vec<_>) = changed.partition(|(_, member)| member.wanted.is_some());
        let is_late = self.taken.is_some() && (plan.again || self.is_unsettled);
        let has_more_to_say = !leaving.is_empty() || is_late;
        let begins = new.len() > 1 || new.len() == 1 && has_more_to_say;
        if begins {
            let new = new.into_iter().map(|(id, _)| id.clone()).collect();
            self.sift = Some(Sift::among(plan.version, new));
        }
        begins
    }

    /// Nobody who is new since `taken` is taken.
    fn give_up(&mut self, plan: &Plan, taken: u64, error: &Error) {
        let held = self.taken.as_ref();
        self.members.retain(|id, member| {
            if member.version > plan.version || member.version <= taken || member.wanted.is_none() {
                return true;
            }
            match held.and_then(|held| held.set.get(id)) {
                None if held.is_none() && member.was_taken => true,
                former => member.refuse(error, former),
            }
        });
        self.handled = self.handled.max(plan.version);
        // Who leaves leaves, however often that is refused; and so comes back who was there on another connection.
        self.again = held.is_none() && !self.members.is_empty()
            || self.members.values().any(|member| member.wanted.is_none() && member.version <= plan.version);
    }
}

fn address(host: &Host) -> Address {
    (host.ip.clone(), host.port)
}
