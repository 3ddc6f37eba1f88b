//! The answer to "who is there".

use std::sync::Arc;

use tokio::time::Instant;

use super::Instance;

/// How a listing is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Read {
    /// Proven by a quorum of the registry, where it has one.
    Quorum,
    /// The fastest answer, also from a server that is cut off from its peers.
    Any,
}

/// What stands behind an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Authority {
    /// A quorum of the registry, or the one embedded registry: absent means gone.
    Quorum,
    /// One server of a registry that has no quorum for such data: absent is to be confirmed by other means.
    Single,
    /// A server that cannot prove that it is up to date: absent means nothing.
    Stale,
}

/// A record that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// Its id, as far as the registry shows one.
    pub id: Arc<str>,
    /// What is wrong with it.
    pub reason: Arc<str>,
}

impl Skipped {
    /// The record `id`, skipped for `reason`.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>, reason: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), reason: reason.into() }
    }
}

/// A complete set of a service's instances: never a delta.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Listing {
    /// All instances, sorted by id, each id once.
    pub instances: Arc<[Arc<Instance>]>,
    /// Grows when the registry was wiped or restored; revisions of different epochs cannot be compared.
    pub epoch: u64,
    /// Grows with the registry's changes. `(epoch, revision)` orders the listings of one source.
    pub revision: u64,
    /// What stands behind this answer.
    pub authority: Authority,
    /// When the registry proved this to be so.
    pub as_of: Instant,
    /// The registry that answered, by its configured name; where it is one of several behind a backend,
    /// `backend/member`.
    pub source: Arc<str>,
    /// Records that could not be decoded.
    pub skipped: Arc<[Skipped]>,
}

impl Listing {
    /// A listing as of now. Sorts `instances` by id; where an id is there twice, the record with the higher pair
    /// stays, and of records without a pair the later one.
    #[must_use]
    pub fn new(source: impl Into<Arc<str>>, authority: Authority, mut instances: Vec<Arc<Instance>>) -> Self {
        if !instances.is_sorted_by(|a, b| a.id() < b.id()) {
            instances.sort_by(|a, b| a.id().cmp(b.id()));
            instances.dedup_by(|later, kept| {
                let same = later.id() == kept.id();
                if same && later.supersedes(kept) {
                    std::mem::swap(later, kept);
                }
                same
            });
        }
        Self {
            instances: instances.into(),
            epoch: 0,
            revision: 0,
            authority,
            as_of: Instant::now(),
            source: source.into(),
            skipped: Arc::default(),
        }
    }

    /// Sets epoch and revision.
    #[must_use]
    pub fn at(mut self, epoch: u64, revision: u64) -> Self {
        self.epoch = epoch;
        self.revision = revision;
        self
    }

    /// Sets when the registry proved this.
    #[must_use]
    pub fn with_as_of(mut self, as_of: Instant) -> Self {
        self.as_of = as_of;
        self
    }

    /// Adds the records that could not be decoded.
    #[must_use]
    pub fn with_skipped(mut self, skipped: impl Into<Arc<[Skipped]>>) -> Self {
        self.skipped = skipped.into();
        self
    }
}

/// An item of a watch.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WatchEvent {
    /// The whole set, after a change or a re-read.
    Listing(Listing),
    /// Nothing has changed, and the registry proves it: at least every 10 s on a quiet watch.
    Progress {
        /// What stands behind this.
        authority: Authority,
        /// When the registry proved it.
        as_of: Instant,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pair;

    #[test]
    fn a_listing_is_sorted_and_of_duplicates_the_higher_pair_stays() {
        let with = |id: &str, incarnation| {
            let builder = Instance::builder("orders").id(id).endpoint("http://h:1");
            Arc::new(builder.pair(Pair::new(incarnation, 1)).build().unwrap())
        };
        for order in [[3, 1, 2], [1, 2, 3], [2, 3, 1]] {
            let mut instances: Vec<_> = order.map(|incarnation| with("b", incarnation)).into();
            instances.push(with("a", 1));
            let listing = Listing::new("main", Authority::Quorum, instances);
            let found: Vec<_> = listing.instances.iter().map(|i| (i.id().as_str(), i.incarnation)).collect();
            assert_eq!(found, [("a", 1), ("b", 3)]);
        }
    }
}
