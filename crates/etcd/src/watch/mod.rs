//! Following keys: many watches on one stream of the pinned member, and on another one when its login has run out.
//!
//! A watch begins *now*, and what is there is read after it has begun: nothing can fall in between, no revision can have
//! been compacted or lie in the future of a store that was wiped, and etcd answers when it is asked for progress, which
//! it does not on an idle store for watches that begin at the next revision (etcd >= 3.5.22).

mod hub;
mod round;
mod sink;
mod stream;
mod table;

use std::sync::Arc;

pub(crate) use hub::Watches;
pub(crate) use round::follow;
pub(crate) use sink::{Ended, Sink, Taken};
pub(crate) use table::Subscription;

/// What is watched.
#[derive(Debug, Clone)]
pub(crate) enum Range {
    Key(Arc<[u8]>),
    /// All keys that begin so.
    Prefix(Arc<[u8]>),
}

impl Range {
    fn start(&self) -> &Arc<[u8]> {
        match self {
            Self::Key(key) | Self::Prefix(key) => key,
        }
    }
}

/// A change of one key.
#[derive(Debug)]
pub(crate) enum Change {
    Put { key: Arc<[u8]>, mod_revision: i64, lease: i64, value: Vec<u8> },
    Deleted { key: Arc<[u8]>, revision: i64 },
}

impl Change {
    pub(crate) fn key(&self) -> &Arc<[u8]> {
        match self {
            Self::Put { key, .. } | Self::Deleted { key, .. } => key,
        }
    }

    pub(crate) fn revision(&self) -> i64 {
        match self {
            Self::Put { mod_revision, .. } => *mod_revision,
            Self::Deleted { revision, .. } => *revision,
        }
    }
}
