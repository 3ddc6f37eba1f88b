//! What every listing owes, and how two records differ.

use std::time::{Duration, SystemTime};

use callsign_core::{Authority, BackendInfo, Instance, Listing, Record, ServiceKey};
use tokio::time::Instant;

/// The least that a registry keeps of the time of registration.
const CLOCK_GRAIN: Duration = Duration::from_secs(1);

/// How much an authority proves.
fn rank(authority: Authority) -> u8 {
    match authority {
        Authority::Quorum => 2,
        Authority::Single => 1,
        _ => 0,
    }
}

/// Whether `found` claims no more than `promised`.
pub(super) fn within(found: Authority, promised: Authority) -> bool {
    rank(found) <= rank(promised)
}

/// The rule that `listing` breaks, of those that hold for every listing.
pub(super) fn broken_rule(listing: &Listing, service: &ServiceKey, info: &BackendInfo) -> Option<String> {
    if let Some(pair) = listing.instances.windows(2).find(|pair| pair[0].id() >= pair[1].id()) {
        return Some(format!(
            "the listing is not sorted, or has an id twice: `{}` stands before `{}`",
            pair[0].id(),
            pair[1].id()
        ));
    }
    if let Some(stray) = listing.instances.iter().find(|instance| instance.key.service != *service) {
        return Some(format!("the listing of `{service}` has `{}` in it", stray.key));
    }
    if !comes_from(&listing.source, &info.name) {
        return Some(format!(
            "the listing says that it comes from `{}`, the backend's name is `{}`",
            listing.source, info.name
        ));
    }
    if !within(listing.authority, info.capabilities.authority) {
        return Some(format!(
            "the listing claims {:?} authority, the backend promises no more than {:?}",
            listing.authority, info.capabilities.authority
        ));
    }
    (listing.as_of > Instant::now()).then(|| "the listing is from the future".to_owned())
}

/// Whether `source` is the backend `name`, or a member of it: `name/member`.
pub(super) fn comes_from(source: &str, name: &str) -> bool {
    let rest = source.strip_prefix(name);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// How an instance that was found differs from the record that was written; empty when it does not.
///
/// Health is the registry's own word, and the time of registration is for people: a second more or less is nothing.
pub(super) fn differences(found: &Instance, written: &Record) -> Vec<String> {
    let expected = &*written.instance;
    let mut differences = Vec::new();
    macro_rules! compare {
        ($($field:ident),+) => {$(
            if found.$field != expected.$field {
                differences.push(format!(
                    "{}: expected {:?}, found {:?}",
                    stringify!($field), expected.$field, found.$field
                ));
            }
        )+};
    }
    compare!(key, endpoints, version, weight, locality, status, metadata, incarnation, seq);
    if apart(found.registered_at, expected.registered_at) > CLOCK_GRAIN {
        differences.push(format!(
            "registered_at: expected {:?}, found {:?}",
            expected.registered_at, found.registered_at
        ));
    }
    differences
}

fn apart(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|error| error.duration())
}

/// Whether the listing has exactly these records, as they were written.
pub(super) fn is_exactly(listing: &Listing, records: &[&Record]) -> bool {
    listing.instances.len() == records.len()
        && records.iter().all(|record| {
            let found = listing.instances.iter().find(|found| found.key == *record.key());
            found.is_some_and(|found| differences(found, record).is_empty())
        })
}

/// A listing in one line, for failures.
pub(super) fn brief(listing: &Listing) -> String {
    let shown: Vec<_> = listing
        .instances
        .iter()
        .take(10)
        .map(|instance| format!("{}@{}", instance.id(), instance.pair()))
        .collect();
    let more = listing.instances.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!(
        "[{}{more}] at {}.{} ({:?}, {} skipped)",
        shown.join(", "),
        listing.epoch,
        listing.revision,
        listing.authority,
        listing.skipped.len()
    )
}

/// How a listing differs from what it should have, for failures.
pub(super) fn explain(listing: &Listing, records: &[&Record]) -> String {
    let mut lines = vec![format!("found {}", brief(listing))];
    for record in records {
        match listing.instances.iter().find(|found| found.key == *record.key()) {
            None => lines.push(format!("`{}` is missing", record.key().id)),
            Some(found) => lines.extend(
                differences(found, record)
                    .into_iter()
                    .map(|difference| format!("`{}` {difference}", record.key().id)),
            ),
        }
    }
    let strays =
        listing.instances.iter().filter(|found| records.iter().all(|record| *record.key() != found.key));
    lines.extend(strays.map(|stray| format!("`{}` should not be there", stray.id())));
    lines.truncate(12);
    lines.join("\n  ")
}
