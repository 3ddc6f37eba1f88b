//! What is known of each id: whether its process runs, and what the registry has said of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsign_client::{Probed, Prober};
use callsign_core::{Instance, InstanceId, Pair, async_trait};
use callsign_testkit::history::History;

/// Shared by all owners. A view may ask it, as it would ask the processes themselves.
#[derive(Debug, Clone)]
pub(crate) struct Book {
    pub(crate) history: History,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    running: BTreeSet<InstanceId>,
    pages: BTreeMap<InstanceId, Page>,
    /// Changes and departures that have not ended.
    under_way: usize,
}

#[derive(Debug, Default)]
struct Page {
    /// The pair of the last acknowledged write.
    acknowledged: Option<Pair>,
    /// Whether nobody owes its presence until the registry next proves it.
    lapsed: bool,
    /// Writes of the whole record that have not ended.
    writes: usize,
}

/// Something that has not ended; it has when this is dropped.
pub(crate) struct UnderWay(Book, Option<InstanceId>);

impl Book {
    pub(crate) fn new() -> Self {
        Self { history: History::new(), inner: Arc::default() }
    }

    /// A process registers `id` from now on.
    pub(crate) fn starts(&self, id: &InstanceId) {
        let mut inner = self.inner();
        inner.running.insert(id.clone());
        inner.pages.insert(id.clone(), Page::default());
    }

    /// Nobody answers for `id` any more.
    pub(crate) fn stops(&self, id: &InstanceId) {
        self.inner().running.remove(id);
    }

    pub(crate) fn is_running(&self, id: &InstanceId) -> bool {
        self.inner().running.contains(id)
    }

    /// From now on nobody owes its presence, until the registry next proves it.
    pub(crate) fn lapses(&self, id: &InstanceId) {
        let first =
            self.inner().pages.get_mut(id).is_some_and(|page| !std::mem::replace(&mut page.lapsed, true));
        if first {
            self.history.lapses(id);
        }
    }

    /// The registry has proven the record of `id` with this pair.
    pub(crate) fn proves(&self, id: &InstanceId, pair: Pair) {
        let mut inner = self.inner();
        let Some(page) = inner.pages.get_mut(id) else { return };
        page.acknowledged = Some(pair);
        let lapsed = std::mem::take(&mut page.lapsed);
        drop(inner);
        if lapsed {
            self.history.registers(id, pair).acknowledged();
        }
    }

    /// What the registry has of `id`, when it has answered the last write.
    pub(crate) fn settled(&self, id: &InstanceId) -> Option<Pair> {
        self.inner().pages.get(id).filter(|page| page.writes == 0 && !page.lapsed)?.acknowledged
    }

    /// A write of `id` begins.
    pub(crate) fn writes(&self, id: &InstanceId) -> UnderWay {
        if let Some(page) = self.inner().pages.get_mut(id) {
            page.writes += 1;
        }
        UnderWay(self.clone(), Some(id.clone()))
    }

    /// Whether a write of `id` is under way: nobody knows on which side of what happens now it will be.
    pub(crate) fn is_written(&self, id: &InstanceId) -> bool {
        self.inner().pages.get(id).is_some_and(|page| page.writes > 0)
    }

    /// A change or a departure begins.
    pub(crate) fn begins(&self) -> UnderWay {
        self.inner().under_way += 1;
        UnderWay(self.clone(), None)
    }

    /// How many changes and departures have not ended.
    pub(crate) fn under_way(&self) -> usize {
        self.inner().under_way
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        match &self.1 {
            // A page that was begun anew meanwhile has no writes.
            Some(id) => {
                if let Some(page) = inner.pages.get_mut(id) {
                    page.writes = page.writes.saturating_sub(1);
                }
            }
            None => inner.under_way -= 1,
        }
    }
}

#[async_trait]
impl Prober for Book {
    async fn probe(&self, instance: &Instance) -> Probed {
        if self.is_running(instance.id()) { Probed::Answering } else { Probed::Silent }
    }
}
