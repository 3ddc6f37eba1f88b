//! What the journal's file contains: a line for each removal, and one for each member that has confirmed it.
//!
//! ```text
//! <first 16 digits of the sha256 of the rest> {"remove":{"service":{..},"instance":{..},"ttl":"15s","members":["main"]}}
//! <..> {"confirmed":{"service":{..},"id":"o-1","member":"main"}}
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use callsign_core::{Document, InstanceId, InstanceKey, Record, ServiceKey, Ttl};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// How many digits of the checksum a line has.
const DIGITS: usize = 16;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    /// A record was removed by its owner, and these members may not know.
    Remove { service: ServiceKey, instance: Document, ttl: Ttl, members: Vec<Arc<str>> },
    /// A member has confirmed it.
    Confirmed { service: ServiceKey, id: InstanceId, member: Arc<str> },
}

impl Note {
    pub(crate) fn remove(record: &Record, members: Vec<Arc<str>>) -> Self {
        let service = record.key().service.clone();
        Self::Remove { service, instance: Document::of(&record.instance), ttl: record.ttl, members }
    }

    /// The note as a line.
    ///
    /// # Errors
    /// What JSON cannot tell; no note is known of which that is so.
    pub(crate) fn line(&self) -> Result<String, serde_json::Error> {
        let payload = serde_json::to_string(self)?;
        Ok(format!("{} {payload}\n", checksum(payload.as_bytes())))
    }
}

fn checksum(payload: &[u8]) -> String {
    let mut text = String::with_capacity(DIGITS);
    for byte in &Sha256::digest(payload)[..DIGITS / 2] {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// What is not confirmed by everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pending(BTreeMap<InstanceKey, (Record, BTreeSet<Arc<str>>)>);

/// The order of keys that a map needs is that of service and id.
impl Pending {
    pub(crate) fn apply(&mut self, note: &Note) {
        match note {
            Note::Remove { service, instance, ttl, members } => {
                let Ok(instance) = instance.clone().into_instance(service) else { return };
                let record = Record::new(instance, *ttl);
                let waiting =
                    self.0.entry(record.key().clone()).or_insert_with(|| (record.clone(), BTreeSet::new()));
                if record.pair() >= waiting.0.pair() {
                    waiting.0 = record;
                }
                waiting.1.extend(members.iter().cloned());
            }
            Note::Confirmed { service, id, member } => {
                let key = InstanceKey::new(service.clone(), id.clone());
                if let Some((_, members)) = self.0.get_mut(&key) {
                    members.remove(member);
                    if members.is_empty() {
                        self.0.remove(&key);
                    }
                }
            }
        }
    }

    /// Adds what `other` has and this does not.
    pub(crate) fn absorb(&mut self, other: Self) {
        for (key, theirs) in other.0 {
            self.0.entry(key).or_insert(theirs);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Record, &BTreeSet<Arc<str>>)> {
        self.0.values().map(|(record, members)| (record, members))
    }

    /// All of it as a file.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut bytes = Vec::new();
        for (record, members) in self.iter() {
            let line = Note::remove(record, members.iter().cloned().collect()).line()?;
            bytes.extend_from_slice(line.as_bytes());
        }
        Ok(bytes)
    }
}

/// A file as it was read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) pending: Pending,
    /// Up to here it can be written on: what follows is a line that was not finished.
    pub(crate) whole: usize,
    /// How many finished lines make no sense.
    pub(crate) unread: usize,
}

/// Reads a file.
pub(crate) fn read(bytes: &[u8]) -> Read {
    let mut found = Read::default();
    let mut rest = bytes;
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = &rest[..end];
        rest = &rest[end + 1..];
        found.whole = bytes.len() - rest.len();
        match note(line) {
            Some(note) => found.pending.apply(&note),
            None => found.unread += 1,
        }
    }
    found
}

fn note(line: &[u8]) -> Option<Note> {
    let (sum, payload) = (line.get(..DIGITS)?, line.get(DIGITS + 1..)?);
    if checksum(payload).as_bytes() != sum || line.get(DIGITS) != Some(&b' ') {
        return None;
    }
    serde_json::from_slice(payload).ok()
}

#[cfg(test)]
mod tests {
    use callsign_core::{Instance, Pair};
    use proptest::prelude::*;

    use super::*;

    fn record(id: &str, seq: u64) -> Record {
        let instance =
            Instance::builder("orders").id(id).endpoint("http://127.0.0.1:1").pair(Pair::new(7, seq));
        Record::new(instance.registered_at(std::time::UNIX_EPOCH).build().unwrap(), Ttl::default())
    }

    fn removed(id: &str, seq: u64) -> Note {
        Note::remove(&record(id, seq), vec!["main".into(), "backup".into()])
    }

    fn confirmed(id: &str, member: &str) -> Note {
        let key = record(id, 1).key().clone();
        Note::Confirmed { service: key.service, id: key.id, member: member.into() }
    }

    fn file(notes: &[Note]) -> Vec<u8> {
        notes.iter().flat_map(|note| note.line().unwrap().into_bytes()).collect()
    }

    #[test]
    fn what_everybody_has_confirmed_is_forgotten() {
        let notes = [
            removed("a", 1),
            removed("b", 1),
            confirmed("a", "main"),
            confirmed("a", "backup"),
            confirmed("b", "main"),
        ];
        let found = read(&file(&notes));
        assert_eq!((found.pending.len(), found.unread), (1, 0));
        let (record, members) = found.pending.iter().next().unwrap();
        assert_eq!((record.key().id.as_str(), members.len()), ("b", 1));
        assert_eq!(read(&found.pending.to_bytes().unwrap()).pending, found.pending);
    }

    #[test]
    fn a_flipped_bit_costs_one_line() {
        let notes = [removed("a", 1), removed("b", 1), removed("c", 1)];
        let bytes = file(&notes);
        for at in 0..bytes.len() {
            let mut broken = bytes.clone();
            broken[at] ^= 1;
            let found = read(&broken);
            assert!(found.pending.len() > 0, "at {at}");
            assert!(found.unread > 0 || found.whole < bytes.len(), "at {at}");
        }
    }

    proptest! {
        #[test]
        fn a_torn_tail_is_cut_and_nothing_else(cut in 0_usize..2000, ids in prop::collection::vec("[a-d]", 1..8)) {
            let notes: Vec<_> = ids.iter().enumerate().map(|(seq, id)| removed(id, seq as u64 + 1)).collect();
            let bytes = file(&notes);
            let cut = cut.min(bytes.len());
            let found = read(&bytes[..cut]);
            prop_assert_eq!(found.unread, 0);
            prop_assert!(found.whole <= cut);
            let whole_lines = bytes[..found.whole].split(|byte| *byte == b'\n').count() - 1;
            let mut expected = Pending::default();
            notes[..whole_lines].iter().for_each(|note| expected.apply(note));
            prop_assert_eq!(found.pending, expected);
        }
    }
}
