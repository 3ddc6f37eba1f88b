//! What was registered or renewed through this backend within its ttl, and at which agent: it stays there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::{InstanceKey, Pair, Record};
use tokio::time::Instant;

use crate::codec::Registration;

#[derive(Debug, Clone)]
pub(super) struct Pin {
    pub(super) agent: usize,
    pub(super) registration: Arc<Registration>,
    pair: Pair,
    ttl: Duration,
    renewed_at: Instant,
    /// When the servers have to be asked whether they have it.
    prove_at: Instant,
}

impl Pin {
    /// A record that was not proven yet.
    pub(super) fn new(agent: usize, registration: Arc<Registration>, record: &Record, now: Instant) -> Self {
        let (pair, ttl) = (record.pair(), record.ttl.get());
        Self { agent, registration, pair, ttl, renewed_at: now, prove_at: now }
    }

    /// Whether this is the record that was registered.
    pub(super) fn is_of(&self, record: &Record) -> bool {
        self.pair == record.pair()
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.renewed_at) > self.ttl
    }
}

#[derive(Debug, Default)]
pub(super) struct Pins(Mutex<HashMap<InstanceKey, Pin>>);

impl Pins {
    /// What is known of a record, unless its ttl is over.
    pub(super) fn get(&self, key: &InstanceKey, now: Instant) -> Option<Pin> {
        self.pins().get(key).filter(|pin| !pin.is_over(now)).cloned()
    }

    /// Where a record is, unless its ttl is over.
    pub(super) fn agent(&self, key: &InstanceKey, now: Instant) -> Option<usize> {
        self.get(key, now).map(|pin| pin.agent)
    }

    pub(super) fn insert(&self, record: &Record, pin: Pin) {
        let mut pins = self.pins();
        let now = pin.renewed_at;
        // Owners that were dropped say nothing.
        if pins.len() >= 64 && pins.len().is_power_of_two() {
            pins.retain(|_, pin| !pin.is_over(now));
        }
        pins.insert(record.key().clone(), pin);
    }

    /// Takes note of a renewal. Whether a proof is due.
    pub(super) fn renewed(&self, key: &InstanceKey, now: Instant) -> bool {
        self.pins().get_mut(key).is_some_and(|pin| {
            pin.renewed_at = now;
            now >= pin.prove_at
        })
    }

    /// Takes note that the servers have the record.
    pub(super) fn proven(&self, record: &Record, now: Instant) {
        if let Some(pin) = self.pins().get_mut(record.key()).filter(|pin| pin.pair == record.pair()) {
            // Within three ttls, whichever of the renewals it falls on.
            pin.prove_at = now + pin.ttl * 5 / 2;
        }
    }

    pub(super) fn remove(&self, key: &InstanceKey) {
        self.pins().remove(key);
    }

    fn pins(&self) -> MutexGuard<'_, HashMap<InstanceKey, Pin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use callsign_core::{Instance, Ttl};

    use super::*;
    use crate::codec::encode;
    use crate::config::{CheckConfig, Tenancy};

    fn pinned(pins: &Pins, seq: u64) -> Record {
        let builder = Instance::builder("orders").id("o-1").endpoint("http://h:1").pair(Pair::new(1, seq));
        let record = Record::new(builder.build().unwrap(), Ttl::default());
        let registration = encode(&Tenancy::Prefix, &CheckConfig::default(), &record).unwrap();
        pins.insert(&record, Pin::new(1, Arc::new(registration), &record, Instant::now()));
        record
    }

    #[tokio::test(start_paused = true)]
    async fn a_pin_lasts_for_the_ttl_and_each_renewal_extends_it() {
        let pins = Pins::default();
        let record = pinned(&pins, 1);
        tokio::time::advance(record.ttl.get()).await;
        assert_eq!(pins.agent(record.key(), Instant::now()), Some(1));
        pins.renewed(record.key(), Instant::now());
        tokio::time::advance(record.ttl.get() + Duration::from_millis(1)).await;
        assert_eq!(pins.agent(record.key(), Instant::now()), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_proof_is_due_until_there_is_one_and_again_before_three_ttls() {
        let pins = Pins::default();
        let record = pinned(&pins, 1);
        let ttl = record.ttl.get();
        assert!(pins.renewed(record.key(), Instant::now()));
        pins.proven(&record, Instant::now());
        let mut since = Duration::ZERO;
        while !pins.renewed(record.key(), Instant::now()) {
            tokio::time::advance(ttl / 3).await;
            since += ttl / 3;
        }
        assert!(since <= ttl * 3, "{since:?}");
    }

    #[test]
    fn another_record_is_not_the_one_that_was_registered() {
        let pins = Pins::default();
        let (old, new) = (pinned(&pins, 1), pinned(&pins, 2));
        let pin = pins.get(new.key(), Instant::now()).unwrap();
        assert!(pin.is_of(&new) && !pin.is_of(&old));
    }
}
