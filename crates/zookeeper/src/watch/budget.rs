//! How much one session watches.
//!
//! Work-around for `zookeeper-client` 0.11.2, src/session/watch.rs, `resend_watches`: when a session reconnects with more
//! than 128 KiB of watched paths, it asks for its watches in several requests that have one number in common, does not
//! know the second answer, and drops the connection again and again until the session has expired. So no more than 96 KiB
//! are watched path by path; whoever comes after that watches the whole namespace, and picks out what is his. The test
//! `too_many_watched_paths_still_end_a_session` tells when the library has mended it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Three quarters of what the library survives.
const BYTES: usize = 96 * 1024;
/// More watches than this are one on their namespace: each is a request at every reconnect.
const PATHS: usize = 1000;

/// The paths that are watched.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    paths: Mutex<HashMap<Arc<str>, usize>>,
}

/// A watched path; dropping it takes it off.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    path: Arc<str>,
}

impl Budget {
    /// The path to watch for what happens at `path`: itself, or `wider` when there are too many.
    pub(crate) fn share(self: &Arc<Self>, path: &str, wider: &str) -> Share {
        let mut paths = self.paths();
        let bytes: usize = paths.keys().map(|path| path.len()).sum();
        let fits = paths.contains_key(path) || (paths.len() < PATHS && bytes + path.len() <= BYTES);
        let path: Arc<str> = if fits { path.into() } else { wider.into() };
        *paths.entry(path.clone()).or_default() += 1;
        Share { budget: self.clone(), path }
    }

    fn paths(&self) -> MutexGuard<'_, HashMap<Arc<str>, usize>> {
        self.paths.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    pub(crate) fn path(&self) -> &str {
        &self.path
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut paths = self.budget.paths();
        if let Some(count) = paths.get_mut(&self.path) {
            *count -= 1;
            if *count == 0 {
                paths.remove(&self.path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_watched_than_the_library_survives() {
        let budget = Arc::new(Budget::default());
        let long = |n: usize| format!("/callsign/v1/prod/default/services/{n:0>200}");
        let shares: Vec<_> = (0..2000).map(|n| budget.share(&long(n), "/callsign/v1/prod")).collect();
        let bytes: usize = budget.paths().keys().map(|path| path.len()).sum();
        assert!(bytes <= BYTES + 100, "{bytes}");
        assert_eq!(shares[0].path(), long(0));
        assert_eq!(shares[1999].path(), "/callsign/v1/prod");
        let again = budget.share(&long(0), "/callsign/v1/prod");
        assert_eq!(again.path(), long(0), "it is watched already");
        drop(shares);
        assert_eq!(budget.paths().len(), 1);
        drop(again);
        assert!(budget.paths().is_empty());
    }

    #[test]
    fn no_more_paths_are_watched_than_a_reconnect_should_ask_for() {
        let budget = Arc::new(Budget::default());
        let shares: Vec<_> = (0..=PATHS).map(|n| budget.share(&n.to_string(), "/")).collect();
        assert_eq!(shares.last().map(Share::path), Some("/"));
    }
}
