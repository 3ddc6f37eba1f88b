//! Records at an agent: registered, renewed, proven at the servers, and removed.

mod agent;
mod pins;
mod proof;
mod prover;
mod under_way;

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Backoff, Error, Receipt, Record, Result};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::agent::Agents;
use crate::codec::{Place, Registration, encode, instance_id};
use crate::error::Verdict;
use crate::rights::Rights;
use agent::{Home, Stored};
use pins::{Pin, Pins};
use proof::Shown;
use prover::Prover;
use under_way::{UnderWay, to_its_end};

/// How long a renewal waits for a proof at the most: the next one asks again.
const PROOF: Duration = Duration::from_secs(3);
/// How long a removal waits to be seen.
const REMOVAL: Duration = Duration::from_secs(2);

/// What is registered through this backend.
#[derive(Debug)]
pub(crate) struct Presence {
    agents: Arc<Agents>,
    pins: Pins,
    prover: Prover,
    under_way: UnderWay,
    rights: Rights,
}

impl Presence {
    pub(crate) fn new(agents: Arc<Agents>) -> Self {
        Self {
            prover: Prover::new(agents.clone()),
            agents,
            pins: Pins::default(),
            under_way: UnderWay::default(),
            rights: Rights::default(),
        }
    }

    pub(crate) async fn register(&self, record: &Record) -> Result<Receipt> {
        let settings = self.agents.settings();
        let registration = Arc::new(encode(&settings.tenancy, &settings.check, record)?);
        let pinned = self.pins.agent(record.key(), Instant::now());
        let (home, stored) = Home::find(&self.agents, pinned, &registration).await?;
        stored.refuse_lower(record)?;
        // The agent counts from later on: when the ttl is over there, it is over here.
        let renewed_at = Instant::now();
        let stored = self.write(record, home.number(), &registration, stored).await?;
        self.pins.insert(record, Pin::new(home.number(), registration.clone(), record, renewed_at));
        let shown = home.show(&registration, record, &stored);
        let (shown, committed) = tokio::join!(shown, self.confirm(record, &registration));
        let committed = committed?;
        shown?;
        if committed {
            self.pins.proven(record, Instant::now());
        }
        Ok(Receipt::new(record.ttl.get()).with_committed(committed))
    }

    pub(crate) async fn renew(&self, record: &Record) -> Result<Receipt> {
        let pin = match self.pins.get(record.key(), Instant::now()) {
            Some(pin) if pin.is_of(record) => pin,
            // Whatever is known here, the agent decides.
            other => self.adopt(record, other.map(|pin| pin.agent)).await?,
        };
        let home = Home::at(&self.agents, pin.agent);
        let renewed_at = Instant::now();
        if let Err(failure) = home.pass(&pin.registration).await {
            if matches!(failure.verdict, Verdict::Lost | Verdict::Unknown) {
                self.pins.remove(record.key());
            }
            return Err(failure.error);
        }
        let proof_is_due = self.pins.renewed(record.key(), renewed_at);
        let committed = !proof_is_due || self.prove(record, &pin.registration).await?;
        Ok(Receipt::new(record.ttl.get()).with_committed(committed))
    }

    pub(crate) async fn deregister(&self, record: &Record) -> Result<Receipt> {
        let (key, settings) = (record.key(), self.agents.settings());
        let place = Place::of(&settings.tenancy, &key.service)?;
        let id = instance_id(key);
        let homes = match self.pins.agent(key, Instant::now()) {
            Some(agent) => vec![agent],
            None => (0..self.agents.count()).collect(),
        };
        remove(&self.agents, &homes, &place, &id, record).await?;
        self.pins.remove(key);
        if let Some(earlier) = self.under_way.earlier(key) {
            // A registration that was given up may come after the removal.
            let (agents, place, id, record) =
                (self.agents.clone(), place.clone(), id.clone(), record.clone());
            to_its_end(async move {
                earlier.ended().await;
                remove(&agents, &homes, &place, &id, &record).await
            })
            .await?;
        }
        // Also where there was nothing to remove: an agent that is not asked may have it, and its servers know.
        let committed = self.is_gone(&place, &id, record).await;
        Ok(Receipt::new(record.ttl.get()).with_committed(committed))
    }

    /// Writes the record at an agent that has `stored`.
    async fn write(
        &self,
        record: &Record,
        agent: usize,
        registration: &Arc<Registration>,
        stored: Stored,
    ) -> Result<Stored> {
        let begun = self.under_way.begin(record.key());
        let (agents, registration) = (self.agents.clone(), registration.clone());
        to_its_end(async move {
            let home = Home::at(&agents, agent);
            home.write(&registration, &stored).await?;
            // A check that is there stays as it is; and an agent keeps over a restart only what it was told by a pass.
            home.pass(&registration).await.map_err(|failure| failure.error.with_outcome_unknown())?;
            begun.end();
            Ok(stored)
        })
        .await
    }

    /// A record that this backend knows nothing of, or has not heard of for longer than its ttl: it is renewed only
    /// where it still lives.
    async fn adopt(&self, record: &Record, at: Option<usize>) -> Result<Pin> {
        let settings = self.agents.settings();
        let registration = Arc::new(encode(&settings.tenancy, &settings.check, record)?);
        let (home, stored) = Home::find(&self.agents, at, &registration).await?;
        stored.refuse_lower(record)?;
        stored.refuse_lost(&registration)?;
        let pin = Pin::new(home.number(), registration, record, Instant::now());
        self.pins.insert(record, pin.clone());
        Ok(pin)
    }

    /// Waits until the servers have the record. Whether they do.
    async fn confirm(&self, record: &Record, registration: &Registration) -> Result<bool> {
        let until = Instant::now() + self.agents.settings().confirm_timeout;
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        let mut absent = false;
        // What the servers do not say in time, or cannot say, is said by a later renewal.
        while let Ok(answer) = timeout_at(until, self.prover.look(registration)).await {
            match answer.map(|entries| Shown::of(&entries, registration, record)) {
                Ok(Shown::Same) => return Ok(true),
                Ok(Shown::Higher(holder)) => return Err(proof::taken(holder, record)),
                Ok(Shown::Absent) => absent = true,
                Ok(Shown::Other) => absent = false,
                Err(error) if error.counts_as_outage() => absent = false,
                Err(error) => return Err(error),
            }
            let pause = backoff.next_delay();
            if Instant::now() + pause >= until {
                break;
            }
            sleep(pause).await;
        }
        if absent {
            self.may_see(registration).await?;
        }
        Ok(false)
    }

    /// Looks whether the servers have the record as it should be. Whether they have said so.
    async fn prove(&self, record: &Record, registration: &Registration) -> Result<bool> {
        let limit = PROOF.min(record.ttl.get() / 4);
        let Ok(answer) = timeout(limit, self.prover.look(registration)).await else { return Ok(false) };
        let shown = match answer {
            Ok(entries) => Shown::of(&entries, registration, record),
            // The agent has renewed the record; that nobody can prove it does not end it.
            Err(error) if error.counts_as_outage() => return Ok(false),
            Err(error) => return Err(error),
        };
        let lost = match shown {
            Shown::Same => {
                self.pins.proven(record, Instant::now());
                return Ok(true);
            }
            Shown::Higher(holder) => proof::taken(holder, record),
            Shown::Absent => {
                self.may_see(registration).await?;
                Error::not_found(format!("the servers do not have {}", record.key()))
            }
            Shown::Other => Error::not_found(format!("the servers have {} with other content", record.key())),
        };
        self.pins.remove(record.key());
        Err(lost)
    }

    /// That nothing is seen may be for want of rights.
    async fn may_see(&self, registration: &Registration) -> Result<()> {
        let place = Place { name: registration.name.clone(), namespace: registration.namespace.clone() };
        let subject = format!("prove that {} is registered", registration.id);
        let marks = crate::agent::Marks::default();
        self.rights.check(&self.agents, self.agents.current(), &place, marks, true, &subject).await
    }

    /// Waits until the servers do not have the record any more. Whether that was seen.
    async fn is_gone(&self, place: &Place, id: &str, record: &Record) -> bool {
        let until = Instant::now() + REMOVAL.min(self.agents.settings().confirm_timeout);
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(500));
        while let Ok(Ok(entries)) = timeout_at(until, self.prover.look_at(place, id)).await {
            if proof::is_gone(&entries, record) {
                return true;
            }
            let pause = backoff.next_delay();
            if Instant::now() + pause >= until {
                break;
            }
            sleep(pause).await;
        }
        false
    }
}

/// Removes what these agents have under `id`, unless it is higher than `record`.
async fn remove(agents: &Agents, homes: &[usize], place: &Place, id: &str, record: &Record) -> Result<()> {
    for agent in homes {
        let home = Home::at(agents, *agent);
        let stored = home.look(id, place.namespace.as_deref()).await?;
        stored.refuse_lower(record)?;
        if stored.is_there() {
            home.remove(id, place.namespace.as_deref()).await?;
        }
    }
    Ok(())
}

impl Stored {
    /// Refuses a record whose place is held by a higher pair.
    fn refuse_lower(&self, record: &Record) -> Result<()> {
        match self.pair() {
            holder if holder > record.pair() => Err(proof::taken(holder, record)),
            _ => Ok(()),
        }
    }
}
