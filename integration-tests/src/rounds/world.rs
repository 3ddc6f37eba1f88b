//! One registry, its owners and its views, round after round.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{InstanceId, Result, ServiceKey, Ttl};
use tokio::time::{Instant, sleep, sleep_until};

use super::Outcome;
use super::book::Book;
use super::ground::{Ground, Promises};
use super::plan::{Act, IDS, PROCESSES, Round};
use super::process::{Leave, Process};
use super::trouble::Trouble;
use super::watcher::Watcher;
use super::ways::Ways;

const VIEWS: usize = 3;
/// Who leaves or is lost leaves at least so many behind: an empty set would hide what is missing from it.
const AT_LEAST: usize = 8;
/// How much longer than promised something may take before it is given up: late is worth telling from never.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

pub(super) struct World {
    ground: Ground,
    promises: Promises,
    ways: Arc<Ways>,
    service: ServiceKey,
    pub(super) book: Book,
    processes: Vec<Option<Process>>,
    /// How many processes were started in this round.
    begun: usize,
    watchers: Vec<Watcher>,
}

impl World {
    /// Everybody is registered, and every view shows them.
    pub(super) async fn begin(ground: Ground) -> Result<Self> {
        let ways = Ways::open(&*ground.0)?;
        let mut world = Self {
            promises: ground.promises(),
            ground,
            ways,
            service: ServiceKey::new("orders")?,
            book: Book::new(),
            processes: (0..PROCESSES).map(|_| None).collect(),
            begun: 0,
            watchers: Vec::new(),
        };
        for number in 0..VIEWS {
            let backend = world.ground.0.client(&world.ways.for_views())?;
            let watcher = Watcher::start(format!("view {number}"), backend, &world.service, &world.book)?;
            world.watchers.push(watcher);
        }
        for id in 0..IDS {
            world.act(Act::Touch { id, weight: 100 }).await?;
        }
        world.settled().await.map_err(callsign_core::Error::unavailable)?;
        Ok(world)
    }

    /// Something happens, and is over; all is well again; somebody dies, and is gone.
    pub(super) async fn live_through(&mut self, round: &Round) -> Result<Outcome> {
        let mut outcome = Outcome { what: round.to_string(), settled: None, gone: None, complaint: None };
        let leases = self.ground.0.leases().await?;
        self.begun = 0;
        for act in &round.before {
            self.act(*act).await?;
        }
        let trouble = Trouble::make(&round.fault, &self.ground, &self.ways).await?;
        let begin = Instant::now();
        for (at, act) in &round.acts {
            sleep_until(begin + *at).await;
            self.act(*act).await?;
        }
        sleep_until(begin + round.lasts).await;
        trouble.heal().await?;
        match self.settled().await {
            Ok(after) => outcome.settled = Some(after),
            Err(complaint) => {
                outcome.complaint = Some(complaint);
                return Ok(outcome);
            }
        }
        if round.fault.spares_leases(self.ground.0.shape().members)
            && let (Some(before), Some(after)) = (leases, self.ground.0.leases().await?)
        {
            let needless = after.difference(&before).count().saturating_sub(self.begun);
            if needless > 0 {
                outcome.complaint = Some(format!("{needless} leases were begun without need"));
                return Ok(outcome);
            }
        }
        match self.die(round.victim).await {
            Ok(after) => outcome.gone = after,
            Err(complaint) => outcome.complaint = Some(complaint),
        }
        Ok(outcome)
    }

    async fn act(&mut self, act: Act) -> Result<()> {
        let live: usize = self.processes.iter().flatten().map(Process::count).sum();
        match act {
            Act::Touch { id, weight } => self.touch(id, weight).await,
            Act::Crash { process } => {
                let lost = self.processes[process].as_ref().map_or(0, Process::count);
                if live - lost >= AT_LEAST {
                    self.crash(process);
                }
                Ok(())
            }
            _ if live <= AT_LEAST => Ok(()),
            Act::Drain { id, notice } => self.leave(id, Leave::Drain(notice)),
            Act::Deregister { id } => self.leave(id, Leave::Deregister),
            Act::Drop { id } => {
                let name = name(id)?;
                if let Some(process) = self.processes[id % PROCESSES].as_mut() {
                    process.let_go(&name);
                }
                Ok(())
            }
        }
    }

    async fn touch(&mut self, id: usize, weight: u16) -> Result<()> {
        let name = name(id)?;
        let process = match &mut self.processes[id % PROCESSES] {
            Some(process) => process,
            none => {
                let backend = self.ground.0.client(&self.ways.for_owners())?;
                self.begun += 1;
                none.insert(Process::start(backend, Ttl::new(self.promises.ttl)?, &self.book)?)
            }
        };
        if process.owns(&name) {
            process.update(&name, weight)
        } else if self.book.is_running(&name) {
            // One owner at a time: who leaves still runs.
            Ok(())
        } else {
            process.register(&self.service, &name, weight).await
        }
    }

    fn leave(&mut self, id: usize, how: Leave) -> Result<()> {
        match &mut self.processes[id % PROCESSES] {
            Some(process) => process.leave(&name(id)?, how),
            None => Ok(()),
        }
    }

    /// What it had registered.
    fn crash(&mut self, process: usize) -> Vec<InstanceId> {
        let Some(process) = self.processes[process].take() else { return Vec::new() };
        let ids = process.ids().cloned().collect();
        process.crash();
        ids
    }

    /// Waits until every registration is as it is wanted, and every view shows exactly that. How long it took, or what
    /// is wrong.
    async fn settled(&self) -> Result<Duration, String> {
        let begin = Instant::now();
        loop {
            let wrong = match self.well() {
                Ok(()) if begin.elapsed() <= self.promises.settled => return Ok(begin.elapsed()),
                Ok(()) => return Err(format!("all is well only after {:.1?}", begin.elapsed())),
                Err(wrong) => wrong,
            };
            if begin.elapsed() > self.promises.settled + PATIENCE {
                return Err(format!("after {:.1?} {wrong}", begin.elapsed()));
            }
            sleep(POLL).await;
        }
    }

    fn well(&self) -> Result<(), String> {
        let mut expected = BTreeMap::new();
        for process in self.processes.iter().flatten() {
            expected.extend(process.settled()?);
        }
        match self.book.under_way() {
            0 => self.watchers.iter().try_for_each(|watcher| watcher.agrees(&expected)),
            count => Err(format!("{count} changes have not ended")),
        }
    }

    /// A process crashes. How long its instances were shown, if it had any; or that they still are.
    async fn die(&mut self, process: usize) -> Result<Option<Duration>, String> {
        let ids = self.crash(process);
        if ids.is_empty() {
            return Ok(None);
        }
        let begin = Instant::now();
        while self.watchers.iter().any(|watcher| watcher.shows_any_of(&ids)) {
            if begin.elapsed() > self.promises.gone + PATIENCE {
                return Err(format!("a ghost is shown for {:.1?}", begin.elapsed()));
            }
            sleep(POLL).await;
        }
        let gone = begin.elapsed();
        if gone <= self.promises.gone {
            Ok(Some(gone))
        } else {
            Err(format!("a ghost was shown for {gone:.1?}"))
        }
    }
}

fn name(id: usize) -> Result<InstanceId> {
    InstanceId::new(format!("i-{id:02}"))
}
