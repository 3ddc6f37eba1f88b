//! The instances of one service as they were last read: what has not changed stays the same `Arc`.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use callsign_core::{Group, Health, Instance, InstanceKey, Interner, ServiceKey, Skipped};
use serde_json::value::RawValue;

use crate::codec::{Outcome, Place, decode};

/// What is decoded once is not decoded again.
#[derive(Debug)]
pub(crate) struct Records {
    /// Whatever its group: Consul keeps all of them under one name.
    service: ServiceKey,
    place: Place,
    hasher: RandomState,
    /// By the hash of an entry's text. A key of its own keeps anybody from finding two texts with one hash.
    decoded: HashMap<u64, Decoded>,
    current: HashMap<InstanceKey, Arc<Instance>>,
    interner: Interner,
}

#[derive(Debug, Clone)]
enum Decoded {
    Instance(Arc<Instance>, u64),
    Skipped(Option<Group>, Skipped),
    Nobody,
}

/// All instances of a service, in all groups.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Sorted by key, each once.
    instances: Vec<Arc<Instance>>,
    skipped: Vec<(Option<Group>, Skipped)>,
}

impl Records {
    pub(crate) fn new(service: &ServiceKey, place: &Place) -> Self {
        Self {
            service: service.clone().with_group(Group::default()),
            place: place.clone(),
            hasher: RandomState::new(),
            decoded: HashMap::new(),
            current: HashMap::new(),
            interner: Interner::new(),
        }
    }

    /// A number that stands for `body`, as long as these records live.
    pub(crate) fn hash(&self, body: &[u8]) -> u64 {
        self.hasher.hash_one(body)
    }

    /// Reads a listing. `known` are records of the same service whose instances may be shared.
    ///
    /// # Errors
    /// Why it is no listing at all. An entry that cannot be read is skipped.
    pub(crate) fn read(
        &mut self,
        body: &[u8],
        known: Option<&Self>,
    ) -> Result<Arc<Found>, serde_json::Error> {
        let entries: Vec<&RawValue> = serde_json::from_slice(body)?;
        let mut former = std::mem::take(&mut self.decoded);
        let mut found = Found::default();
        let mut best: HashMap<InstanceKey, (Arc<Instance>, u64)> = HashMap::with_capacity(entries.len());
        for entry in entries {
            let hash = self.hash(entry.get().as_bytes());
            let decoded = former.remove(&hash).unwrap_or_else(|| self.decode(entry.get(), known));
            match &decoded {
                Decoded::Instance(instance, changed) => {
                    let key = &instance.key;
                    if best.get(key).is_none_or(|held| supersedes(instance, *changed, held)) {
                        best.insert(key.clone(), (instance.clone(), *changed));
                    }
                }
                Decoded::Skipped(group, skipped) => found.skipped.push((group.clone(), skipped.clone())),
                Decoded::Nobody => {}
            }
            self.decoded.insert(hash, decoded);
        }
        found.instances.extend(best.into_values().map(|(instance, _)| instance));
        found.instances.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        self.current = found.instances.iter().map(|found| (found.key.clone(), found.clone())).collect();
        Ok(Arc::new(found))
    }

    fn decode(&mut self, text: &str, known: Option<&Self>) -> Decoded {
        match decode(&self.service, &self.place.name, text) {
            Outcome::Instance(mut instance, changed) => {
                let held = |records: &Self| {
                    records.current.get(&instance.key).filter(|held| ***held == *instance).cloned()
                };
                let held = held(self).or_else(|| known.and_then(held));
                let instance = held.unwrap_or_else(|| {
                    self.interner.share(&mut instance);
                    Arc::from(instance)
                });
                Decoded::Instance(instance, changed)
            }
            Outcome::Skipped(group, skipped) => Decoded::Skipped(group, skipped),
            Outcome::Nobody => Decoded::Nobody,
        }
    }
}

/// Of two entries of one id, as of two agents that both have it: the higher pair, then the better health, then what was
/// changed last.
fn supersedes(instance: &Instance, changed: u64, (held, held_changed): &(Arc<Instance>, u64)) -> bool {
    let rank = |instance: &Instance, changed| {
        let health = match instance.health {
            Health::Passing => 3,
            Health::Unknown => 2,
            Health::Warning => 1,
            _ => 0,
        };
        (instance.pair(), health, changed)
    };
    rank(instance, changed) > rank(held, *held_changed)
}

impl Found {
    /// What belongs to `group`.
    pub(crate) fn in_group(&self, group: &Group) -> (Vec<Arc<Instance>>, Vec<Skipped>) {
        let instances = self.instances.iter().filter(|instance| instance.key.service.group == *group);
        let skipped = self.skipped.iter().filter(|(of, _)| of.as_ref().is_none_or(|of| of == group));
        (instances.cloned().collect(), skipped.map(|(_, skipped)| skipped.clone()).collect())
    }

    /// Whether somebody is missing who was in `former`. Who cannot be read is not missing.
    pub(crate) fn lacks_any_of(&self, former: &Self) -> bool {
        former.instances.iter().any(|instance| {
            let key = &instance.key;
            self.instances.binary_search_by(|found| found.key.cmp(key)).is_err()
                && !self.skipped.iter().any(|(_, skipped)| *skipped.id == *key.id.as_str())
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.instances.is_empty() && self.skipped.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn records() -> Records {
        let service = ServiceKey::new("orders").unwrap();
        let place = Place { name: "orders".to_owned(), namespace: None };
        Records::new(&service, &place)
    }

    fn entry(id: &str, pair: &str, status: &str, changed: u64) -> Value {
        json!({
            "Service": {
                "ID": format!("default:blue:orders:{id}"), "Service": "orders", "ModifyIndex": changed,
                "Meta": {
                    "callsign-pair": pair, "callsign-status": "up", "callsign-registered-at": "0",
                    "callsign-e0": "http://h:1",
                },
            },
            "Checks": [{"CheckID": "x", "Status": status}],
        })
    }

    fn read(records: &mut Records, entries: &[Value]) -> Arc<Found> {
        records.read(Value::Array(entries.to_vec()).to_string().as_bytes(), None).unwrap()
    }

    #[test]
    fn what_has_not_changed_is_the_same_arc_also_when_its_text_has() {
        let mut records = records();
        let first = read(&mut records, &[entry("a", "1.1", "passing", 5), entry("b", "1.1", "passing", 6)]);
        let second = read(&mut records, &[entry("b", "1.2", "passing", 8), entry("a", "1.1", "passing", 7)]);
        assert!(Arc::ptr_eq(&first.instances[0], &second.instances[0]));
        assert!(!Arc::ptr_eq(&first.instances[1], &second.instances[1]));
        let mut others = self::records();
        let body = Value::Array(vec![entry("a", "1.1", "passing", 9)]).to_string();
        let shared = others.read(body.as_bytes(), Some(&records)).unwrap();
        assert!(Arc::ptr_eq(&first.instances[0], &shared.instances[0]));
    }

    #[test]
    fn of_duplicates_the_higher_pair_stays_then_the_better_health_then_the_later() {
        for (one, other, (pair, health)) in [
            (entry("a", "2.1", "critical", 1), entry("a", "1.9", "passing", 9), ("2.1", Health::Critical)),
            (entry("a", "1.1", "critical", 9), entry("a", "1.1", "passing", 1), ("1.1", Health::Passing)),
        ] {
            for order in [[one.clone(), other.clone()], [other, one]] {
                let found = read(&mut records(), &order);
                let instance = &found.instances[0];
                assert_eq!(found.instances.len(), 1);
                assert_eq!((instance.pair().to_string().as_str(), instance.health), (pair, health));
            }
        }
    }

    #[test]
    fn groups_share_a_name_and_nothing_else() {
        let mut plain = entry("x", "1.1", "passing", 1);
        plain["Service"]["ID"] = "foreign".into();
        plain["Service"]["Meta"] = json!({});
        plain["Service"]["Address"] = "h".into();
        plain["Service"]["Port"] = 1.into();
        let mut broken = entry("z", "x", "passing", 1);
        broken["Service"]["ID"] = "default:red:orders:z".into();
        let found = read(&mut records(), &[plain, entry("a", "1.1", "passing", 1), broken, json!(7)]);
        let of = |group: &str| {
            let (instances, skipped) = found.in_group(&Group::new(group).unwrap());
            let ids: Vec<_> = instances.iter().map(|found| found.id().to_string()).collect();
            (ids, skipped.iter().map(|skipped| skipped.id.to_string()).collect::<Vec<_>>())
        };
        let text = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(of("default"), (text(&["foreign"]), text(&["?"])));
        assert_eq!(of("blue"), (text(&["a"]), text(&["?"])));
        assert_eq!(of("red"), (text(&[]), text(&["z", "?"])));
    }

    #[test]
    fn who_cannot_be_read_is_not_missing() {
        let mut records = records();
        let both = read(&mut records, &[entry("a", "1.1", "passing", 1), entry("b", "1.1", "passing", 1)]);
        let broken = read(&mut records, &[entry("a", "x", "passing", 1), entry("b", "1.1", "passing", 1)]);
        assert!(!broken.lacks_any_of(&both) && !both.lacks_any_of(&broken));
        let fewer = read(&mut records, &[entry("b", "1.1", "passing", 1)]);
        assert!(fewer.lacks_any_of(&both));
        assert!(records.read(b"{}", None).is_err());
    }
}
