//! Owners and onlookers over two registries, and what is owed to them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::{Backend, Error, InstanceId, Listing, Pair as Version, Read, Result, ServiceKey, Ttl};
use callsign_failover::{Failover, Settings, Topology};
use callsign_testkit::Guard;
use callsign_testkit::history::{Bounds, Rule, Violation};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::onlooker::Onlooker;
use super::ways::{Group, Ways};
use crate::folder::temporary;
use crate::rounds::Ground;
use crate::rounds::book::Book;
use crate::rounds::process::Process;

/// How many ids there are, and how many processes own them.
pub(crate) const IDS: usize = 12;
pub(crate) const PROCESSES: usize = 4;
/// How long a member may need until it is preferred again: it is probed, and has to stay well.
pub(crate) const RETURNED: Duration = Duration::from_secs(40);
/// What a machine that has much to do adds to what is promised.
pub(crate) const SLACK: Duration = Duration::from_secs(2);
/// What a view may be behind: until a member is left, and its successor has answered. Who has left is never
/// shown again.
const LATE: Bounds = Bounds::both(Duration::from_secs(15)).with_returns(Duration::ZERO);
const POLL: Duration = Duration::from_millis(20);

/// A preferred registry, and the one for when it is away.
#[derive(Debug, Clone)]
pub struct Pair {
    /// What is hurt.
    pub main: Ground,
    /// What stays well.
    pub backup: Ground,
}

/// What came of a cell.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome {
    /// How many look-ups were made.
    pub looked_up: usize,
    /// How many of them found nobody.
    pub failed: usize,
    /// How long onlookers took to turn away from the first registry, where the cell has measured it.
    pub switched: Vec<Duration>,
    /// What was wrong.
    pub complaint: Option<String>,
}

/// Owners, onlookers, and the ways between them and a pair of registries.
pub struct Stage {
    /// The registries.
    pub pair: Pair,
    /// How they behave as one.
    pub topology: Topology,
    /// The ways to the first registry.
    pub main: Arc<Ways>,
    /// The ways to the second one.
    pub backup: Arc<Ways>,
    pub(crate) service: ServiceKey,
    pub(crate) book: Book,
    pub(crate) ttl: Duration,
    pub(crate) processes: Mutex<Vec<Option<Process>>>,
    pub(crate) onlookers: Mutex<Vec<Arc<Onlooker>>>,
    pub(crate) switched: Mutex<Vec<Duration>>,
    /// Whether single removals that nobody announced were believed, as they may be.
    pub(crate) believed: AtomicBool,
    pub(crate) folder: TempDir,
    witnesses: [Arc<dyn Backend>; 2],
}

/// Times that suit a test: as the defaults, where something has to be noticed; shorter, where something has to be waited
/// for.
fn settings(topology: Topology, ttl: Duration) -> Settings {
    let second = Duration::from_secs(1);
    let settings = Settings::default().with_topology(topology);
    // On a machine that has a lot to do an answer takes its time.
    let settings = settings.with_down_interval(second).with_probe_timeout(second * 3 / 2);
    // Who registers nothing knows no ttl: a registry that begins all leases anew must not be read before they have ended.
    settings.with_failback_dwell(ttl + 5 * second)
}

impl Stage {
    /// Everybody is registered, and every view shows them.
    pub(super) async fn begin(pair: &Pair, topology: Topology) -> Result<Arc<Self>> {
        let (main, backup) = (Ways::open(&pair.main)?, Ways::open(&pair.backup)?);
        let direct = |ground: &Ground| ground.0.client(&ground.0.doors()?);
        // A renewal may take a third of it, on a machine that has a lot to do.
        let ttl = pair.main.promises().ttl.max(pair.backup.promises().ttl) + SLACK;
        let stage = Arc::new(Self {
            witnesses: [direct(&pair.main)?, direct(&pair.backup)?],
            pair: pair.clone(),
            topology,
            main,
            backup,
            service: ServiceKey::new(format!("orders-{:08x}", fastrand::u32(..)))?,
            book: Book::new(),
            ttl,
            processes: Mutex::new((0..PROCESSES).map(|_| None).collect()),
            onlookers: Mutex::default(),
            switched: Mutex::default(),
            believed: AtomicBool::new(false),
            folder: temporary("pairs")?,
        });
        for nth in 0..4 {
            let group = if nth % 2 == 0 { Group::Onlookers } else { Group::OtherOnlookers };
            stage.look_on(&format!("onlooker {nth}"), group, |_| true)?;
        }
        for id in 0..IDS {
            stage.register(id).await?;
        }
        stage.until("everybody is seen", RETURNED, Self::well).await.map_err(Error::unavailable)?;
        Ok(stage)
    }

    /// A failover on the ways of `group`, to those doors of the first registry that `chosen` names.
    pub(crate) fn failover(
        &self,
        group: Group,
        chosen: impl Fn(usize) -> bool,
        journal: Option<&str>,
    ) -> Result<Failover> {
        let journal = journal.map(|name| self.folder.path().join(name));
        Failover::builder("both")
            .member("main", self.main.client(group, chosen)?)
            .member("backup", self.backup.client(group, |_| true)?)
            .settings(settings(self.topology, self.ttl))
            .journal(journal)
            .build()
    }

    /// Another onlooker.
    pub(crate) fn look_on(
        &self,
        name: &str,
        group: Group,
        chosen: impl Fn(usize) -> bool,
    ) -> Result<Arc<Onlooker>> {
        let failover = self.failover(group, chosen, None)?;
        let onlooker = Arc::new(Onlooker::start(name, failover, &self.service, &self.book, None)?);
        self.all_onlookers().push(onlooker.clone());
        Ok(onlooker)
    }

    /// Registers an id in the process that owns it, and does not wait for it.
    pub(crate) async fn register(&self, id: usize) -> Result<()> {
        let number = id % PROCESSES;
        let group = if number.is_multiple_of(2) { Group::Owners } else { Group::OtherOwners };
        let taken = self.all_processes()[number].take();
        let mut process = match taken {
            Some(process) => process,
            None => {
                let failover = self.failover(group, |_| true, Some(&format!("journal-{number}")))?;
                Process::start(Arc::new(failover), Ttl::new(self.ttl)?, &self.book)?
            }
        };
        let registered = process.register(&self.service, &name(id)?, 100).await;
        self.all_processes()[number] = Some(process);
        registered
    }

    pub(crate) fn all_processes(&self) -> MutexGuard<'_, Vec<Option<Process>>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn all_onlookers(&self) -> MutexGuard<'_, Vec<Arc<Onlooker>>> {
        self.onlookers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those who look on now.
    #[must_use]
    pub fn onlookers(&self) -> Vec<Arc<Onlooker>> {
        self.all_onlookers().clone()
    }

    /// What a registry lists of the service, asked past everything.
    pub(crate) async fn listed(&self, member: usize) -> Result<Listing> {
        self.witnesses[member].list(&self.service, Read::Quorum).await
    }

    /// Waits until `holds`. How long it took, or what is wrong.
    pub(crate) async fn until(
        &self,
        what: &str,
        within: Duration,
        holds: impl Fn(&Self) -> Result<(), String>,
    ) -> Result<Duration, String> {
        let begin = Instant::now();
        loop {
            match holds(self) {
                Ok(()) => return Ok(begin.elapsed()),
                Err(wrong) if begin.elapsed() > within => {
                    return Err(format!("not {what} within {within:?}: {wrong}"));
                }
                Err(_) => sleep(POLL).await,
            }
        }
    }

    /// Waits until every onlooker has turned away from the first registry; how soon is part of the outcome.
    pub(crate) async fn until_left(&self, since: Instant, bound: Duration) -> Result<(), String> {
        self.until("turned away from main", bound + SLACK, |stage| {
            let stays = stage.onlookers().into_iter().find(|one| *one.control.state().active == *"main");
            stays.map_or(Ok(()), |one| {
                Err(format!("{} reads main: {:?}", one.name, one.control.state().members))
            })
        })
        .await?;
        let left = |one: &Arc<Onlooker>| {
            one.find(since, |kind| matches!(kind, callsign_core::EventKind::Switched { .. }))
        };
        let all: Vec<_> = self.onlookers().iter().filter_map(left).collect();
        self.switched.lock().unwrap_or_else(PoisonError::into_inner).extend(all);
        Ok(())
    }

    /// Waits until every onlooker reads the first registry again.
    pub(crate) async fn until_returned(&self) -> Result<(), String> {
        let returned = self.until("returned to main", RETURNED, |stage| {
            let away = stage.onlookers().into_iter().find(|one| *one.control.state().active != *"main");
            away.map_or(Ok(()), |one| {
                Err(format!("{} reads backup: {:?}", one.name, one.control.state().members))
            })
        });
        returned.await.map(drop)
    }

    /// Whether every owner is registered, and every view shows exactly that.
    pub(crate) fn well(&self) -> Result<(), String> {
        let mut expected: BTreeMap<InstanceId, Version> = BTreeMap::new();
        for process in self.all_processes().iter().flatten() {
            expected.extend(process.settled()?);
        }
        match self.book.under_way() {
            0 => self.all_onlookers().iter().try_for_each(|one| one.watcher.agrees(&expected)),
            count => Err(format!("{count} changes have not ended")),
        }
    }

    /// Heals a fault of a registry.
    pub(crate) async fn heal(&self, guard: Guard) -> Result<(), String> {
        guard.heal().await.map_err(|error| format!("it does not heal: {error}"))
    }

    /// Everything heals; then everything must be right in time, and nothing may ever have been wrong.
    pub(super) async fn end(&self) -> Result<(), String> {
        self.main.mend();
        self.backup.mend();
        self.until("well", self.ttl + Duration::from_secs(10) + SLACK, Self::well).await?;
        let (looked_up, failed) = self.looked_up();
        if failed > 0 || looked_up == 0 {
            return Err(format!("{failed} of {looked_up} look-ups failed"));
        }
        let excused =
            |violation: &Violation| violation.rule == Rule::NoGaps && self.believed.load(Ordering::SeqCst);
        match self.book.history.violations(&LATE).iter().find(|violation| !excused(violation)) {
            Some(violation) => Err(violation.to_string()),
            None => Ok(()),
        }
    }

    fn looked_up(&self) -> (usize, usize) {
        let each = self.onlookers();
        let each = each.iter().map(|one| one.looked_up());
        each.fold((0, 0), |(made, failed), (more, of_them)| (made + more, failed + of_them))
    }

    pub(super) fn outcome(&self, complaint: Option<String>) -> Outcome {
        let (looked_up, failed) = self.looked_up();
        let switched = self.switched.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Outcome { looked_up, failed, switched, complaint }
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stage")
            .field("pair", &self.pair)
            .field("topology", &self.topology)
            .finish_non_exhaustive()
    }
}

pub(crate) fn name(id: usize) -> Result<InstanceId> {
    InstanceId::new(format!("i-{id:02}"))
}
