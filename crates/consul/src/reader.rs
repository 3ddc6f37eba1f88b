//! Reading services.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use callsign_core::{
    Authority, Error, Group, Listing, Namespace, Probe, Read, Result, ServiceKey, ServiceName,
};
use tokio::time::Instant;

use crate::agent::{Agents, Answer, LEADER, Lane, Request, encoded};
use crate::codec::{Place, group_in, service_named};
use crate::config::{Settings, Tenancy};
use crate::epoch::{Epochs, Position};
use crate::error::{Failure, Verdict};
use crate::records::{Found, Records};
use crate::rights::Rights;
use crate::signs::Proof;
use crate::watch::{Pulses, Service};

/// A name that nobody has, and that every token may ask for.
const NOBODY: &str = "callsign-probe";

/// Who may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The leader, by a lease of its own.
    Leader,
    /// The leader, after a majority has said that it leads.
    Consistent,
    /// Any server.
    Stale,
}

/// What lists and watches have in common.
#[derive(Debug)]
pub(crate) struct Reader {
    name: Arc<str>,
    agents: Arc<Agents>,
    epochs: Epochs,
    rights: Rights,
    watched: Mutex<HashMap<Place, Weak<Service>>>,
    /// The agents at which queries wait.
    pub(crate) pulses: Pulses,
    /// How many services are followed.
    pub(crate) rooms: Arc<AtomicUsize>,
}

/// The leader's answer, and where it belongs.
#[derive(Debug)]
pub(crate) struct Proven {
    pub(crate) agent: usize,
    pub(crate) answer: Answer,
    pub(crate) position: Position,
}

impl Reader {
    pub(crate) fn new(name: Arc<str>, agents: Arc<Agents>) -> Self {
        Self {
            name,
            agents,
            epochs: Epochs::default(),
            rights: Rights::default(),
            watched: Mutex::default(),
            pulses: Pulses::default(),
            rooms: Arc::default(),
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    pub(crate) fn agents(&self) -> &Arc<Agents> {
        &self.agents
    }

    pub(crate) fn epochs(&self) -> &Epochs {
        &self.epochs
    }

    pub(crate) async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing> {
        let place = Place::of(&self.settings().tenancy, service)?;
        let (agent, answer, position, authority) = match read {
            Read::Any => {
                let (agent, answer) = self.ask(&place, How::Stale).await.map_err(|failure| failure.error)?;
                let position = self.epochs.unproven(index_of(&answer));
                (agent, answer, position, Authority::Stale)
            }
            _ => {
                let proven = self.consistent(&place).await?;
                (proven.agent, proven.answer, proven.position, Authority::Quorum)
            }
        };
        let mut records = Records::new(service, &place);
        let known = self.known(&place);
        let found = match &known {
            Some(known) => records.read(&answer.body, Some(&*known.records())),
            None => records.read(&answer.body, None),
        };
        let found = found.map_err(|error| no_listing(&place, error))?;
        self.check(agent, &place, &answer, &found).await?;
        let (instances, skipped) = found.in_group(&service.group);
        Ok(Listing::new(self.name.clone(), authority, instances)
            .at(position.epoch, position.revision)
            .with_as_of(as_of(&answer))
            .with_skipped(skipped))
    }

    /// Checks that an answer is the whole truth.
    pub(crate) async fn check(
        &self,
        agent: usize,
        place: &Place,
        answer: &Answer,
        found: &Found,
    ) -> Result<()> {
        let (agents, subject) = (&*self.agents, subject(place));
        self.rights.check(agents, agent, place, answer.marks, found.is_empty(), &subject).await
    }

    /// What the leader says; that the registry has begun anew is believed only when a majority agrees.
    pub(crate) async fn proven(&self, place: &Place) -> Result<Proven, Failure> {
        let floor = self.epochs.floor(place);
        let (agent, answer) = self.ask(place, How::Leader).await?;
        let index = index_of(&answer);
        if floor.is_above(index) {
            return self.consistent_or(place).await;
        }
        let position = self.epochs.position(place, floor, index);
        Ok(Proven { agent, answer, position })
    }

    async fn consistent(&self, place: &Place) -> Result<Proven> {
        self.consistent_or(place).await.map_err(|failure| failure.error)
    }

    async fn consistent_or(&self, place: &Place) -> Result<Proven, Failure> {
        let floor = self.epochs.floor(place);
        let (agent, answer) = self.ask(place, How::Consistent).await?;
        let position = self.epochs.position(place, floor, index_of(&answer));
        if position.begins {
            let cause = Error::unexpected(format!(
                "the index of {} fell to {}: the registry was wiped, restored or replaced by another one",
                place.name, position.revision
            ));
            self.agents.signs().reset(cause);
        }
        Ok(Proven { agent, answer, position })
    }

    /// Asks an agent for a whole listing.
    pub(crate) async fn ask(&self, place: &Place, how: How) -> Result<(usize, Answer), Failure> {
        let request = self.request(place, how);
        let proof = if how == How::Stale { Proof::Agent } else { Proof::Server };
        let (agent, answer) = self.agents.ask_any(&request, proof).await?;
        if answer.marks.index.is_none() {
            let error = Error::unexpected(format!(
                "cannot {}: the answer has no index; is this the HTTP port of a consul agent?",
                request.subject()
            ));
            return Err(Failure { error, verdict: Verdict::Elsewhere });
        }
        Ok((agent, answer))
    }

    /// The request for a whole listing.
    pub(crate) fn request(&self, place: &Place, how: How) -> Request {
        let request = Request::get(format!("/v1/health/service/{}", encoded(&place.name)), subject(place));
        let request = match how {
            How::Leader => request,
            How::Consistent => request.flagged("consistent"),
            How::Stale => request.of_any_server(),
        };
        self.elsewhere(self.scoped(request, place.namespace.as_deref()))
    }

    /// Adds the datacenter that is read.
    fn elsewhere(&self, request: Request) -> Request {
        match &self.settings().datacenter {
            Some(datacenter) => request.with("dc", datacenter),
            None => request,
        }
    }

    fn scoped(&self, request: Request, namespace: Option<&str>) -> Request {
        scoped(self.settings(), request, namespace)
    }

    fn settings(&self) -> &Settings {
        self.agents.settings()
    }

    pub(crate) async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>> {
        let tenancy = &self.settings().tenancy;
        let theirs = Place::namespace_of(tenancy, namespace)?;
        let request = Request::get("/v1/catalog/services", "list the services");
        let request = self.elsewhere(self.scoped(request, theirs.as_deref()));
        let (_, answer) =
            self.agents.ask_any(&request, Proof::Server).await.map_err(|failure| failure.error)?;
        let services: BTreeMap<String, Option<Vec<String>>> = serde_json::from_slice(&answer.body)
            .map_err(|error| Error::unexpected("the list of services cannot be read").with_source(error))?;
        let names = services.iter().filter(|(_, tags)| is_in(group, tags.as_deref().unwrap_or_default()));
        let names = names.filter_map(|(name, _)| service_named(tenancy, namespace, name));
        Ok(names.collect::<BTreeSet<_>>().into_iter().collect())
    }

    pub(crate) async fn probe(&self, level: Probe) -> Result<()> {
        match level {
            Probe::Authority => {
                let place = Place { name: NOBODY.to_owned(), namespace: None };
                self.ask(&place, How::Consistent).await.map(drop).map_err(|failure| failure.error)
            }
            _ => self.reach().await,
        }
    }

    /// Any answer will do, also that there is no leader.
    async fn reach(&self) -> Result<()> {
        let request = Request::get(LEADER, "reach an agent");
        let mut last = Error::unavailable("there is no address");
        for step in 0..self.agents.count() {
            let agent = (self.agents.current() + step) % self.agents.count();
            match self.agents.ask(agent, &request, Lane::Control, Proof::Agent).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.verdict == Verdict::NoLeader => return Ok(()),
                Err(failure) => last = failure.error,
            }
        }
        Err(last)
    }

    /// What watches of the service at `place` share.
    pub(crate) fn watched(&self, service: &ServiceKey) -> Result<Arc<Service>> {
        let place = Place::of(&self.settings().tenancy, service)?;
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = watched.get(&place).and_then(Weak::upgrade) {
            return Ok(known);
        }
        watched.retain(|_, service| service.strong_count() > 0);
        let service = Arc::new(Service::new(service, place.clone()));
        watched.insert(place, Arc::downgrade(&service));
        Ok(service)
    }

    fn known(&self, place: &Place) -> Option<Arc<Service>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).get(place).and_then(Weak::upgrade)
    }
}

/// Adds Consul Enterprise's namespace and partition.
pub(crate) fn scoped(settings: &Settings, mut request: Request, namespace: Option<&str>) -> Request {
    if let Some(namespace) = namespace {
        request = request.with("ns", namespace);
    }
    if let Tenancy::Enterprise { partition: Some(partition) } = &settings.tenancy {
        request = request.with("partition", partition);
    }
    request
}

/// A service of other software is in the group `default`, unless it says otherwise.
fn is_in(group: &Group, tags: &[String]) -> bool {
    let mut groups = group_in(tags.iter().map(String::as_str)).peekable();
    if groups.peek().is_none() { *group == Group::default() } else { groups.any(|found| *group == *found) }
}

fn subject(place: &Place) -> String {
    format!("list {}", place.name)
}

pub(crate) fn index_of(answer: &Answer) -> u64 {
    answer.marks.index.unwrap_or(1)
}

/// When what it says was so: a server that is behind says how far.
pub(crate) fn as_of(answer: &Answer) -> Instant {
    let behind = answer.marks.last_contact.unwrap_or_default();
    answer.at.checked_sub(behind).unwrap_or(answer.at)
}

pub(crate) fn no_listing(place: &Place, error: serde_json::Error) -> Error {
    Error::unexpected(format!(
        "cannot list {}: the answer is no list; is this the HTTP port of a consul agent?",
        place.name
    ))
    .with_source(error)
}
