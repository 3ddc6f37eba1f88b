//! What is to be published, what has been taken, and since when nobody has said that it is still wanted. Pure.
//!
//! Each service has a set of members and a version that grows with each change of it. A plan is a whole set at a version,
//! made for one connection: when it has been carried out on another one, or when another one has begun meanwhile, it
//! changes nothing here. There is one plan at a time for each service, so that no set overtakes another.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, LostSignal, Pair, Record, Result};
use tokio::time::Instant;

use super::member::{Member, Stored};
use super::set::{Plan, Publication, Ticket, Told};
use crate::codec::{Place, pair_and_id};
use crate::config::Flavour;
use crate::error::{Failure, Verdict};
use crate::message::Host;

/// A server shows what it has taken half a second later, and a busy one later still.
const SHOWN_AFTER: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(super) struct Ledger {
    places: HashMap<Place, Publication>,
    /// Places that may have something to be sent, each once.
    waiting: VecDeque<Place>,
    /// The connection. `None`: there is none.
    connection: Option<(u64, Flavour)>,
}

impl Ledger {
    /// `record` is wanted, as `host`, on the connection `(generation, flavour)`.
    pub(super) fn register(
        &mut self,
        place: &Place,
        record: &Record,
        host: Arc<Host>,
        (generation, flavour): (u64, Flavour),
        now: Instant,
    ) -> Result<(Ticket, LostSignal)> {
        let publication = self.places.entry(place.clone()).or_insert_with(Publication::new);
        let id = record.key().id.clone();
        let held = publication.members.get(&id).and_then(|member| member.wanted.as_ref());
        if let Some(held) = held.filter(|held| held.record.pair() > record.pair()) {
            return Err(conflict(held.record.pair()));
        }
        let same = |member: &Member| {
            let wanted = member.wanted.as_ref();
            wanted.is_some_and(|wanted| (&wanted.host.ip, wanted.host.port) == (&host.ip, host.port))
        };
        if flavour == Flavour::RNacos
            && let Some((other, _)) =
                publication.members.iter().find(|(other, member)| **other != id && same(member))
        {
            return Err(Error::limit_exceeded(format!(
                "r-nacos has one instance for each host and port of a service: `{other}` is at {}:{} already",
                host.ip, host.port
            )));
        }
        publication.version += 1;
        let member = publication.members.entry(id.clone()).or_insert_with(|| Member::new(now));
        member.asked_on = generation;
        member.want(Stored { record: record.clone(), host }, publication.version, now);
        let signal = member.signal.clone();
        let ticket = publication.ticket(&id, publication.version);
        self.wait(place);
        Ok((ticket, signal))
    }

    /// The owner of `record` wants something else of it, which nobody can be told now.
    pub(super) fn forget(&mut self, place: &Place, record: &Record) {
        if let Some(publication) = self.places.get_mut(place) {
            publication.withdraw(&record.key().id, record.pair());
            self.wait(place);
        }
    }

    /// The owner of `record` says that it lives; what is to be waited for, then.
    pub(super) fn renewing(&mut self, place: &Place, record: &Record, now: Instant) -> Result<Ticket> {
        let publication = self.places.get_mut(place).ok_or_else(unknown)?;
        let member = publication.members.get_mut(&record.key().id).ok_or_else(unknown)?;
        member.is(record)?;
        member.renewed_at = now;
        let version = member.version;
        Ok(publication.ticket(&record.key().id, version))
    }

    /// Whether nothing has proven for long that the server has `record`.
    pub(super) fn is_unproven(&self, place: &Place, record: &Record, now: Instant) -> bool {
        let member = self.places.get(place).and_then(|publication| publication.members.get(&record.key().id));
        member.is_some_and(|member| now >= member.proven_at + member.ttl * 2)
    }

    /// The server has answered; whether `record` is there.
    pub(super) fn renewed(&self, place: &Place, record: &Record) -> Result<LostSignal> {
        let publication = self.places.get(place).ok_or_else(unknown)?;
        let member = publication.members.get(&record.key().id).ok_or_else(unknown)?;
        member.is(record)?;
        Ok(member.signal.clone())
    }

    /// `record` is not wanted any more; what is to be waited for, if it was.
    pub(super) fn deregister(&mut self, place: &Place, record: &Record) -> Result<Option<Ticket>> {
        let Some(publication) = self.places.get_mut(place) else { return Ok(None) };
        let Some(member) = publication.members.get(&record.key().id) else { return Ok(None) };
        if let Some(held) = member.wanted.as_ref().filter(|held| held.record.pair() > record.pair()) {
            return Err(conflict(held.record.pair()));
        }
        publication.withdraw(&record.key().id, record.pair());
        let ticket = publication.ticket(&record.key().id, publication.version);
        self.wait(place);
        Ok(Some(ticket))
    }

    /// There is a connection, of which the server knows nothing yet. Everything is published anew that is still wanted.
    pub(super) fn connected(&mut self, generation: u64, flavour: Flavour, now: Instant) {
        self.disconnected();
        for publication in self.places.values_mut() {
            publication.members.retain(|_, member| !member.has_failed_with(generation - 1));
        }
        self.connection = Some((generation, flavour));
        self.expire(now);
        self.places.retain(|_, publication| {
            publication.members.retain(|_, member| member.wanted.is_some());
            publication.told.send_replace(Told { generation, ..Told::default() });
            publication.again = true;
            !publication.members.is_empty()
        });
        let places: Vec<_> = self.places.keys().cloned().collect();
        for place in &places {
            self.wait(place);
        }
    }

    /// There is no connection: the server forgets what was published. Whose first registration nobody has taken was told
    /// that it failed, and is not registered behind his back.
    pub(super) fn disconnected(&mut self) {
        let over = self.connection.take().map_or(0, |(generation, _)| generation);
        for publication in self.places.values_mut() {
            publication.members.retain(|_, member| !member.has_failed_with(over));
            (publication.taken, publication.settle_at, publication.not_before) = (None, None, None);
            (publication.under_way, publication.is_unsettled, publication.sift) = (false, false, None);
            publication.there.clear();
        }
    }

    /// The next set to be sent.
    pub(super) fn next(&mut self, now: Instant) -> Option<Plan> {
        let (generation, flavour) = self.connection?;
        for _ in 0..self.waiting.len() {
            let place = self.waiting.pop_front()?;
            let Some(publication) = self.places.get_mut(&place) else { continue };
            publication.is_waiting = false;
            if publication.under_way || !publication.is_due() {
                continue;
            }
            if publication.not_before.is_some_and(|at| now < at) {
                self.wait(&place);
                continue;
            }
            match publication.plan(flavour) {
                (Some(action), set) => {
                    publication.under_way = true;
                    let again = std::mem::take(&mut publication.again);
                    publication.sent_at = Some(now);
                    let version = publication.planned();
                    return Some(Plan { place, generation, action, version, set, again });
                }
                // The server has what it is to have.
                (None, set) => {
                    publication.finish(generation, publication.planned(), set, None, now);
                    self.wait(&place);
                    self.tidy(&place);
                }
            }
        }
        None
    }

    /// Whether everything is published that is wanted.
    pub(super) fn is_settled(&self) -> bool {
        self.places.values().all(|publication| !publication.under_way && !publication.is_due())
    }

    /// What became of `plan`.
    pub(super) fn done(&mut self, plan: Plan, result: Result<(), Failure>, now: Instant) {
        if self.connection.is_none_or(|(generation, _)| generation != plan.generation) {
            return;
        }
        let Some(publication) = self.places.get_mut(&plan.place) else { return };
        publication.under_way = false;
        match result {
            Ok(()) => {
                publication.finish(plan.generation, plan.version, plan.set, Some(&plan.action), now);
            }
            Err(failure) => {
                let refused = failure.verdict != Verdict::Silence && !failure.error.outcome_unknown();
                publication.fail(&plan, failure, refused, now);
            }
        }
        self.wait(&plan.place);
        self.tidy(&plan.place);
    }

    /// After `asked` the server had these instances of a service.
    pub(super) fn proven(&mut self, place: &Place, generation: u64, asked: Instant, hosts: &[Host]) {
        if self.connection.is_none_or(|(current, _)| current != generation) {
            return;
        }
        let Some(publication) = self.places.get_mut(place) else { return };
        let is_shown = publication.sent_at.is_none_or(|at| asked >= at + SHOWN_AFTER);
        if publication.under_way || publication.is_due() || !is_shown {
            return;
        }
        let mut found: HashMap<&str, Pair> = HashMap::new();
        for (id, pair) in hosts.iter().filter_map(pair_and_id) {
            let highest = found.entry(id).or_insert(pair);
            *highest = pair.max(*highest);
        }
        let mut version = publication.version;
        for (id, member) in &mut publication.members {
            let Some(wanted) = &member.wanted else { continue };
            let pair = wanted.record.pair();
            let cause = match found.get(id.as_str()) {
                Some(found) if *found == pair => None,
                Some(found) if *found > pair => {
                    Some(Error::conflict(*found, "another owner has taken the id over"))
                }
                Some(_) => Some(Error::not_found("the record was overwritten")),
                None => Some(Error::not_found("the record is gone from the server")),
            };
            match cause {
                None => member.proven_at = asked,
                Some(cause) => {
                    version += 1;
                    member.lose(cause, version);
                }
            }
        }
        publication.version = version;
        self.wait(place);
    }

    /// Withdraws whoever was not renewed for its ttl, and has sets sent again whose time has come.
    pub(super) fn tick(&mut self, now: Instant) {
        self.expire(now);
        let due = self.places.iter_mut().filter_map(|(place, publication)| {
            // What is under way may be a part of the set.
            let is_free = !publication.under_way;
            publication.settle_at.take_if(|at| is_free && now >= *at)?;
            publication.again = true;
            Some(place.clone())
        });
        let due: Vec<_> = due.collect();
        for place in &due {
            self.wait(place);
        }
    }

    fn expire(&mut self, now: Instant) {
        let is_connected = self.connection.is_some();
        let mut changed = Vec::new();
        for (place, publication) in &mut self.places {
            for member in publication.members.values_mut().filter(|member| member.is_overdue(now)) {
                publication.version += 1;
                member.lose(Error::not_found("the record was not renewed in time"), publication.version);
                changed.push(place.clone());
            }
            if !is_connected {
                publication.members.retain(|_, member| member.wanted.is_some());
            }
        }
        if !is_connected {
            self.places.retain(|_, publication| !publication.members.is_empty());
        }
        for place in &changed {
            self.wait(place);
        }
    }

    fn wait(&mut self, place: &Place) {
        if let Some(publication) = self.places.get_mut(place)
            && !publication.is_waiting
            && !publication.under_way
            && publication.is_due()
        {
            publication.is_waiting = true;
            self.waiting.push_back(place.clone());
        }
    }

    /// Forgets a service of which there is nothing.
    fn tidy(&mut self, place: &Place) {
        let over = |publication: &Publication| {
            publication.members.is_empty()
                && !publication.under_way
                && !publication.is_due()
                && publication.settle_at.is_none()
                && !publication.is_unsettled
        };
        if self.places.get(place).is_some_and(over) {
            self.places.remove(place);
        }
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

impl Member {
    /// Whether `record` is what is published.
    fn is(&self, record: &Record) -> Result<()> {
        let wanted = self.wanted.as_ref().ok_or_else(unknown)?;
        let holder = wanted.record.pair();
        if holder > record.pair() {
            return Err(conflict(holder));
        }
        if wanted.record.instance != record.instance {
            return Err(Error::not_found("the record is there with other content"));
        }
        Ok(())
    }
}

fn unknown() -> Error {
    Error::not_found("the record was not registered here, or not renewed in time")
}

fn conflict(holder: Pair) -> Error {
    Error::conflict(holder, format!("the registry holds a record of this id with the pair {holder}"))
}
