//! What an instance says of itself beyond the model.

use std::fmt;
use std::sync::Arc;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::names;
use crate::{Error, Result};

/// Keys that start with this belong to callsign.
pub const RESERVED_PREFIX: &str = "callsign.";

type Entry = (Box<str>, Box<str>);

/// Key-value pairs in one slice, sorted by key. Cloning is cheap.
///
/// One slice rather than a tree: a tree node for a single entry takes 544 bytes, and a process holds one
/// `Metadata` for each instance it can see.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata(Option<Arc<[Entry]>>);

impl Metadata {
    /// No metadata.
    #[must_use]
    pub const fn new() -> Self {
        Self(None)
    }

    /// Checks the keys of an application's own metadata; of a key given twice the last value counts.
    ///
    /// # Errors
    /// `InvalidInput` for a key that is empty, longer than 255 bytes, has control characters, or is reserved.
    pub fn from_entries<K: AsRef<str>, V: AsRef<str>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self> {
        let entries: Vec<Entry> =
            entries.into_iter().map(|(key, value)| (key.as_ref().into(), value.as_ref().into())).collect();
        for (key, _) in &entries {
            names::check("metadata key", key)?;
            if key.starts_with(RESERVED_PREFIX) {
                return Err(Error::invalid_input(format!(
                    "the metadata key `{key}` is reserved: keys that start with `{RESERVED_PREFIX}` belong to callsign"
                )));
            }
        }
        Ok(Self::sorted(entries))
    }

    /// What a registry holds, for backends: reserved keys are left out, everything else survives as it is.
    #[must_use]
    pub fn from_remote<K: Into<Box<str>>, V: Into<Box<str>>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        Self::sorted(
            entries
                .into_iter()
                .map(|(key, value)| (key.into(), value.into()))
                .filter(|(key, _): &Entry| !key.starts_with(RESERVED_PREFIX))
                .collect(),
        )
    }

    fn sorted(mut entries: Vec<Entry>) -> Self {
        // Stable, so that of equal keys the last one given stays last, and is the one kept.
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.reverse();
        entries.dedup_by(|a, b| a.0 == b.0);
        entries.reverse();
        Self((!entries.is_empty()).then(|| entries.into()))
    }

    fn entries(&self) -> &[Entry] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        let entries = self.entries();
        entries.binary_search_by(|(k, _)| (**k).cmp(key)).ok().map(|at| &*entries[at].1)
    }

    /// All pairs, sorted by key.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.entries().iter().map(|(key, value)| (&**key, &**value))
    }

    /// How many pairs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries().is_empty()
    }

    /// The bytes of all keys and values together.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.iter().map(|(key, value)| key.len() + value.len()).sum()
    }

    /// The same pairs with `key` set to `value`.
    ///
    /// # Errors
    /// As [`from_entries`](Self::from_entries).
    pub fn with(&self, key: &str, value: &str) -> Result<Self> {
        Self::from_entries(self.iter().chain([(key, value)]))
    }

    /// The same pairs without `key`.
    #[must_use]
    pub fn without(&self, key: &str) -> Self {
        Self::sorted(self.entries().iter().filter(|(k, _)| &**k != key).cloned().collect())
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Metadata {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of text to text")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut entries = Vec::with_capacity(map.size_hint().unwrap_or_default().min(64));
                while let Some(entry) = map.next_entry::<Box<str>, Box<str>>()? {
                    entries.push(entry);
                }
                Ok(Metadata::from_remote(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_sorted_and_the_last_value_of_a_key_counts() {
        let metadata = Metadata::from_entries([("b", "1"), ("a", "2"), ("b", "3")]).unwrap();
        assert_eq!(metadata.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(metadata.get("b"), Some("3"));
        assert_eq!(metadata.get("c"), None);
        assert_eq!(metadata.byte_len(), 4);
        assert_eq!(metadata.with("c", "4").unwrap().without("a").len(), 2);
    }

    #[test]
    fn a_reserved_key_is_refused_from_the_application_and_dropped_from_the_wire() {
        assert_eq!(
            Metadata::from_entries([("callsign.seq", "7")]).unwrap_err().to_string(),
            "the metadata key `callsign.seq` is reserved: keys that start with `callsign.` belong to callsign"
        );
        assert!(Metadata::from_entries([("", "7")]).is_err());
        let remote = Metadata::from_remote([("callsign.seq", "7"), ("", "odd but theirs")]);
        assert_eq!(remote.iter().collect::<Vec<_>>(), [("", "odd but theirs")]);
    }

    #[test]
    fn metadata_survives_json() {
        let metadata = Metadata::from_entries([("颜色", "蓝"), ("x/y", "")]).unwrap();
        let json = serde_json::to_string(&metadata).unwrap();
        assert_eq!(serde_json::from_str::<Metadata>(&json).unwrap(), metadata);
    }
}
