//! A view over a connection of its own, and what it has shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use callsign_client::{Client, Freshness, Protection, ServiceView, Snapshot};
use callsign_core::task::{Spawner, Task};
use callsign_core::{Backend, Health, InstanceId, Pair, Result, ServiceKey};
use callsign_testkit::history::History;
use futures::StreamExt;

use super::book::Book;

pub(crate) struct Watcher {
    name: String,
    view: ServiceView,
    _recorder: Task,
}

impl Watcher {
    pub(crate) fn start(
        name: String,
        backend: Arc<dyn Backend>,
        service: &ServiceKey,
        book: &Book,
    ) -> Result<Self> {
        let client = Client::builder(backend).prober(book.clone()).build()?;
        Self::of(name, &client, service, book)
    }

    /// What `client` is shown.
    pub(crate) fn of(name: String, client: &Client, service: &ServiceKey, book: &Book) -> Result<Self> {
        let view = client.service(service);
        let recorder = Spawner::current()?.spawn(record(view.clone(), book.history.clone(), name.clone()));
        Ok(Self { name, view, _recorder: recorder })
    }

    pub(crate) fn view(&self) -> &ServiceView {
        &self.view
    }

    pub(crate) fn shows_any_of(&self, ids: &[InstanceId]) -> bool {
        let snapshot = self.view.snapshot();
        shown(&snapshot).any(|(id, _)| ids.contains(&id))
    }

    /// Whether it is live and shows exactly `expected`; what is wrong with it instead.
    pub(crate) fn agrees(&self, expected: &BTreeMap<InstanceId, Pair>) -> Result<(), String> {
        let snapshot = self.view.snapshot();
        let wrong = if !snapshot.freshness.is_live() {
            let cause = snapshot.freshness.cause().map(ToString::to_string).unwrap_or_default();
            format!("is {}: {cause}", snapshot.freshness.as_str())
        } else if let Protection::Held { kind, count, .. } = snapshot.protection {
            format!("holds {count}: {kind}")
        } else {
            let shown: BTreeMap<_, _> = shown(&snapshot).collect();
            let missing = expected.keys().find(|id| !shown.contains_key(*id));
            let surplus = shown.keys().find(|id| !expected.contains_key(*id));
            let other = expected.iter().find(|(id, pair)| shown.get(*id).is_some_and(|shown| shown != *pair));
            match (missing, surplus, other) {
                (Some(id), _, _) => format!("lacks {id}"),
                (_, Some(id), _) => format!("shows {id}, which is gone"),
                (_, _, Some((id, pair))) => format!("shows {id} otherwise than with {pair}"),
                (None, None, None) => return Ok(()),
            }
        };
        Err(format!("{} {wrong}", self.name))
    }
}

/// Who is there. Consul lists those who have died for some more minutes, and says that they are critical.
fn shown(snapshot: &Snapshot) -> impl Iterator<Item = (InstanceId, Pair)> {
    let there = snapshot.instances.iter().filter(|instance| instance.health != Health::Critical);
    there.map(|instance| (instance.id().clone(), instance.pair()))
}

/// Writes down what a view shows, from its first answer on.
async fn record(view: ServiceView, history: History, name: String) {
    let sights = history.view(&name);
    let mut snapshots = view.snapshots();
    while let Some(snapshot) = snapshots.next().await {
        if !matches!(snapshot.freshness, Freshness::Unknown { .. }) {
            sights.shows(shown(&snapshot));
        }
    }
}
