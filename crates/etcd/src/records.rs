//! The records of one service, kept up to date with what is read and what a watch shows.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use callsign_core::{Authority, Instance, Interner, Listing, ServiceKey, Skipped, stored};
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
    /// Of the value: in a registry that was wiped, and has come as far as before unnoticed, a revision means another write.
    digest: u64,
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
        let digest = digest(value);
        if let Some((former, true)) = former
            && (former.mod_revision, former.digest) == (mod_revision, digest)
        {
            return former.clone();
        }
        let former = former.and_then(|(former, _)| former.record.as_ref().ok());
        Entry { mod_revision, digest, record: self.decode(key, value, former) }
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
            stored::decode(&self.service, &id, value).map_err(|reason| Skipped::new(id.as_str(), reason))?;
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

fn digest(value: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(value);
    hasher.finish()
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

#[cfg(test)]
mod tests {
    use etcd_client::proto::PbKeyValue;

    use super::*;

    const PREFIX: &[u8] = b"/p/default/i/default/orders/";

    fn records() -> Records {
        Records::new(ServiceKey::new("orders").unwrap(), PREFIX.into())
    }

    fn key(id: &str) -> Arc<[u8]> {
        [PREFIX, id.as_bytes()].concat().into()
    }

    /// What the owner of `id` writes; no owner writes `"?"`.
    fn value(id: &str, weight: u16) -> Vec<u8> {
        let builder = Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1");
        if id == "?" {
            return b"{".to_vec();
        }
        stored::encode(&builder.weight(weight).registered_at(std::time::UNIX_EPOCH).build().unwrap()).unwrap()
    }

    fn kv(id: &str, weight: u16, mod_revision: i64) -> KeyValue {
        let (key, value) = (key(id).to_vec(), value(id, weight));
        KeyValue(PbKeyValue { key, value, mod_revision, ..PbKeyValue::default() })
    }

    fn put(id: &str, weight: u16, mod_revision: i64) -> Change {
        Change::Put { key: key(id), mod_revision, lease: 1, value: value(id, weight) }
    }

    fn deleted(id: &str, revision: i64) -> Change {
        Change::Deleted { key: key(id), revision }
    }

    fn at(epoch: u64, revision: i64) -> Place {
        Place { epoch, revision, begins: false }
    }

    fn listing(records: &Records) -> Listing {
        records.listing(&"main".into(), Authority::Quorum, Instant::now())
    }

    fn instance(records: &Records, id: &str) -> Option<Arc<Instance>> {
        let listing = listing(records);
        listing.instances.iter().find(|instance| instance.id().as_str() == id).cloned()
    }

    fn shown(records: &Records) -> Vec<(String, u32)> {
        let listing = listing(records);
        let shown = |instance: &Arc<Instance>| (instance.id().to_string(), instance.weight.get().into());
        listing.instances.iter().map(shown).collect()
    }

    #[test]
    fn the_same_revision_with_another_value_is_another_record() {
        let mut records = records();
        records.replace(at(0, 5), &[kv("a", 1, 3)], None);
        // Wiped, and written again as often as before, while nobody looked.
        records.replace(at(0, 6), &[kv("a", 2, 3)], None);
        assert_eq!(instance(&records, "a").unwrap().weight.get(), 2);
    }

    #[test]
    fn what_has_not_changed_is_the_same_instance_however_it_is_read_again() {
        let mut records = records();
        records.replace(at(0, 5), &[kv("a", 1, 3), kv("b", 1, 4)], None);
        let (a, b) = (instance(&records, "a").unwrap(), instance(&records, "b").unwrap());
        let same = |records: &Records| {
            let is = |id, known| instance(records, id).is_some_and(|found| Arc::ptr_eq(&found, known));
            (is("a", &a), is("b", &b))
        };
        records.replace(at(0, 6), &[kv("a", 1, 3), kv("b", 2, 6)], None);
        assert_eq!(same(&records), (true, false), "read again");
        records.apply([put("b", 1, 7), put("a", 1, 8)]);
        assert!(same(&records).0, "written again with the same content");
        records.replace(at(1, 2), &[kv("a", 1, 2)], None);
        assert!(same(&records).0, "written again into a registry that was wiped");
        let mut another = Records::new(records.service.clone(), PREFIX.into());
        another.replace(at(1, 2), &[kv("a", 1, 2)], Some(&records));
        assert!(same(&another).0, "read by somebody else");
    }

    #[test]
    fn the_same_revision_of_another_epoch_is_another_record() {
        let mut records = records();
        records.replace(at(0, 5), &[kv("a", 1, 3)], None);
        records.replace(at(1, 5), &[kv("a", 2, 3)], None);
        assert_eq!(shown(&records), [("a".to_owned(), 2)]);
        let mut another = Records::new(records.service.clone(), PREFIX.into());
        another.replace(at(2, 5), &[kv("a", 3, 3)], Some(&records));
        assert_eq!(shown(&another), [("a".to_owned(), 3)]);
    }

    #[test]
    fn what_is_older_than_the_listing_changes_nothing() {
        let mut records = records();
        records.replace(at(0, 9), &[kv("a", 2, 9)], None);
        assert!(!records.apply([put("a", 1, 8), deleted("a", 7), put("b", 1, 9)]));
        assert_eq!(shown(&records), [("a".to_owned(), 2)]);
        assert_eq!(listing(&records).revision, 9);
    }

    #[test]
    fn what_one_transaction_changes_is_applied_whole() {
        let mut records = records();
        records.replace(at(0, 9), &[kv("a", 1, 4), kv("b", 1, 5), kv("c", 1, 6)], None);
        assert!(records.apply([deleted("a", 10), deleted("b", 10), put("d", 1, 10)]));
        assert_eq!(shown(&records), [("c".to_owned(), 1), ("d".to_owned(), 1)]);
        assert_eq!(listing(&records).revision, 10);
    }

    #[test]
    fn what_cannot_be_decoded_is_skipped_by_its_id_and_fails_nothing() {
        let mut records = records();
        records.replace(at(0, 5), &[kv("?", 1, 3), kv("a/b", 1, 3), kv("b", 1, 4)], None);
        let skipped = |records: &Records| {
            let listing = listing(records);
            listing.skipped.iter().map(|skipped| skipped.id.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(skipped(&records).len(), 2);
        assert_eq!(skipped(&records)[0], "?");
        assert_eq!(shown(&records), [("b".to_owned(), 1)]);
        records.apply([Change::Put { key: key("b"), mod_revision: 6, lease: 1, value: b"no".to_vec() }]);
        assert!(skipped(&records).contains(&"b".to_owned()) && shown(&records).is_empty());
        records.apply([put("b", 3, 7), deleted("?", 8), deleted("a/b", 9)]);
        assert!(skipped(&records).is_empty());
        assert_eq!(shown(&records), [("b".to_owned(), 3)]);
    }

    #[test]
    fn a_watch_that_began_before_the_listing_leads_to_what_the_registry_holds() {
        for seed in 0..500 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut held: BTreeMap<String, (u16, i64)> = BTreeMap::new();
            let (mut records, mut pending) = (records(), HashMap::new());
            let listed_at = rng.i64(2..30);
            for revision in 2..60 {
                let id = format!("i-{}", rng.u8(..5));
                let change = if rng.bool() {
                    let weight = rng.u16(..3);
                    held.insert(id.clone(), (weight, revision));
                    put(&id, weight, revision)
                } else {
                    held.remove(&id);
                    deleted(&id, revision)
                };
                // Of each key the latest, as a sink has it. The watch has begun at any time before the listing.
                pending.insert(id, change);
                if revision == listed_at {
                    let kvs: Vec<_> = held.iter().map(|(id, (weight, at))| kv(id, *weight, *at)).collect();
                    records.replace(at(0, revision), &kvs, None);
                }
                if revision >= listed_at && rng.bool() {
                    records.apply(pending.drain().map(|(_, change)| change));
                }
            }
            records.apply(pending.drain().map(|(_, change)| change));
            let held: Vec<_> = held.into_iter().map(|(id, (weight, _))| (id, u32::from(weight))).collect();
            assert_eq!(shown(&records), held, "seed {seed}");
        }
    }

    #[test]
    fn the_records_of_a_service_are_shared_for_as_long_as_somebody_watches_it() {
        let (watched, orders) = (Watched::default(), ServiceKey::new("orders").unwrap());
        assert!(watched.get(&orders).is_none());
        let first = watched.begin(&orders, &PREFIX.into());
        assert!(watched.get(&orders).is_some_and(|records| Arc::ptr_eq(&records, &first)));
        drop(first);
        assert!(watched.get(&orders).is_none());
        let _others = watched.begin(&ServiceKey::new("payments").unwrap(), &PREFIX.into());
        assert_eq!(watched.0.lock().unwrap().len(), 1, "what nobody watches is let go");
    }
}
