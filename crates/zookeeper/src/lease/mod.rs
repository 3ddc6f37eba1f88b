//! What is registered: written, renewed, removed, and removed when nobody renews it.

mod ledger;
mod nodes;
mod prover;
#[cfg(test)]
mod tests;
mod upkeep;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::task::{Spawner, Task};
use callsign_core::{Error, Receipt, Record, Result, stored};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use crate::error::{Call, timed_out};
use crate::session::{Live, Session};
use ledger::{Ledger, Path};
use nodes::{Outcome, Ways, Work, Writer};
use prover::Prover;

/// So many writes are under way at a time. More are not faster, and a write that waits here can be given up.
const WRITES: usize = 512;

/// The records that this backend keeps alive.
pub(crate) struct Leases {
    keeper: Arc<Keeper>,
    upkeep: Mutex<Option<Task>>,
}

/// What callers and upkeep share.
struct Keeper {
    session: Arc<Session>,
    ledger: Mutex<Ledger>,
    prover: Prover,
    ways: Ways,
    writes: Semaphore,
}

impl Leases {
    pub(crate) fn new(session: Arc<Session>) -> Self {
        let keeper = Keeper {
            session,
            ledger: Mutex::default(),
            prover: Prover::default(),
            ways: Ways::default(),
            writes: Semaphore::new(WRITES),
        };
        Self { keeper: Arc::new(keeper), upkeep: Mutex::default() }
    }

    pub(crate) async fn register(&self, record: &Record) -> Result<Receipt> {
        let keeper = &*self.keeper;
        let value = keeper.encoded(record)?;
        let live = keeper.session.live().await?;
        self.begin_upkeep()?;
        let (path, ttl) = (keeper.path(record), record.ttl.get());
        let subject = format!("write {path}");
        let turn = keeper.enter(&path, ttl);
        let work = Work::Put { value: &value, pair: record.pair() };
        match turn.write(&live, Call::write(&subject), work).await? {
            Outcome::Refused(holder) => Err(keeper.ledger().refused(&path, holder)),
            Outcome::Written(node) => {
                let now = Instant::now();
                let signal = keeper.ledger().wrote(&path, record, value.into(), node, ttl, now);
                Ok(Receipt::new(ttl).with_lost(signal))
            }
            Outcome::Gone => Err(Error::unexpected(format!("cannot {subject}: it is not there"))),
        }
    }

    pub(crate) async fn renew(&self, record: &Record) -> Result<Receipt> {
        let keeper = &*self.keeper;
        let path = keeper.path(record);
        // The owner lives, whether or not a server answers.
        let renewing = keeper.ledger().renewing(&path, record, Instant::now());
        keeper.session.live().await?;
        let expected = renewing?;
        let found = keeper.prover.look(&keeper.session, &path).await?;
        let signal = keeper.ledger().renewed(&path, &expected, found.as_ref())?;
        Ok(Receipt::new(record.ttl.get()).with_lost(signal))
    }

    pub(crate) async fn deregister(&self, record: &Record) -> Result<Receipt> {
        let keeper = &*self.keeper;
        let live = keeper.session.live().await?;
        self.begin_upkeep()?;
        let (path, ttl) = (keeper.path(record), record.ttl.get());
        let subject = format!("delete {path}");
        let turn = keeper.enter(&path, ttl);
        let work = Work::Remove { pair: record.pair() };
        match turn.write(&live, Call::write(&subject), work).await? {
            Outcome::Refused(holder) => Err(keeper.ledger().refused(&path, holder)),
            Outcome::Gone | Outcome::Written(_) => {
                keeper.ledger().removed(&path);
                Ok(Receipt::new(ttl))
            }
        }
    }

    /// Ends the upkeep, for good.
    pub(crate) fn close(&self) {
        self.upkeep().take();
    }

    fn begin_upkeep(&self) -> Result<()> {
        let mut upkeep = self.upkeep();
        if upkeep.is_none() && !self.keeper.session.is_closed() {
            *upkeep = Some(Spawner::current()?.spawn(upkeep::keep(self.keeper.clone())));
        }
        Ok(())
    }

    fn upkeep(&self) -> MutexGuard<'_, Option<Task>> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Keeper {
    fn path(&self, record: &Record) -> Path {
        self.session.settings().paths.instance(record.key()).into()
    }

    fn encoded(&self, record: &Record) -> Result<Vec<u8>> {
        let value = stored::encode(&record.instance)?;
        let limit = self.session.settings().max_value_size;
        if value.len() > limit {
            return Err(Error::limit_exceeded(format!(
                "the record of {} takes {} bytes: up to {limit} are allowed (`max_value_size`)",
                record.key(),
                value.len()
            )));
        }
        Ok(value)
    }

    fn enter(&self, path: &Path, ttl: Duration) -> Turn<'_> {
        let lane = self.ledger().enter(path, ttl, Instant::now());
        Turn { keeper: self, path: path.clone(), lane }
    }

    /// Removes what is ours at `path`, if nobody wants it.
    async fn evict(&self, live: &Live, path: &Path) -> Result<()> {
        let Some(lane) = self.ledger().evicting(path) else { return Ok(()) };
        let turn = Turn { keeper: self, path: path.clone(), lane };
        let subject = format!("remove {path}");
        let evicted = turn.write(live, Call::write(&subject), Work::Evict).await;
        match &evicted {
            Ok(_) => self.ledger().evicted(path),
            Err(_) => self.ledger().put_off(path, Instant::now()),
        }
        evicted.map(drop)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // No change of it can be seen half done.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the writes of one path, given back however the write ends.
struct Turn<'a> {
    keeper: &'a Keeper,
    path: Path,
    lane: ledger::Lane,
}

impl Turn<'_> {
    /// Waits for its turn, behind others as long as a whole listing may take, and then does `work` on the connection
    /// `live` in the time of one call.
    async fn write(&self, live: &Live, call: Call<'_>, work: Work<'_>) -> Result<Outcome> {
        let keeper = self.keeper;
        let settings = keeper.session.settings();
        let client = live.client()?;
        let in_turn = async {
            let _turn = (self.lane.lock().await, keeper.writes.acquire().await);
            if matches!(work, Work::Evict) && keeper.ledger().holds(&self.path) {
                // Registered again, while this waited for its turn.
                return Ok(Some(Outcome::Gone));
            }
            let known = keeper.ledger().knows(&self.path);
            let writer = Writer { client: &client, settings, ways: &keeper.ways };
            let written = writer.run(&self.path, work, known);
            timeout(settings.op_timeout, written).await.ok().transpose()
        };
        let limit = settings.list_timeout + settings.op_timeout;
        let written = keeper.session.run(live, limit, call, in_turn).await?;
        written.ok_or_else(|| timed_out(settings.op_timeout, call))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.keeper.ledger().leave(&self.path);
    }
}
