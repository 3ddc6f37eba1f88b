//! What owners have done and views have shown, and which processes run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use callsign_client::{Probed, Prober};
use callsign_core::{Instance, InstanceId, Pair, ServiceKey, async_trait};
use callsign_testkit::history::{Bounds, History, Rule};

/// Shared by everybody in a world.
#[derive(Debug, Clone, Default)]
pub(crate) struct Book {
    /// Ids belong to a service, so each has a history of its own.
    histories: Arc<Mutex<BTreeMap<ServiceKey, History>>>,
    pages: Arc<Mutex<Pages>>,
}

#[derive(Debug, Default)]
struct Pages {
    running: BTreeMap<InstanceId, ServiceKey>,
    /// The last acknowledged write of each id.
    written: BTreeMap<InstanceId, Pair>,
}

impl Book {
    pub(crate) fn history(&self, service: &ServiceKey) -> History {
        self.histories.lock().unwrap().entry(service.clone()).or_default().clone()
    }

    /// The same processes, and histories of their own: for views that end, or that begin when nobody can know anything.
    pub(crate) fn aside(&self) -> Self {
        Self { histories: Arc::default(), pages: self.pages.clone() }
    }

    /// A process begins to run.
    pub(crate) fn starts(&self, id: &InstanceId, service: &ServiceKey) {
        self.pages().running.insert(id.clone(), service.clone());
    }

    /// Its process has ended: from now on it answers no probe.
    pub(crate) fn stops(&self, id: &InstanceId) {
        let mut pages = self.pages();
        pages.running.remove(id);
        pages.written.remove(id);
    }

    pub(crate) fn runs(&self, id: &InstanceId) -> bool {
        self.pages().running.contains_key(id)
    }

    pub(crate) fn wrote(&self, id: &InstanceId, pair: Pair) {
        let mut pages = self.pages();
        let written = pages.written.entry(id.clone()).or_insert(pair);
        *written = pair.max(*written);
    }

    /// Who of `service` runs, as it was last written.
    pub(crate) fn expected(&self, service: &ServiceKey) -> BTreeMap<InstanceId, Pair> {
        let pages = self.pages();
        let of_service = pages.running.iter().filter(|(_, of)| *of == service);
        of_service.filter_map(|(id, _)| Some((id.clone(), *pages.written.get(id)?))).collect()
    }

    /// Every breach by any view of the rules that are `owed`.
    pub(crate) fn violations(&self, bounds: &Bounds, owed: impl Fn(Rule) -> bool) -> Vec<String> {
        let histories: Vec<_> = self.histories.lock().unwrap().values().cloned().collect();
        let of = |history: History| {
            let found = history.violations(bounds).into_iter().filter(|found| owed(found.rule));
            found.map(|found| found.to_string()).collect::<Vec<_>>()
        };
        histories.into_iter().flat_map(of).collect()
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap()
    }
}

#[async_trait]
impl Prober for Book {
    async fn probe(&self, instance: &Instance) -> Probed {
        tokio::time::sleep(Duration::from_millis(fastrand::u64(..400))).await;
        if self.runs(instance.id()) { Probed::Answering } else { Probed::Silent }
    }
}
