//! The records of one service, as they were listed last.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsign_core::{Authority, Instance, InstanceId, Interner, Listing, ServiceKey, Skipped};
use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::codec;
use crate::message::{Host, ServiceInfo};

/// What is decoded once stays the same `Arc` for as long as it does not change.
#[derive(Debug)]
pub(crate) struct Records {
    service: ServiceKey,
    mark: Mark,
    /// The number of the answer that was another one than those before.
    changed_at: u64,
    instances: BTreeMap<InstanceId, Arc<Instance>>,
    skipped: Vec<Skipped>,
    interner: Interner,
}

/// Where an answer belongs, and when it was so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The connection's generation: what came over another one cannot be compared.
    pub(crate) generation: u64,
    /// Grows with each answer.
    pub(crate) number: u64,
    pub(crate) as_of: Instant,
}

impl Mark {
    fn is_before(&self, other: &Self) -> bool {
        (self.generation, self.number) < (other.generation, other.number)
    }
}

impl Records {
    pub(crate) fn new(service: ServiceKey) -> Self {
        let mark = Mark { generation: 0, number: 0, as_of: Instant::now() };
        Self {
            service,
            mark,
            changed_at: 0,
            instances: BTreeMap::new(),
            skipped: Vec::new(),
            interner: Interner::new(),
        }
    }

    /// Replaces everything by what was answered, unless what is here is newer; whether anything changed. `known` are
    /// records of the same service whose instances may be shared.
    pub(crate) fn replace(&mut self, mark: Mark, info: &ServiceInfo, known: Option<&Self>) -> bool {
        if mark.is_before(&self.mark) {
            return false;
        }
        let mut found: BTreeMap<InstanceId, (Arc<Instance>, bool)> = BTreeMap::new();
        let mut skipped = Vec::new();
        for host in info.hosts.iter().flatten() {
            match self.decode(host, !info.reach_protection_threshold, known) {
                Err(flaw) => skipped.push(flaw),
                Ok((instance, healthy)) => match found.entry(instance.id().clone()) {
                    Entry::Vacant(free) => drop(free.insert((instance, healthy))),
                    Entry::Occupied(mut taken) => {
                        let (other, other_healthy) = taken.get();
                        // A connection that is dead and not yet missed still has its instances listed. Of two records of one
                        // id the higher pair counts, then who is healthy, then the later one.
                        let order = (instance.pair(), healthy) >= (other.pair(), *other_healthy);
                        if order {
                            taken.insert((instance, healthy));
                        }
                    }
                },
            }
        }
        let found: BTreeMap<_, _> = found.into_iter().map(|(id, (instance, _))| (id, instance)).collect();
        skipped.retain(|flaw| !found.keys().any(|id| id.as_str() == &*flaw.id));
        skipped.sort_by(|a, b| a.id.cmp(&b.id));
        let changed = self.skipped != skipped || !same(&self.instances, &found);
        (self.instances, self.skipped, self.mark) = (found, skipped, mark);
        if changed {
            self.changed_at = mark.number;
        }
        changed
    }

    fn decode(
        &mut self,
        json: &RawValue,
        judged: bool,
        known: Option<&Self>,
    ) -> Result<(Arc<Instance>, bool), Skipped> {
        let host: Host = serde_json::from_str(json.get())
            .map_err(|error| Skipped::new("?", crate::error::shown(&error.to_string())))?;
        let mut instance = codec::decode(&self.service, &host, judged)?;
        let former = self.instances.get(instance.id()).filter(|former| ***former == instance);
        let former =
            former.or_else(|| known?.instances.get(instance.id()).filter(|former| ***former == instance));
        if let Some(former) = former {
            return Ok((former.clone(), host.healthy));
        }
        self.interner.share(&mut instance);
        Ok((Arc::new(instance), host.healthy))
    }

    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    pub(crate) fn changed_at(&self) -> u64 {
        self.changed_at
    }

    /// No quorum stands behind what one server has heard of instances that live by their connections.
    pub(crate) fn listing(&self, source: &Arc<str>) -> Listing {
        Listing::new(source.clone(), Authority::Single, self.instances.values().cloned().collect())
            .at(self.mark.generation, self.mark.number)
            .with_as_of(self.mark.as_of)
            .with_skipped(self.skipped.clone())
    }
}

fn same(former: &BTreeMap<InstanceId, Arc<Instance>>, found: &BTreeMap<InstanceId, Arc<Instance>>) -> bool {
    // What has not changed is the same `Arc`.
    former.len() == found.len() && former.values().zip(found.values()).all(|(a, b)| Arc::ptr_eq(a, b))
}

/// A panic elsewhere leaves records whole: they are replaced by the next answer.
pub(crate) fn lock(records: &Mutex<Records>) -> MutexGuard<'_, Records> {
    records.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use callsign_core::Pair;

    use super::*;

    fn host(id: &str, pair: (u64, u64), weight: u16, healthy: bool) -> Box<RawValue> {
        let builder = Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").weight(weight);
        let builder = builder.pair(Pair::new(pair.0, pair.1)).registered_at(std::time::UNIX_EPOCH);
        let mut host = codec::encode(&builder.build().unwrap()).unwrap();
        host.healthy = healthy;
        serde_json::value::to_raw_value(&host).unwrap()
    }

    fn info(hosts: Vec<Box<RawValue>>) -> ServiceInfo {
        ServiceInfo { hosts: Some(hosts), ..ServiceInfo::default() }
    }

    fn records() -> Records {
        Records::new(ServiceKey::new("orders").unwrap())
    }

    fn at(generation: u64, number: u64) -> Mark {
        Mark { generation, number, as_of: Instant::now() }
    }

    fn shown(records: &Records) -> Vec<(String, u16)> {
        let listing = records.listing(&"main".into());
        listing.instances.iter().map(|i| (i.id().to_string(), i.weight.get())).collect()
    }

    #[test]
    fn of_two_records_of_one_id_the_higher_pair_counts_then_the_healthy_then_the_later() {
        let (old, new) = (host("a", (1, 1), 1, true), host("a", (2, 1), 2, false));
        let (sick, twin) = (host("a", (2, 1), 3, false), host("a", (2, 1), 4, true));
        for (hosts, weight) in [
            (vec![old.clone(), new.clone()], 2),
            (vec![new.clone(), old.clone()], 2),
            (vec![twin.clone(), sick.clone()], 4),
            (vec![sick.clone(), twin.clone()], 4),
            (vec![new.clone(), sick.clone()], 3),
        ] {
            let mut records = records();
            records.replace(at(1, 1), &info(hosts), None);
            assert_eq!(shown(&records), [("a".to_owned(), weight)]);
        }
    }

    #[test]
    fn what_has_not_changed_is_the_same_and_no_change() {
        let mut records = records();
        assert!(records.replace(at(1, 1), &info(vec![host("a", (1, 1), 1, true)]), None));
        let a = records.listing(&"main".into()).instances[0].clone();
        assert!(!records.replace(at(1, 2), &info(vec![host("a", (1, 1), 1, true)]), None));
        assert!(records.replace(
            at(2, 3),
            &info(vec![host("a", (1, 1), 1, true), host("b", (1, 1), 1, true)]),
            None
        ));
        let listing = records.listing(&"main".into());
        assert!(Arc::ptr_eq(&listing.instances[0], &a));
        assert_eq!((listing.epoch, listing.revision), (2, 3));
        let mut another = self::records();
        another.replace(at(2, 4), &info(vec![host("a", (1, 1), 1, true)]), Some(&records));
        assert!(Arc::ptr_eq(&another.listing(&"main".into()).instances[0], &a));
    }

    #[test]
    fn what_was_overtaken_changes_nothing() {
        let mut records = records();
        records.replace(at(2, 5), &info(vec![host("a", (1, 1), 1, true)]), None);
        for late in [at(1, 9), at(2, 4)] {
            assert!(!records.replace(late, &info(vec![]), None));
        }
        assert_eq!(shown(&records).len(), 1);
    }

    #[test]
    fn who_cannot_be_read_is_skipped_and_hides_nobody() {
        let mut records = records();
        let garbage = RawValue::from_string(r#"{"ip":7}"#.to_owned()).unwrap();
        let mut bad = serde_json::from_str::<serde_json::Value>(host("b", (1, 1), 1, true).get()).unwrap();
        bad["metadata"]["callsign.pair"] = "x".into();
        let bad = RawValue::from_string(bad.to_string()).unwrap();
        let hosts = vec![garbage, bad.clone(), host("a", (1, 1), 1, true)];
        assert!(records.replace(at(1, 1), &info(hosts), None));
        let skipped: Vec<_> =
            records.listing(&"main".into()).skipped.iter().map(|flaw| flaw.id.to_string()).collect();
        assert_eq!((skipped, shown(&records).len()), (vec!["?".to_owned(), "b".to_owned()], 1));
        assert!(records.replace(at(1, 2), &info(vec![bad, host("b", (1, 2), 1, true)]), None));
        assert!(records.listing(&"main".into()).skipped.is_empty(), "another record of the id can be read");
    }

    #[test]
    fn where_too_few_are_healthy_nobody_is_judged() {
        let mut records = records();
        let mut info = info(vec![host("a", (1, 1), 1, false)]);
        records.replace(at(1, 1), &info, None);
        assert!(!records.listing(&"main".into()).instances[0].routable());
        info.reach_protection_threshold = true;
        records.replace(at(1, 2), &info, None);
        assert!(records.listing(&"main".into()).instances[0].routable());
    }
}
