//! The records of one service, with leases that end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{
    Error, Health, Instance, InstanceId, LostSignal, LostTrigger, Pair, Record, Result, Skipped,
};
use tokio::sync::watch;
use tokio::time::Instant;

/// All records of one service.
#[derive(Debug)]
pub(crate) struct Service {
    slots: BTreeMap<InstanceId, Slot>,
    /// No lease ends before this. A lower bound: renewals do not raise it, the next scan does.
    earliest_expiry: Option<Instant>,
    /// What the last listing handed out; gone after a change.
    listed: Option<Listed>,
    /// The store's revision at the last change.
    revision: watch::Sender<u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) instances: Arc<[Arc<Instance>]>,
    pub(crate) skipped: Arc<[Skipped]>,
}

#[derive(Debug)]
struct Slot {
    record: Record,
    expires_at: Instant,
    lost: LostTrigger,
    signal: LostSignal,
    undecodable: bool,
    /// The lease has ended; the record is only kept.
    expired: bool,
}

impl Slot {
    /// Ends the lease, and keeps the record for longer.
    fn keep_expired(&mut self, keep: Duration) {
        self.expired = true;
        self.expires_at += keep;
        Arc::make_mut(&mut self.record.instance).health = Health::Critical;
    }
}

/// What a write did to the service.
pub(crate) enum Written {
    Changed(LostSignal),
    Extended(LostSignal),
}

impl Service {
    pub(crate) fn new(revision: u64) -> Self {
        Self {
            slots: BTreeMap::new(),
            earliest_expiry: None,
            listed: None,
            revision: watch::Sender::new(revision),
        }
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }

    pub(crate) fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// Whether nobody would miss this service: no record, no watch.
    pub(crate) fn is_idle(&self) -> bool {
        self.slots.is_empty() && self.revision.is_closed()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(crate) fn earliest_expiry(&self) -> Option<Instant> {
        self.earliest_expiry
    }

    pub(crate) fn changed(&mut self, revision: u64) {
        self.listed = None;
        self.revision.send_replace(revision);
    }

    /// Ends the leases that are over; whether there were any. Who has expired is kept as critical for `keep`, and then
    /// removed.
    pub(crate) fn expire(&mut self, now: Instant, keep: Duration, tell: bool) -> bool {
        if self.earliest_expiry.is_none_or(|at| at > now) {
            return false;
        }
        let mut changed = false;
        self.slots.retain(|_, slot| {
            while slot.expires_at <= now {
                changed = true;
                if slot.expired {
                    return false;
                }
                if tell {
                    slot.lost.fire(Error::not_found("the lease has expired"));
                }
                slot.keep_expired(keep);
            }
            true
        });
        self.earliest_expiry = self.slots.values().map(|slot| slot.expires_at).min();
        changed
    }

    pub(crate) fn put(&mut self, record: &Record, now: Instant, tell: bool) -> Result<Written> {
        let record = as_stored(record);
        let expires_at = now + record.ttl.get();
        self.earliest_expiry = Some(self.earliest_expiry.map_or(expires_at, |at| at.min(expires_at)));
        if let Some(slot) = self.slots.get_mut(record.instance.id()).filter(|slot| !slot.expired) {
            refuse_lower(&record, slot.record.pair())?;
            if slot.record.instance == record.instance && !slot.undecodable {
                slot.record.ttl = record.ttl;
                slot.expires_at = expires_at;
                return Ok(Written::Extended(slot.signal.clone()));
            }
            if tell && slot.record.instance.incarnation != record.instance.incarnation {
                slot.lost.fire(Error::conflict(record.pair(), "another owner has taken the id over"));
            }
        }
        let (lost, signal) = LostSignal::channel();
        let slot =
            Slot { expires_at, lost, signal: signal.clone(), undecodable: false, expired: false, record };
        self.slots.insert(slot.record.instance.id().clone(), slot);
        Ok(Written::Changed(signal))
    }

    pub(crate) fn renew(&mut self, record: &Record, now: Instant) -> Result<LostSignal> {
        let record = as_stored(record);
        let slot = self
            .slots
            .get_mut(record.instance.id())
            .filter(|slot| !slot.expired)
            .ok_or_else(|| Error::not_found("the record is not there"))?;
        refuse_lower(&record, slot.record.pair())?;
        if slot.undecodable || slot.record.instance != record.instance {
            return Err(Error::not_found("the record is there with other content"));
        }
        slot.expires_at = now + slot.record.ttl.get();
        Ok(slot.signal.clone())
    }

    /// Whether there was anything to remove.
    pub(crate) fn remove(&mut self, record: &Record) -> Result<bool> {
        if let Some(slot) = self.slots.get(record.instance.id()).filter(|slot| !slot.expired) {
            refuse_lower(record, slot.record.pair())?;
        }
        Ok(self.slots.remove(record.instance.id()).is_some())
    }

    /// Removes whatever is there, as an operator would. Whether there was anything.
    pub(crate) fn delete(&mut self, id: &InstanceId, tell: bool) -> bool {
        let slot = self.slots.remove(id);
        if let Some(slot) = slot.as_ref().filter(|_| tell) {
            slot.lost.fire(Error::not_found("the record was deleted"));
        }
        slot.is_some()
    }

    pub(crate) fn delete_all(&mut self, tell: bool) {
        let ids: Vec<_> = self.slots.keys().cloned().collect();
        for id in ids {
            self.delete(&id, tell);
        }
        self.earliest_expiry = None;
    }

    pub(crate) fn spoil(&mut self, id: &InstanceId) -> bool {
        self.slots.get_mut(id).map(|slot| slot.undecodable = true).is_some()
    }

    /// Everything there is; the same slice as last time when nothing has changed.
    pub(crate) fn list(&mut self) -> Listed {
        self.listed.get_or_insert_with(|| Listed::of(self.slots.values())).clone()
    }
}

impl Listed {
    pub(crate) fn nothing() -> Self {
        Self { instances: Arc::default(), skipped: Arc::default() }
    }

    fn of<'a>(slots: impl Iterator<Item = &'a Slot>) -> Self {
        let (spoilt, whole): (Vec<_>, Vec<_>) = slots.partition(|slot| slot.undecodable);
        Self {
            instances: whole.iter().map(|slot| slot.record.instance.clone()).collect(),
            // Who has expired, and cannot be read, is as good as gone.
            skipped: spoilt
                .iter()
                .filter(|slot| !slot.expired)
                .map(|slot| Skipped::new(slot.record.instance.id().as_str(), "the record cannot be decoded"))
                .collect(),
        }
    }
}

fn refuse_lower(record: &Record, holder: Pair) -> Result<()> {
    if holder > record.pair() {
        return Err(Error::conflict(
            holder,
            format!("the registry holds `{}` with the pair {holder}", record.key()),
        ));
    }
    Ok(())
}

/// What is kept of a record: health is what a registry's checks say, and this one makes none.
fn as_stored(record: &Record) -> Record {
    let mut record = record.clone();
    if record.instance.health != Health::Unknown {
        Arc::make_mut(&mut record.instance).health = Health::Unknown;
    }
    record
}
