//! Which services are followed, and what a server pushes of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsign_core::{Result, ServiceKey};
use prost::bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::slot::{Content, Numbers, Slot, mark};
use crate::codec::{Place, place_of};
use crate::error::{Call, Failure};
use crate::message::{Notification, Queried, ServiceInfo, ServiceQueryRequest, SubscribeServiceRequest};
use crate::records::Mark;
use crate::session::Connection;

/// The services that are followed.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    table: Mutex<Table>,
    left: Notify,
    numbers: Numbers,
}

#[derive(Debug, Default)]
struct Table {
    slots: HashMap<Place, Entry>,
    namespace: Option<Arc<str>>,
    /// Whether services of several namespaces are, or were followed.
    several: bool,
}

#[derive(Debug)]
struct Entry {
    slot: Arc<Slot>,
    /// Nobody: to be given up at the server, too.
    users: usize,
}

/// Somebody who follows a service; dropping it is enough.
#[derive(Debug)]
pub(crate) struct Share {
    subscriptions: Arc<Subscriptions>,
    pub(super) slot: Arc<Slot>,
}

impl Subscriptions {
    pub(crate) fn new() -> Self {
        Self { table: Mutex::default(), left: Notify::new(), numbers: Numbers::new() }
    }

    pub(crate) fn numbers(&self) -> &Numbers {
        &self.numbers
    }

    /// Joins who follows `service`.
    pub(crate) fn share(self: &Arc<Self>, service: &ServiceKey) -> Result<Share> {
        let place = place_of(service)?;
        let mut table = self.table();
        let namespace = table.namespace.get_or_insert_with(|| place.namespace.clone());
        table.several |= *namespace != place.namespace;
        let entry = table
            .slots
            .entry(place.clone())
            .or_insert_with(|| Entry { slot: Arc::new(Slot::new(place, service.clone())), users: 0 });
        entry.users += 1;
        Ok(Share { subscriptions: self.clone(), slot: entry.slot.clone() })
    }

    /// What is known of a service that is followed.
    pub(crate) fn get(&self, place: &Place) -> Option<Arc<Slot>> {
        self.table().slots.get(place).map(|entry| entry.slot.clone())
    }

    /// A server has pushed a service. Nacos says its name and group and not its namespace, as its own client knows only
    /// one; r-nacos says all three.
    pub(crate) fn pushed(&self, generation: u64, told: &Notification, json: &Bytes) {
        let Ok(Queried { service_info: Some(info) }) = serde_json::from_slice(json) else { return };
        let (namespace, group, service) = names(told, &info);
        let named: Vec<_> = {
            let table = self.table();
            let is_meant = |place: &Place| {
                &*place.group == group
                    && &*place.service == service
                    && namespace.is_none_or(|namespace| *place.namespace == *namespace)
            };
            let slots = table.slots.iter().filter(|(place, _)| is_meant(place));
            slots.map(|(_, entry)| (entry.slot.clone(), table.several)).collect()
        };
        for (slot, several) in &named {
            if namespace.is_none() && *several {
                // It may be about another namespace, also one that is not followed any more.
                slot.doubt();
            }
        }
        if let [(slot, several)] = named.as_slice()
            && (namespace.is_some() || !several)
        {
            slot.deliver(Content { mark: mark(generation, self.numbers.next()), info }, &self.numbers);
        }
    }

    /// Places that nobody follows any more.
    pub(crate) fn abandoned(&self) -> Vec<Arc<Slot>> {
        let table = self.table();
        table.slots.values().filter(|entry| entry.users == 0).map(|entry| entry.slot.clone()).collect()
    }

    /// Resolves when somebody has left since the last time.
    pub(crate) async fn somebody_left(&self) {
        self.left.notified().await;
    }

    /// Tells the server that nobody follows the service, if that is still so.
    pub(crate) async fn give_up(&self, slot: &Arc<Slot>, connection: &Connection) {
        let mut subscribed_on = slot.subscribed_on.lock().await;
        if self.table().slots.get(&slot.place).is_none_or(|entry| entry.users > 0) {
            return;
        }
        if *subscribed_on == Some(connection.generation) {
            let subject = format!("unsubscribe from {}", slot.place.service);
            // What fails costs some pushes that nobody takes.
            let _ = connection.ask(&subscription(&slot.place, false), Call::read(&subject)).await;
        }
        *subscribed_on = None;
        let mut table = self.table();
        if table.slots.get(&slot.place).is_some_and(|entry| entry.users == 0) {
            table.slots.remove(&slot.place);
        }
    }

    /// Forgets who is not followed: there is no connection on which that would have to be said.
    pub(crate) fn forget_abandoned(&self) {
        self.table().slots.retain(|_, entry| entry.users > 0);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Has the server push, and takes what it says at once; or, where it pushes already, asks it. What is known is not
    /// older than this call then.
    pub(super) async fn begin(&self, connection: &Connection) -> Result<Arc<Content>, Failure> {
        let slot = &self.slot;
        // Who has the turn may have been left alone in the middle of it; to subscribe twice does no harm.
        let mut turn = timeout(connection.limit, slot.subscribed_on.lock()).await.ok();
        let number = self.subscriptions.numbers.next();
        let answer = if turn.as_deref() == Some(&Some(connection.generation)) {
            query(&slot.place, connection).await?
        } else {
            let subject = format!("subscribe to {}", slot.place.service);
            let answer = connection.ask(&subscription(&slot.place, true), Call::read(&subject)).await?;
            if let Some(subscribed_on) = turn.as_deref_mut() {
                *subscribed_on = Some(connection.generation);
            }
            answer
        };
        Ok(self.take(mark(connection.generation, number), answer))
    }

    /// Asks the server, and takes what it says.
    pub(super) async fn reconcile(&self, connection: &Connection) -> Result<Arc<Content>, Failure> {
        let number = self.subscriptions.numbers.next();
        let answer = query(&self.slot.place, connection).await?;
        Ok(self.take(mark(connection.generation, number), answer))
    }

    fn take(&self, mark: Mark, answer: Queried) -> Arc<Content> {
        let info = answer.service_info.unwrap_or_default();
        self.slot.deliver(Content { mark, info }, &self.subscriptions.numbers);
        // There is something, as something was delivered.
        self.slot.latest().unwrap_or_else(|| Arc::new(Content { mark, info: ServiceInfo::default() }))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut table = self.subscriptions.table();
        if let Some(entry) = table.slots.get_mut(&self.slot.place) {
            entry.users = entry.users.saturating_sub(1);
            if entry.users == 0 {
                self.subscriptions.left.notify_one();
            }
        }
    }
}

/// Namespace, group and name of the service that is pushed.
fn names<'a>(told: &'a Notification, info: &'a ServiceInfo) -> (Option<&'a str>, &'a str, &'a str) {
    let namespace = told.namespace.as_deref().map(|name| if name.is_empty() { "public" } else { name });
    let name = told.service_name.as_deref().or(info.name.as_deref()).unwrap_or_default();
    // Some servers put the group before it.
    let (group, name) = name.rsplit_once("@@").map_or((None, name), |(group, name)| (Some(group), name));
    let group = told.group_name.as_deref().or(info.group_name.as_deref()).or(group);
    (namespace, group.unwrap_or_default(), name)
}

/// What the server has of a service.
pub(crate) async fn query(place: &Place, connection: &Connection) -> Result<Queried, Failure> {
    let subject = format!("list {}", place.service);
    let request = ServiceQueryRequest {
        namespace: &place.namespace,
        group_name: &place.group,
        service_name: &place.service,
        cluster: "",
        healthy_only: false,
        udp_port: 0,
    };
    connection.ask(&request, Call::read(&subject)).await
}

fn subscription(place: &Place, subscribe: bool) -> SubscribeServiceRequest<'_> {
    SubscribeServiceRequest {
        namespace: &place.namespace,
        group_name: &place.group,
        service_name: &place.service,
        subscribe,
        clusters: "",
    }
}
