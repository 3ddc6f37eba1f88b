//! The records of one service, kept up to date with what is read and what a watch shows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use callsign_core::{Authority, Instance, Interner, Listing, ServiceKey, Skipped};
use etcd_client::KeyValue;
use tokio::time::Instant;

use crate::codec;
use crate::epoch::Place;
use crate::watch::Change;

/// What is decoded once stays the same `Arc` for as long as it does not change.
#[derive(Debug)]
pub(crate) struct Records {
    service: ServiceKey,
    prefix: Arc<[u8]>,
    epoch: u64,
    revision: i64,
    entries: BTreeMap<Box<[u8]>, Entry>,
    interner: Interner,
}

#[derive(Debug, Clone)]
struct Entry {
    mod_revision: i64,
    record: Result<Arc<Instance>, Skipped>,
}

impl Records {
    pub(crate) fn new(service: ServiceKey, prefix: Arc<[u8]>) -> Self {
        Self { service, prefix, epoch: 0, revision: 0, entries: BTreeMap::new(), interner: Interner::new() }
    }

    /// Replaces everything by what was read at `place`. `known` are records of the same service whose instances may be
    /// shared.
    pub(crate) fn replace(&mut self, place: Place, kvs: &[KeyValue], known: Option<&Self>) {
        let former = std::mem::take(&mut self.entries);
        let same_epoch = self.epoch == place.epoch;
        (self.epoch, self.revision) = (place.epoch, place.revision);
        for kv in kvs {
            let own = former.get(kv.key()).map(|entry| (entry, same_epoch));
            let known = known.and_then(|known| {
                known.entries.get(kv.key()).map(|entry| (entry, known.epoch == place.epoch))
            });
            let entry = self.entry(kv.key(), kv.value(), kv.mod_revision(), own.or(known));
            self.entries.insert(kv.key().into(), entry);
        }
    }

    /// Whether anything changed.
    pub(crate) fn apply(&mut self, changes: impl IntoIterator<Item = Change>) -> bool {
        let (floor, mut any) = (self.revision, false);
        for change in changes {
            // A member that lags behind the one that was read from shows what is known already; and etcd < 3.5.22 shows
            // watches of future revisions old events (etcd#20221).
            if change.revision() <= floor {
                continue;
            }
            any = true;
            self.revision = self.revision.max(change.revision());
            match change {
                Change::Put { key, mod_revision, value, .. } => {
                    let former = self.entries.get(&*key).cloned();
                    let former = former.as_ref().map(|entry| (entry, true));
                    let entry = self.entry(&key, &value, mod_revision, former);
                    self.entries.insert((&*key).into(), entry);
                }
                Change::Deleted { key, .. } => {
                    self.entries.remove(&*key);
                }
            }
        }
        any
    }

    /// Epoch and revision of the latest change.
    pub(crate) fn place(&self) -> (u64, i64) {
        (self.epoch, self.revision)
    }

    fn entry(
        &mut self,
        key: &[u8],
        value: &[u8],
        mod_revision: i64,
        former: Option<(&Entry, bool)>,
    ) -> Entry {
        if let Some((former, true)) = former
            && former.mod_revision == mod_revision
        {
            return former.clone();
        }
        let former = former.and_then(|(former, _)| former.record.as_ref().ok());
        Entry { mod_revision, record: self.decode(key, value, former) }
    }

    fn decode(
        &mut self,
        key: &[u8],
        value: &[u8],
        former: Option<&Arc<Instance>>,
    ) -> Result<Arc<Instance>, Skipped> {
        let id = codec::id_in(&self.prefix, key)
            .map_err(|shown| Skipped::new(shown, "its key is none that callsign writes"))?;
        let mut instance =
            codec::decode(&self.service, &id, value).map_err(|reason| Skipped::new(id.as_str(), reason))?;
        if let Some(former) = former.filter(|former| ***former == instance) {
            return Ok(former.clone());
        }
        self.interner.share(&mut instance);
        Ok(Arc::new(instance))
    }

    pub(crate) fn listing(&self, source: &Arc<str>, authority: Authority, as_of: Instant) -> Listing {
        let mut instances = Vec::with_capacity(self.entries.len());
        let mut skipped = Vec::new();
        for entry in self.entries.values() {
            match &entry.record {
                Ok(instance) => instances.push(instance.clone()),
                Err(flaw) => skipped.push(flaw.clone()),
            }
        }
        let revision = u64::try_from(self.revision).unwrap_or_default();
        Listing::new(source.clone(), authority, instances)
            .at(self.epoch, revision)
            .with_as_of(as_of)
            .with_skipped(skipped)
    }
}

/// The records of the services that are being watched, for whoever else reads them.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<HashMap<ServiceKey, Weak<Mutex<Records>>>>);

impl Watched {
    /// Records of `service`, for a new watch.
    pub(crate) fn begin(&self, service: &ServiceKey, prefix: &Arc<[u8]>) -> Arc<Mutex<Records>> {
        let records = Arc::new(Mutex::new(Records::new(service.clone(), prefix.clone())));
        let mut watched = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|_, records| records.strong_count() > 0);
        watched.insert(service.clone(), Arc::downgrade(&records));
        records
    }

    pub(crate) fn get(&self, service: &ServiceKey) -> Option<Arc<Mutex<Records>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(service)?.upgrade()
    }
}

/// A panic elsewhere leaves records whole: they are replaced by the next read.
pub(crate) fn lock(records: &Mutex<Records>) -> MutexGuard<'_, Records> {
    records.lock().unwrap_or_else(PoisonError::into_inner)
}
