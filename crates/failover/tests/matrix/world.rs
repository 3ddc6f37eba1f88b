//! Twenty owners, five onlookers, two registries, and a neighbour in another namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Discovery, Instance, InstanceId, InstanceKey, Namespace, Pair, Read, ServiceKey};
use callsign_failover::{MemberState, Topology};
use callsign_memory::{Fault, FaultGuard, Memory, Store};
use callsign_testkit::history::{Bounds, Rule};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::book::Book;
use super::onlooker::Onlooker;
use super::owner::{Owed, Owner, TTL, journal};
use super::site::{BACKUP, MAIN, NAMES, Site};
use super::support::{Trouble, Way};

/// Of the first service, and of the second.
pub(crate) const ORDERS: usize = 12;
const PAYMENTS: usize = 8;
pub(crate) const ONLOOKERS: usize = 5;
/// How long after the last fault everything must be right: the promise of the whole.
pub(crate) const SETTLED: Duration = Duration::from_secs(TTL.as_secs() + 10);
/// Until a member that is silent is left, with what it takes to look at it.
pub(crate) const NOTICED: Duration = Duration::from_millis(4_100);
/// Between two looks at what cannot be awaited.
const POLL: Duration = Duration::from_millis(5);
/// What a view may be behind: until a member is left, and its successor has answered. Who has left is never
/// shown again.
pub(crate) const LATE: Bounds = Bounds::both(Duration::from_secs(10)).with_returns(Duration::ZERO);

pub(crate) struct World {
    pub(crate) topology: Topology,
    pub(crate) stores: [Store; 2],
    pub(crate) owners: BTreeMap<InstanceId, Owner>,
    pub(crate) onlookers: Vec<Onlooker>,
    pub(crate) book: Book,
    pub(crate) folder: TempDir,
    pub(crate) dice: fastrand::Rng,
    pub(crate) owed: Owed,
    stranger: Onlooker,
}

pub(crate) fn orders() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

pub(crate) fn payments() -> ServiceKey {
    ServiceKey::new("payments").unwrap()
}

pub(crate) fn id(text: &str) -> InstanceId {
    InstanceId::new(text).unwrap()
}

impl World {
    /// Nobody is registered yet.
    pub(crate) fn new(topology: Topology, seed: u64, owed: Owed) -> Self {
        let mut dice = fastrand::Rng::with_seed(seed);
        let stores = [Store::new(), Store::new()];
        let book = Book::default();
        let onlookers = (0..ONLOOKERS).map(|nth| {
            let site = Site::new(topology, &stores, dice.u64(..), None);
            Onlooker::start(&format!("onlooker-{nth}"), site, &[orders(), payments()], &book, None)
        });
        let onlookers = onlookers.collect();
        let elsewhere = orders().with_namespace(Namespace::new("elsewhere").unwrap());
        let site = Site::new(topology, &stores, dice.u64(..), None);
        let stranger = Onlooker::start("stranger", site, &[elsewhere], &book, None);
        let folder = tempfile::tempdir().unwrap();
        Self { topology, stores, owners: BTreeMap::new(), onlookers, book, folder, dice, owed, stranger }
    }

    /// Everybody is registered and seen by everybody, and all members are well.
    pub(crate) async fn begin(topology: Topology) -> Self {
        let mut world = Self::new(topology, 0, Owed::Always);
        world.populate().await;
        world.until("everybody is seen", SETTLED, Self::well).await;
        world
    }

    /// Starts all owners.
    pub(crate) async fn populate(&mut self) {
        for nth in 0..ORDERS {
            self.start(&id(&format!("o-{nth:02}")), &orders()).await;
        }
        for nth in 0..PAYMENTS {
            self.start(&id(&format!("p-{nth:02}")), &payments()).await;
        }
    }

    /// Starts a process, or starts it again.
    pub(crate) async fn start(&mut self, id: &InstanceId, service: &ServiceKey) {
        let journal = journal(self.folder.path(), id);
        let site = Site::new(self.topology, &self.stores, self.dice.u64(..), Some(&journal));
        let owner = Owner::start(id, service, site, &self.book, self.owed).await;
        self.owners.insert(id.clone(), owner);
    }

    /// One comes, one goes, and one changes.
    pub(crate) async fn churn(&mut self) {
        self.start(&id("o-new"), &orders()).await;
        self.owners[&id("o-01")].update(7);
        self.take(&id("p-00")).leave_by_itself();
    }

    /// Waits until what [`churn`](Self::churn) has begun has happened.
    pub(crate) async fn churned(&self) {
        self.until("what was begun has happened", SETTLED, |world| {
            let listed = world.book.expected(&orders());
            let changed = listed.get(&id("o-01")).is_some_and(|pair| pair.seq > 1);
            match (listed.contains_key(&id("o-new")), changed, world.book.runs(&id("p-00"))) {
                (true, true, false) => Ok(()),
                other => Err(format!("came, changed, and stays: {other:?}")),
            }
        })
        .await;
    }

    /// Ends a process one way or another.
    pub(crate) fn take(&mut self, id: &InstanceId) -> Owner {
        self.owners.remove(id).unwrap()
    }

    /// The ways of everybody to one registry.
    pub(crate) fn ways(&self, member: usize) -> impl Iterator<Item = &Way> {
        let sites = self.owners.values().map(|owner| &owner.site);
        let sites = sites.chain(self.onlookers.iter().map(|onlooker| &onlooker.site));
        sites.chain([&self.stranger.site]).map(move |site| site.way(member))
    }

    /// Whatever goes wrong between everybody and one registry.
    pub(crate) fn trouble(&self, member: usize, trouble: Trouble) {
        self.ways(member).for_each(|way| way.set(trouble));
    }

    /// What goes wrong with one registry for everybody, until the guard is dropped.
    pub(crate) fn fault(&self, member: usize, fault: Fault) -> FaultGuard {
        self.stores[member].inject(fault)
    }

    /// An operator deletes everything of a service, one record after the other, and nothing else happens.
    pub(crate) fn delete_all(&self, member: usize, service: &ServiceKey) {
        for id in self.book.expected(service).into_keys() {
            self.stores[member].delete(&InstanceKey::new(service.clone(), id));
        }
    }

    /// Waits until `holds`, and says how long it took.
    pub(crate) async fn until(
        &self,
        what: &str,
        within: Duration,
        holds: impl Fn(&Self) -> Result<(), String>,
    ) -> Duration {
        let begin = Instant::now();
        loop {
            match holds(self) {
                Ok(()) => return begin.elapsed(),
                Err(why) if begin.elapsed() >= within => panic!("not {what} within {within:?}: {why}"),
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// Waits until every onlooker's member is in a state that `matches`, counted from `since`.
    pub(crate) async fn until_member(
        &self,
        member: usize,
        since: Instant,
        within: Duration,
        matches: fn(MemberState) -> bool,
    ) {
        self.until(&format!("seen by everybody of {}", NAMES[member]), within, |world| {
            let late = world.onlookers.iter().find(|one| one.first(member, since, matches).is_none());
            late.map_or(Ok(()), |one| Err(format!("{} sees {:?}", one.name, one.look())))
        })
        .await;
    }

    /// Waits until every onlooker has turned away from a member, counted from `since`.
    pub(crate) async fn until_left(&self, member: usize, since: Instant, within: Duration) {
        self.until(&format!("{} is left", NAMES[member]), within, |world| {
            let late =
                world.onlookers.iter().find(|one| one.left(member, since).is_none_or(|after| after > within));
            late.map_or(Ok(()), |one| Err(format!("{} sees {:?}", one.name, one.look())))
        })
        .await;
    }

    /// Waits until every onlooker reads from a member.
    pub(crate) async fn until_read(&self, member: usize, within: Duration) -> Duration {
        self.until(&format!("{} is read", NAMES[member]), within, |world| {
            let other = world.onlookers.iter().find(|one| !one.look().active[member]);
            other.map_or(Ok(()), |one| Err(format!("{} reads {:?}", one.name, one.look())))
        })
        .await
    }

    /// The most switches that any onlooker has made.
    pub(crate) fn switches(&self, since: Instant) -> usize {
        self.onlookers.iter().map(|onlooker| onlooker.switches(since)).max().unwrap_or_default()
    }

    /// Whom a registry lists, asked past everything.
    pub(crate) async fn listed(&self, member: usize, service: &ServiceKey) -> BTreeMap<InstanceId, Pair> {
        self.instances(member, service).await.iter().map(|one| (one.id().clone(), one.pair())).collect()
    }

    async fn instances(&self, member: usize, service: &ServiceKey) -> Arc<[Arc<Instance>]> {
        let reader = Memory::new(self.stores[member].clone(), "reader");
        reader.list(service, Read::Quorum).await.unwrap().instances
    }

    /// Waits until a registry lists exactly whom it should, as they were last written.
    pub(crate) async fn until_full(&self, member: usize, within: Duration) -> Duration {
        let begin = Instant::now();
        loop {
            let mut wrong = None;
            for service in [orders(), payments()] {
                let (listed, expected) = (self.listed(member, &service).await, self.book.expected(&service));
                if listed != expected {
                    wrong = Some(difference(&listed, &expected));
                }
            }
            match wrong {
                None => return begin.elapsed(),
                Some(why) if begin.elapsed() >= within => {
                    panic!("{} is not right within {within:?}: {why}", NAMES[member])
                }
                Some(_) => sleep(POLL).await,
            }
        }
    }

    /// Whether every owner is registered, and every view shows exactly that.
    pub(crate) fn well(&self) -> Result<(), String> {
        for owner in self.owners.values() {
            let state = owner.registration.state();
            if !matches!(state, callsign_client::RegistrationState::Registered { .. }) {
                return Err(format!("{} is {state}", owner.id));
            }
        }
        self.views_agree()
    }

    /// Whether all processes read the same member.
    pub(crate) fn reads_together(&self) -> Result<(), String> {
        let sites = self.owners.values().map(|owner| &owner.site);
        let sites = sites.chain(self.onlookers.iter().map(|onlooker| &onlooker.site));
        let read: BTreeSet<_> = sites.map(|site| site.control.state().active).collect();
        if read.len() == 1 { Ok(()) } else { Err(format!("some read {read:?}")) }
    }

    /// Whether every view is live, holds nobody, and shows exactly who runs.
    pub(crate) fn views_agree(&self) -> Result<(), String> {
        for service in [orders(), payments()] {
            let expected = self.book.expected(&service);
            for onlooker in &self.onlookers {
                let snapshot = onlooker.view(&service).snapshot();
                let shown = onlooker.shown(&service);
                if !snapshot.freshness.is_live() {
                    let (name, fresh, look) = (&onlooker.name, &snapshot.freshness, onlooker.look());
                    return Err(format!("{name}'s view is {fresh:?}, with {look:?}"));
                }
                if snapshot.protection.held() > 0 {
                    let held = snapshot.instances.iter().filter(|one| snapshot.is_held(one.id().as_str()));
                    let held: Vec<_> =
                        held.map(|one| (one.id().to_string(), self.book.runs(one.id()))).collect();
                    return Err(format!(
                        "{}'s view holds (and they run) {held:?}: {:?}",
                        onlooker.name, snapshot.protection
                    ));
                }
                if shown != expected {
                    return Err(format!("{}: {}", onlooker.name, difference(&shown, &expected)));
                }
            }
        }
        Ok(())
    }

    /// Whether every view shows at least who runs, however it knows.
    pub(crate) fn nobody_is_missing(&self) -> Result<(), String> {
        for service in [orders(), payments()] {
            let expected = self.book.expected(&service);
            for onlooker in &self.onlookers {
                let shown = onlooker.shown(&service);
                if let Some(id) = expected.keys().find(|id| !shown.contains_key(*id)) {
                    return Err(format!("{} lacks {id}", onlooker.name));
                }
            }
        }
        Ok(())
    }

    /// Everything heals; then everything must be right in time, and nothing may ever have been wrong.
    pub(crate) async fn end(self) {
        self.end_within(&LATE).await;
    }

    /// As [`end`](Self::end), where a view may be this much behind.
    pub(crate) async fn end_late(self, late: Duration) {
        self.end_within(&Bounds::both(late).with_returns(Duration::ZERO)).await;
    }

    async fn end_within(self, bounds: &Bounds) {
        self.trouble(MAIN, Trouble::None);
        self.trouble(BACKUP, Trouble::None);
        let healed = Instant::now();
        self.until("well", SETTLED, Self::well).await;
        self.until_full_members(SETTLED.saturating_sub(healed.elapsed())).await;
        self.nothing_was_wrong(bounds, |_| true).await;
    }

    /// Waits until the members that have everybody when all is well are right.
    pub(crate) async fn until_full_members(&self, within: Duration) {
        let begin = Instant::now();
        for member in [MAIN, BACKUP] {
            let read = self.onlookers.iter().all(|one| one.look().active[member]);
            if self.topology != Topology::Standby || read {
                self.until_full(member, within.saturating_sub(begin.elapsed())).await;
            }
        }
    }

    /// No look-up has failed, no live instance was ever missing, nobody who has left came back, and nobody
    /// saw another namespace.
    pub(crate) async fn nothing_was_wrong(&self, bounds: &Bounds, owed: impl Fn(Rule) -> bool) {
        // Whoever writes down what has happened gets a turn.
        sleep(POLL).await;
        for onlooker in &self.onlookers {
            let log = onlooker.log();
            assert!(log.looked_up > 0, "{} has looked nobody up", onlooker.name);
            let failed = log.failed.len();
            assert_eq!(failed, 0, "{}: {failed} of {} look-ups failed", onlooker.name, log.looked_up);
            drop(log);
            let told = onlooker.events_tell_what_was_seen();
            told.unwrap_or_else(|wrong| panic!("{}'s events: {wrong}", onlooker.name));
        }
        let violations = self.book.violations(bounds, owed);
        if let Some(first) = violations.first() {
            panic!("{} breaches; the first: {first}", violations.len());
        }
        assert_eq!(self.stranger.log().looked_up, 0, "somebody from another namespace was seen");
    }
}

fn difference(found: &BTreeMap<InstanceId, Pair>, expected: &BTreeMap<InstanceId, Pair>) -> String {
    let missing: Vec<_> =
        expected.keys().filter(|id| !found.contains_key(*id)).map(ToString::to_string).collect();
    let surplus: Vec<_> =
        found.keys().filter(|id| !expected.contains_key(*id)).map(ToString::to_string).collect();
    let other = expected.iter().filter(|(id, pair)| found.get(*id).is_some_and(|found| found != *pair));
    let other: Vec<_> = other.map(|(id, pair)| format!("{id} {pair} but {}", found[id])).collect();
    format!("missing {missing:?}, surplus {surplus:?}, other {other:?}")
}
