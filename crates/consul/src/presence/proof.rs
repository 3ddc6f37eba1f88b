//! What the servers have of a record, against what they should have. Pure.

use callsign_core::{Error, Pair, Record};

use crate::codec::{Registration, pair_of};
use crate::wire::CatalogEntry;

/// What the servers have.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// What was registered.
    Same,
    /// Something else under this id, which is not newer.
    Other,
    /// A newer record.
    Higher(Pair),
    Absent,
}

impl Shown {
    /// `entries` are all that have the id of `registration`: one of each agent that has such a service.
    pub(super) fn of(entries: &[CatalogEntry], registration: &Registration, record: &Record) -> Self {
        let highest = entries.iter().map(|entry| pair_of(entry.meta.as_ref())).max();
        match highest {
            None => Self::Absent,
            Some(holder) if holder > record.pair() => Self::Higher(holder),
            Some(_) if entries.iter().any(|entry| is_same(entry, registration)) => Self::Same,
            Some(_) => Self::Other,
        }
    }
}

fn is_same(entry: &CatalogEntry, registration: &Registration) -> bool {
    entry.meta.as_ref() == Some(&registration.meta)
        && entry.address.as_deref() == Some(&*registration.address)
        && entry.port == Some(registration.port.into())
}

/// Whether the servers have neither the record nor an older one.
pub(super) fn is_gone(entries: &[CatalogEntry], record: &Record) -> bool {
    entries.iter().all(|entry| pair_of(entry.meta.as_ref()) > record.pair())
}

/// The error of a record whose place is taken.
pub(super) fn taken(holder: Pair, record: &Record) -> Error {
    Error::conflict(holder, format!("consul has {} with the pair {holder}", record.key()))
}

#[cfg(test)]
mod tests {
    use callsign_core::{Instance, Ttl};

    use super::*;
    use crate::codec::encode;
    use crate::config::{CheckConfig, Tenancy};

    fn record(seq: u64) -> (Record, Registration) {
        let builder = Instance::builder("orders").id("o-1").endpoint("http://h:1").pair(Pair::new(1, seq));
        let builder = builder.registered_at(std::time::UNIX_EPOCH);
        let record = Record::new(builder.build().unwrap(), Ttl::default());
        let registration = encode(&Tenancy::Prefix, &CheckConfig::default(), &record).unwrap();
        (record, registration)
    }

    fn entry(registration: &Registration) -> CatalogEntry {
        CatalogEntry {
            id: registration.id.clone(),
            address: Some(registration.address.clone()),
            port: Some(registration.port.into()),
            meta: Some(registration.meta.clone()),
        }
    }

    #[test]
    fn a_record_is_what_was_registered_something_else_or_a_newer_one() {
        let ((_, older), (own, mine), (_, newer)) = (record(1), record(2), record(3));
        let shown = |entries: &[CatalogEntry]| Shown::of(entries, &mine, &own);
        assert_eq!(shown(&[]), Shown::Absent);
        assert_eq!(shown(&[entry(&mine)]), Shown::Same);
        assert_eq!(shown(&[entry(&older), entry(&mine)]), Shown::Same);
        assert_eq!(shown(&[entry(&older)]), Shown::Other);
        assert_eq!(shown(&[entry(&mine), entry(&newer)]), Shown::Higher(Pair::new(1, 3)));
        let moved = CatalogEntry { port: Some(7), ..entry(&mine) };
        assert_eq!(shown(&[moved]), Shown::Other);
        let emptied = CatalogEntry { meta: None, ..entry(&mine) };
        assert_eq!(shown(&[emptied]), Shown::Other);
        assert!(is_gone(&[entry(&newer)], &own) && !is_gone(&[entry(&older)], &own));
    }
}
