//! Reading services.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, Group, Listing, Namespace, Probe, Read, Result, ServiceKey, ServiceName, spread};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use crate::codec::{Place, place, place_of, service_in};
use crate::error::Call;
use crate::message::ServiceListRequest;
use crate::publication::Publications;
use crate::records::{Mark, Records, lock};
use crate::session::{Connection, Session};
use crate::watch::{Share, Subscriptions, query};

/// So many names are asked for at a time.
const PAGE: u32 = 500;
/// No group has more pages: a server that goes on for ever is not followed.
const PAGES: u32 = 1000;
/// How many services are looked into at a time.
const REQUESTS: usize = 32;

/// What lists and watches have in common.
pub(crate) struct Reader {
    name: Arc<str>,
    session: Arc<Session>,
    subscriptions: Arc<Subscriptions>,
    publications: Arc<Publications>,
}

impl Reader {
    pub(crate) fn new(
        name: Arc<str>,
        session: Arc<Session>,
        subscriptions: Arc<Subscriptions>,
        publications: Arc<Publications>,
    ) -> Self {
        Self { name, session, subscriptions, publications }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Has `service` be followed, until what is returned is dropped.
    pub(crate) fn share(&self, service: &ServiceKey) -> Result<Share> {
        // Who no longer follows is told to the server by the upkeep.
        self.publications.begin_upkeep()?;
        self.subscriptions.share(service)
    }

    /// How long a subscription is believed: each its own time.
    pub(crate) fn reconcile_interval(&self) -> Duration {
        spread(self.session.settings().reconcile_interval, 0.2)
    }

    /// However it is to be read: one server answers for what it has heard of.
    pub(crate) async fn list(&self, service: &ServiceKey, _: Read) -> Result<Listing> {
        let place = place_of(service)?;
        let live = self.session.live().await?;
        // Before the question: what is pushed meanwhile is not older.
        let (number, as_of) = (self.subscriptions.numbers().next(), Instant::now());
        let answer = query(&place, &*live.connection()?).await.map_err(|failure| failure.error)?;
        let info = answer.service_info.unwrap_or_default();
        let mark = Mark { generation: live.generation, number, as_of };
        let mut records = Records::new(service.clone());
        match self.subscriptions.get(&place) {
            Some(known) => records.replace(mark, &info, Some(&*lock(&known.records))),
            None => records.replace(mark, &info, None),
        };
        Ok(records.listing(&self.name))
    }

    pub(crate) async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        let (namespace, group) = place(namespace, group)?;
        let live = self.session.live().await?;
        let connection = live.connection()?;
        let names = names(&connection, &namespace, &group).await?;
        // A service stays listed for a minute after its last instance has left.
        let populated = names.into_iter().map(|name| {
            let place =
                Place { namespace: namespace.clone(), group: group.clone(), service: name.as_str().into() };
            let connection = &connection;
            async move {
                let answer = query(&place, connection).await.map_err(|failure| failure.error)?;
                let hosts = answer.service_info.and_then(|info| info.hosts).unwrap_or_default();
                Ok::<_, Error>(if hosts.is_empty() { None } else { service_in(&name) })
            }
        });
        let found: Vec<_> = stream::iter(populated).buffer_unordered(REQUESTS).try_collect().await?;
        let mut services: Vec<_> = found.into_iter().flatten().collect();
        services.sort_unstable();
        services.dedup();
        Ok(services)
    }

    /// There is no quorum that could be proven. A server that refuses everything has no authority for us.
    pub(crate) async fn probe(&self, level: Probe) -> Result<()> {
        let connection = self.session.live().await?.connection()?;
        connection.check().await.map_err(|failure| failure.error)?;
        match level {
            Probe::Authority => connection.entitled(),
            _ => Ok(()),
        }
    }
}

/// All names that the server has in a group, also of services without instances.
async fn names(connection: &Connection, namespace: &str, group: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for page_no in 1..=PAGES {
        let request = ServiceListRequest {
            namespace,
            group_name: group,
            service_name: "",
            page_no,
            page_size: PAGE,
            selector: "",
        };
        let subject = format!("list the services of {group}");
        let answer = connection.ask(&request, Call::read(&subject)).await.map_err(|failure| failure.error)?;
        let page = answer.service_names.unwrap_or_default();
        let last = page.is_empty();
        // Some servers put the group before it.
        names.extend(page.into_iter().map(|name| match name.rsplit_once("@@") {
            Some((_, name)) => name.to_owned(),
            None => name,
        }));
        if last || names.len() as u64 >= answer.count {
            break;
        }
    }
    Ok(names)
}
