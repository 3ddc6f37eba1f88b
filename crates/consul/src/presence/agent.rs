//! The agent that a record is at: what it has, and what it is told.

use callsign_core::{Error, Pair, Record, Result, Status};

use crate::agent::{Agents, Lane, Request, encoded};
use crate::codec::{MAINTENANCE, Registration, check_id, check_id_of_probe, is_maintenance, pair_of};
use crate::config::Settings;
use crate::error::{Failure, Verdict};
use crate::reader::scoped;
use crate::signs::Proof;
use crate::wire::Own;

/// One agent, as the home of records.
#[derive(Debug, Clone, Copy)]
pub(super) struct Home<'a> {
    agents: &'a Agents,
    number: usize,
}

/// What an agent has under an id.
#[derive(Debug, Default)]
pub(super) struct Stored(Option<Own>);

impl<'a> Home<'a> {
    pub(super) fn at(agents: &'a Agents, number: usize) -> Self {
        Self { agents, number }
    }

    /// The agent for a record, and what it has of it: the one that has taken it before, or else one that answers.
    pub(super) async fn find(
        agents: &'a Agents,
        pinned: Option<usize>,
        registration: &Registration,
    ) -> Result<(Self, Stored)> {
        let namespace = registration.namespace.as_deref();
        if let Some(number) = pinned {
            let home = Self::at(agents, number);
            return Ok((home, home.look(&registration.id, namespace).await?));
        }
        let request = look(agents.settings(), &registration.id, namespace);
        match agents.ask_any(&request, Proof::Agent).await {
            Ok((number, answer)) => Ok((Self::at(agents, number), stored(&answer.body)?)),
            // Plain text: it was found out that the id is not known, by whoever was asked first.
            Err(failure) if failure.verdict == Verdict::Unknown => {
                Ok((Self::at(agents, agents.current()), Stored::default()))
            }
            Err(failure) => Err(failure.error),
        }
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// What the agent has under this id.
    pub(super) async fn look(&self, id: &str, namespace: Option<&str>) -> Result<Stored> {
        let request = look(self.agents.settings(), id, namespace);
        match self.agents.ask(self.number, &request, Lane::Control, Proof::Agent).await {
            Ok(answer) => stored(&answer.body),
            Err(failure) if failure.verdict == Verdict::Unknown => Ok(Stored::default()),
            Err(failure) => Err(failure.error),
        }
    }

    /// Creates or replaces the record.
    pub(super) async fn write(&self, registration: &Registration, stored: &Stored) -> Result<()> {
        let subject = format!("register {}", registration.id);
        let request = Request::put("/v1/agent/service/register", subject).with_body(registration.body()?);
        let request = self.scoped(request, registration);
        // A check that the agent made for a former configuration would go on for ever. Otherwise not: what an operator
        // has taken out would be back.
        let request = if stored.has_probe(&registration.id) && !registration.has_probe() {
            request.flagged("replace-existing-checks")
        } else {
            request
        };
        self.tell(&request, Lane::Control).await.map_err(|failure| failure.error)
    }

    /// Renews the record.
    pub(super) async fn pass(&self, registration: &Registration) -> Result<(), Failure> {
        let path = format!("/v1/agent/check/pass/{}", encoded(&check_id(&registration.id)));
        let request = Request::put(path, format!("renew {}", registration.id));
        self.tell(&self.scoped(request, registration), Lane::Renew).await
    }

    /// Shows others what the status says, by maintenance: their software knows nothing of a status.
    pub(super) async fn show(
        &self,
        registration: &Registration,
        record: &Record,
        stored: &Stored,
    ) -> Result<()> {
        let status = record.instance.status;
        let out = status != Status::Up;
        if !out && !stored.was_taken_out() {
            return Ok(());
        }
        let path = format!("/v1/agent/service/maintenance/{}", encoded(&registration.id));
        let request = Request::put(path, format!("show the status of {}", registration.id));
        let request = if out {
            request.with("enable", "true").with("reason", &format!("{MAINTENANCE} {status}"))
        } else {
            request.with("enable", "false")
        };
        let shown = self.tell(&self.scoped(request, registration), Lane::Control).await;
        shown.map_err(|failure| failure.error)
    }

    /// Removes what is there.
    pub(super) async fn remove(&self, id: &str, namespace: Option<&str>) -> Result<()> {
        let path = format!("/v1/agent/service/deregister/{}", encoded(id));
        let request =
            scoped(self.agents.settings(), Request::put(path, format!("deregister {id}")), namespace);
        match self.tell(&request, Lane::Control).await {
            Err(failure) if failure.verdict != Verdict::Unknown => Err(failure.error),
            _ => Ok(()),
        }
    }

    async fn tell(&self, request: &Request, lane: Lane) -> Result<(), Failure> {
        self.agents.ask(self.number, request, lane, Proof::Agent).await.map(drop)
    }

    fn scoped(&self, request: Request, registration: &Registration) -> Request {
        scoped(self.agents.settings(), request, registration.namespace.as_deref())
    }
}

fn look(settings: &Settings, id: &str, namespace: Option<&str>) -> Request {
    let path = format!("/v1/agent/health/service/id/{}", encoded(id));
    let request = Request::get(path, format!("look at {id}")).with("format", "json").with_any_status();
    scoped(settings, request, namespace)
}

fn stored(body: &[u8]) -> Result<Stored> {
    serde_json::from_slice(body).map(|own| Stored(Some(own))).map_err(|error| {
        Error::unexpected("cannot read what an agent says of its own service; is this a consul agent?")
            .with_source(error)
    })
}

impl Stored {
    /// Whether there is anything.
    pub(super) fn is_there(&self) -> bool {
        self.0.as_ref().is_some_and(|own| own.service.is_some())
    }

    /// The pair of what is there.
    pub(super) fn pair(&self) -> Pair {
        let service = self.0.as_ref().and_then(|own| own.service.as_ref());
        pair_of(service.and_then(|service| service.meta.as_ref()))
    }

    /// Refuses a record that is not there, has expired, or has other content.
    pub(super) fn refuse_lost(&self, registration: &Registration) -> Result<()> {
        let lost = |how: &str| Err(Error::not_found(format!("{} {how}", registration.id)));
        let Some(own) = &self.0 else { return lost("is not registered") };
        let Some(service) = &own.service else { return lost("is not registered") };
        if service.meta.as_ref() != Some(&registration.meta)
            || service.address.as_deref() != Some(&*registration.address)
            || service.port != Some(registration.port.into())
        {
            return lost("is registered with other content");
        }
        if own.aggregated_status == "critical" {
            return lost("has expired");
        }
        Ok(())
    }

    fn has_probe(&self, id: &str) -> bool {
        let probe = check_id_of_probe(id);
        self.checks().any(|check| check.id.as_deref() == Some(&*probe))
    }

    /// Whether callsign itself has taken it out, for others to see.
    fn was_taken_out(&self) -> bool {
        let own = |notes: &String| notes.starts_with(MAINTENANCE);
        self.checks().any(|check| is_maintenance(check) && check.notes.as_ref().is_some_and(own))
    }

    fn checks(&self) -> impl Iterator<Item = &crate::wire::Check> {
        self.0.iter().flat_map(|own| own.checks.iter().flatten())
    }
}
