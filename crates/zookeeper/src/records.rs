//! The records of one service, kept up to date with what is read.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use callsign_core::{Authority, Instance, Interner, Listing, ServiceKey, Skipped, stored};
use tokio::time::Instant;
use zookeeper_client::Stat;

use crate::codec;

/// What is decoded once stays the same `Arc` for as long as it does not change.
#[derive(Debug)]
pub(crate) struct Records {
    service: ServiceKey,
    epoch: u64,
    revision: i64,
    entries: BTreeMap<Box<str>, Entry>,
    interner: Interner,
}

#[derive(Debug, Clone)]
struct Entry {
    /// When the node was made, and how often it was written since: a node that was deleted and made again has the same
    /// number of writes, and another beginning.
    version: (i64, i32),
    record: Result<Arc<Instance>, Skipped>,
}

/// What a node holds, or why that is not known.
#[derive(Debug)]
pub(crate) enum Content {
    Value {
        data: Vec<u8>,
        czxid: i64,
        mzxid: i64,
        version: i32,
    },
    /// The node is not there.
    Gone,
    /// It is there, and may not be read.
    Hidden,
}

impl Content {
    pub(crate) fn of(data: Vec<u8>, stat: &Stat) -> Self {
        Self::Value { data, czxid: stat.czxid, mzxid: stat.mzxid, version: stat.version }
    }
}

/// Where an answer belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) epoch: u64,
    /// The latest change among the service's nodes. What is read piece by piece may be behind it, and is handed over once
    /// more, at the same revision, when it has caught up.
    pub(crate) revision: i64,
}

impl Records {
    pub(crate) fn new(service: ServiceKey) -> Self {
        Self { service, epoch: 0, revision: 0, entries: BTreeMap::new(), interner: Interner::new() }
    }

    /// Replaces everything by what was read. `known` are records of the same service whose instances may be shared.
    pub(crate) fn replace(&mut self, place: Place, nodes: Vec<(String, Content)>, known: Option<&Self>) {
        let mut former = std::mem::take(&mut self.entries);
        let mut revision = place.revision;
        let (own, other) = (self.epoch == place.epoch, known.is_some_and(|known| known.epoch == place.epoch));
        for (name, content) in nodes {
            revision = revision.max(content.mzxid());
            let former = former
                .remove(name.as_str())
                .map(|entry| (entry, own))
                .or_else(|| Some((known?.entries.get(name.as_str())?.clone(), other)));
            if let Some(entry) = self.entry(&name, content, former) {
                self.entries.insert(name.into(), entry);
            }
        }
        self.arrive(Place { revision, ..place });
    }

    /// Takes over what was read of some nodes; whether anything changed.
    pub(crate) fn apply(&mut self, place: Place, nodes: Vec<(String, Content)>) -> bool {
        let mut revision = place.revision;
        let mut any = false;
        for (name, content) in nodes {
            revision = revision.max(content.mzxid());
            let former = self.entries.remove(name.as_str());
            let version = former.as_ref().map(|entry| entry.version);
            let entry = self.entry(&name, content, former.map(|entry| (entry, true)));
            any |= entry.as_ref().map(|entry| entry.version) != version;
            if let Some(entry) = entry {
                self.entries.insert(name.into(), entry);
            }
        }
        if any {
            self.arrive(Place { revision, ..place });
        }
        any
    }

    /// Within an epoch a revision never falls.
    fn arrive(&mut self, Place { epoch, revision }: Place) {
        self.revision = if self.epoch == epoch { self.revision.max(revision) } else { revision };
        self.epoch = epoch;
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    fn entry(&mut self, name: &str, content: Content, former: Option<(Entry, bool)>) -> Option<Entry> {
        let (data, version) = match content {
            Content::Gone => return None,
            Content::Hidden => {
                let record = Err(Skipped::new(shown(name), "it may not be read"));
                return Some(Entry { version: (0, 0), record });
            }
            Content::Value { data, czxid, version, .. } => (data, (czxid, version)),
        };
        if let Some((former, true)) = &former
            && former.version == version
        {
            return Some(former.clone());
        }
        let former = former.and_then(|(former, _)| former.record.ok());
        Some(Entry { version, record: self.decode(name, &data, former) })
    }

    fn decode(
        &mut self,
        name: &str,
        data: &[u8],
        former: Option<Arc<Instance>>,
    ) -> Result<Arc<Instance>, Skipped> {
        let id = codec::id_in(name)
            .map_err(|shown| Skipped::new(shown, "its name is none that callsign writes"))?;
        let mut instance =
            stored::decode(&self.service, &id, data).map_err(|reason| Skipped::new(id.as_str(), reason))?;
        if let Some(former) = former.filter(|former| **former == instance) {
            return Ok(former);
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
        Listing::new(source.clone(), authority, instances)
            .at(self.epoch, u64::try_from(self.revision).unwrap_or_default())
            .with_as_of(as_of)
            .with_skipped(skipped)
    }
}

impl Content {
    fn mzxid(&self) -> i64 {
        if let Self::Value { mzxid, .. } = self { *mzxid } else { 0 }
    }
}

fn shown(name: &str) -> Arc<str> {
    codec::id_in(name).map_or_else(|shown| shown, |id| id.as_str().into())
}

/// The records of the services that are being watched, for whoever else reads them.
#[derive(Debug, Default)]
pub(crate) struct Watched(Mutex<HashMap<ServiceKey, Weak<Mutex<Records>>>>);

impl Watched {
    /// Records of `service`, for a new watch.
    pub(crate) fn begin(&self, service: &ServiceKey) -> Arc<Mutex<Records>> {
        let records = Arc::new(Mutex::new(Records::new(service.clone())));
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
    use super::*;

    fn records() -> Records {
        Records::new(ServiceKey::new("orders").unwrap())
    }

    /// What the owner of `id` has written, in a node that was made at `czxid`; no owner writes weight 0.
    fn node(id: &str, weight: u16, czxid: i64, version: i32) -> (String, Content) {
        let builder = Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1");
        let instance = builder.weight(weight).registered_at(std::time::UNIX_EPOCH).build().unwrap();
        let data = if weight == 0 { b"{".to_vec() } else { stored::encode(&instance).unwrap() };
        (id.to_owned(), Content::Value { data, czxid, mzxid: czxid + i64::from(version), version })
    }

    fn gone(id: &str) -> (String, Content) {
        (id.to_owned(), Content::Gone)
    }

    fn at(epoch: u64, revision: i64) -> Place {
        Place { epoch, revision }
    }

    fn listing(records: &Records) -> Listing {
        records.listing(&"main".into(), Authority::Quorum, Instant::now())
    }

    fn instance(records: &Records, id: &str) -> Option<Arc<Instance>> {
        listing(records).instances.iter().find(|instance| instance.id().as_str() == id).cloned()
    }

    fn shown(records: &Records) -> Vec<(String, u32)> {
        let shown = |instance: &Arc<Instance>| (instance.id().to_string(), instance.weight.get().into());
        listing(records).instances.iter().map(shown).collect()
    }

    #[test]
    fn an_instance_that_has_not_changed_is_the_same_however_its_node_is_read_again() {
        let mut records = records();
        records.replace(at(0, 5), vec![node("a", 1, 3, 0), node("b", 1, 4, 0)], None);
        let a = instance(&records, "a").unwrap();
        let same = |records: &Records| instance(records, "a").is_some_and(|found| Arc::ptr_eq(&found, &a));
        records.replace(at(0, 6), vec![node("a", 1, 3, 0), node("b", 2, 4, 1)], None);
        assert!(same(&records), "read again");
        assert!(records.apply(at(0, 7), vec![node("a", 1, 7, 0)]));
        assert!(same(&records), "made again with the same content");
        records.replace(at(1, 2), vec![node("a", 1, 2, 0)], None);
        assert!(same(&records), "made again in a registry that was wiped");
        let mut another = self::records();
        another.replace(at(1, 2), vec![node("a", 1, 2, 0)], Some(&records));
        assert!(same(&another), "read by somebody else");
    }

    #[test]
    fn the_same_version_of_another_node_or_epoch_is_another_record() {
        let mut records = records();
        records.replace(at(0, 5), vec![node("a", 1, 3, 0)], None);
        assert!(records.apply(at(0, 6), vec![node("a", 2, 6, 0)]), "deleted and made again, with version 0");
        assert_eq!(shown(&records), [("a".to_owned(), 2)]);
        records.replace(at(1, 6), vec![node("a", 3, 6, 0)], None);
        assert_eq!(shown(&records), [("a".to_owned(), 3)]);
    }

    #[test]
    fn a_revision_is_that_of_the_latest_change_and_never_falls_within_an_epoch() {
        let mut records = records();
        records.replace(at(0, 5), vec![node("a", 1, 3, 0)], None);
        assert!(!records.apply(at(0, 5), vec![node("a", 1, 3, 0), gone("b")]));
        assert_eq!(listing(&records).revision, 5);
        assert!(records.apply(at(0, 6), vec![node("a", 2, 3, 4)]));
        assert_eq!(listing(&records).revision, 7, "written after the folder has changed");
        records.replace(at(0, 0), vec![], None);
        assert_eq!(listing(&records).revision, 7, "what is read of a service that is gone");
        records.replace(at(1, 2), vec![], None);
        assert_eq!((listing(&records).epoch, listing(&records).revision), (1, 2));
    }

    #[test]
    fn a_node_that_cannot_be_read_is_skipped_by_its_id_and_hides_no_other() {
        let mut records = records();
        let hidden = ("c".to_owned(), Content::Hidden);
        let foreign = ("%".to_owned(), Content::Value { data: vec![], czxid: 1, mzxid: 1, version: 0 });
        records.replace(at(0, 5), vec![node("a", 1, 3, 0), node("b", 0, 4, 0), hidden, foreign], None);
        let skipped = |records: &Records| -> Vec<_> {
            listing(records).skipped.iter().map(|skipped| skipped.id.to_string()).collect()
        };
        assert_eq!(skipped(&records), ["%", "b", "c"]);
        assert_eq!(shown(&records), [("a".to_owned(), 1)]);
        records.apply(at(0, 7), vec![node("b", 3, 4, 1), gone("c"), gone("%")]);
        assert!(skipped(&records).is_empty());
        assert_eq!(shown(&records), [("a".to_owned(), 1), ("b".to_owned(), 3)]);
    }
}
