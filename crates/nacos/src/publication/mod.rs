//! What is registered: published, renewed, withdrawn, and withdrawn when nobody renews it.
//!
//! A connection publishes one set of instances of each service, and each write replaces it. So there is one writer, the
//! upkeep, and whoever registers puts down what he wants and waits until a set that holds it has been taken.

mod ledger;
mod member;
mod sender;
mod set;
mod sift;
#[cfg(test)]
mod tests;
mod upkeep;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::task::{Spawner, Task};
use callsign_core::{Error, Receipt, Record, Result};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::codec::{Place, encode, place_of};
use crate::error::{Call, timed_out};
use crate::session::{Live, Session};
use crate::watch::{Subscriptions, query};
use ledger::Ledger;
use set::Ticket;

/// Services share so many turns.
const TURNS: usize = 32;

/// What is published by this backend.
pub(crate) struct Publications {
    keeper: Arc<Keeper>,
    upkeep: Mutex<Option<Task>>,
}

/// What callers and upkeep share.
struct Keeper {
    session: Arc<Session>,
    subscriptions: Arc<Subscriptions>,
    ledger: Mutex<Ledger>,
    /// Something was put down.
    wanted: Notify,
    /// One proof of a service at a time: who waits for it finds what the one before has found.
    proving: [tokio::sync::Mutex<()>; TURNS],
}

impl Publications {
    pub(crate) fn new(session: Arc<Session>, subscriptions: Arc<Subscriptions>) -> Self {
        let keeper = Keeper {
            session,
            subscriptions,
            ledger: Mutex::default(),
            wanted: Notify::new(),
            proving: Default::default(),
        };
        Self { keeper: Arc::new(keeper), upkeep: Mutex::default() }
    }

    pub(crate) async fn register(&self, record: &Record) -> Result<Receipt> {
        let keeper = &*self.keeper;
        let (place, host) = (place_of(&record.key().service)?, Arc::new(encode(&record.instance)?));
        let live = match keeper.session.live().await {
            Ok(live) => live,
            Err(error) => {
                // What is wanted now is not what would be published again when there is a connection.
                keeper.ledger().forget(&place, record);
                return Err(error);
            }
        };
        self.begin_upkeep()?;
        let on = (live.generation, live.connection()?.flavour);
        let (ticket, lost) = keeper.ledger().register(&place, record, host, on, Instant::now())?;
        keeper.taken(&live, ticket, record).await?;
        Ok(Receipt::new(record.ttl.get()).with_lost(lost))
    }

    pub(crate) async fn renew(&self, record: &Record) -> Result<Receipt> {
        let keeper = &*self.keeper;
        let place = place_of(&record.key().service)?;
        if keeper.session.is_closed() {
            return Err(keeper.session.why());
        }
        // The owner lives, whether or not a server is there.
        let renewing = keeper.ledger().renewing(&place, record, Instant::now());
        let live = keeper.session.live().await?;
        let ticket = renewing?;
        keeper.taken(&live, ticket, record).await?;
        if keeper.ledger().is_unproven(&place, record, Instant::now()) {
            keeper.prove(&live, record).await?;
        }
        let lost = keeper.ledger().renewed(&place, record)?;
        Ok(Receipt::new(record.ttl.get()).with_lost(lost))
    }

    pub(crate) async fn deregister(&self, record: &Record) -> Result<Receipt> {
        let keeper = &*self.keeper;
        let place = place_of(&record.key().service)?;
        // Whether or not a server is there: it is never published again.
        let removing = keeper.ledger().deregister(&place, record);
        let live = keeper.session.live().await?;
        if let Some(ticket) = removing? {
            keeper.taken(&live, ticket, record).await?;
        }
        Ok(Receipt::new(record.ttl.get()))
    }

    /// Ends the upkeep, for good.
    pub(crate) fn close(&self) {
        self.upkeep().take();
    }

    /// Starts the one writer, unless it was.
    pub(crate) fn begin_upkeep(&self) -> Result<()> {
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

fn turn_of(place: &Place) -> usize {
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    usize::try_from(hasher.finish() % TURNS as u64).unwrap_or_default()
}

impl Keeper {
    /// Waits until the server has taken on `live` what `ticket` stands for.
    async fn taken(&self, live: &Live, mut ticket: Ticket, record: &Record) -> Result<()> {
        self.wanted.notify_one();
        let subject = format!("publish {}", record.key());
        // One set may be under way before the one that holds this.
        let limit = self.session.settings().request_timeout * 2 + Duration::from_secs(1);
        tokio::select! {
            biased;
            taken = timeout(limit, ticket.taken(live.generation)) => {
                taken.unwrap_or_else(|_| Err(timed_out(limit, Call::write(&subject)).error))
            }
            () = self.session.disconnected(live) => {
                let cause = self.session.why();
                let context = format!("cannot {subject}: the connection is lost: {}", cause.context());
                Err(Error::new(cause.kind(), context).with_outcome_unknown())
            }
        }
    }

    /// Asks the server what it has of the record's service, for all of its records that are published here.
    async fn prove(&self, live: &Live, record: &Record) -> Result<()> {
        let place = place_of(&record.key().service)?;
        let limit = self.session.settings().request_timeout;
        // Who has the turn may have been left alone in the middle of it; to ask twice does no harm.
        let _turn = timeout(limit, self.proving[turn_of(&place)].lock()).await;
        let asked = Instant::now();
        if !self.ledger().is_unproven(&place, record, asked) {
            return Ok(());
        }
        let answer = query(&place, &*live.connection()?).await.map_err(|failure| failure.error)?;
        let hosts = answer.service_info.and_then(|info| info.hosts).unwrap_or_default();
        let hosts = hosts.iter().filter_map(|host| serde_json::from_str(host.get()).ok());
        self.ledger().proven(&place, live.generation, asked, &hosts.collect::<Vec<_>>());
        self.wanted.notify_one();
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // No change of it can be seen half done.
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
