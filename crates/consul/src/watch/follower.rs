//! Follows one service by queries that wait for a change.
//!
//! Most answers come from whatever server the agent has at hand. It may be behind, or have started a moment ago and know
//! nothing yet; so whoever seems to be missing is asked for once more at the leader before anybody hears of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use callsign_core::{Authority, Result, spread};
use tokio::time::Instant;

use super::Service;
use super::pace::Pace;
use super::room::Seen;
use crate::agent::{Answer, Lane};
use crate::epoch::Position;
use crate::error::Failure;
use crate::reader::{How, Proven, Reader, as_of, index_of, no_listing};
use crate::records::Found;
use crate::signs::Proof;

/// Everything is read anew after so long, give or take a fifth.
const REREAD: Duration = Duration::from_secs(300);
/// How long a query waits at least. Also while nothing is proven: the leader is asked soon.
const SHORTEST: Duration = Duration::from_secs(1);

pub(super) struct Follower<'a> {
    reader: &'a Reader,
    service: &'a Service,
    pace: Pace,
    /// Who gave the last answer: an index means nothing elsewhere.
    agent: usize,
    index: u64,
    position: Position,
    last: Reading,
    /// Whether the leader has said that this is all.
    proven: bool,
    reread_at: Instant,
}

/// A body, and what stands in it.
#[derive(Debug, Clone, Default)]
struct Reading {
    /// The body's hash, where there was one.
    body: Option<u64>,
    found: Arc<Found>,
}

impl<'a> Follower<'a> {
    /// The first answer: the leader's; or, where there is none, what any server has.
    pub(super) async fn begin(reader: &'a Reader, service: &'a Service) -> Result<(Self, Seen)> {
        let mut follower = Self {
            reader,
            service,
            pace: Pace::new(),
            agent: reader.agents().current(),
            index: 1,
            position: Position::default(),
            last: Reading::default(),
            proven: false,
            reread_at: Instant::now(),
        };
        let seen = match reader.proven(service.place()).await {
            Ok(proven) => follower.take_proven(&proven).await?,
            Err(Failure { error, .. }) if error.counts_as_outage() => {
                let stale = reader.ask(service.place(), How::Stale).await;
                // Neither answers: the first one says why.
                let (agent, answer) = stale.map_err(|_| error)?;
                follower.agent = agent;
                let reading = follower.read(&answer)?;
                reader.check(agent, service.place(), &answer, &reading.found).await?;
                follower.take_unproven(&answer, reading)
            }
            Err(failure) => return Err(failure.error),
        };
        Ok((follower, seen))
    }

    /// What is there after the next change, or when a query has waited in vain.
    pub(super) async fn next(&mut self) -> Result<Seen> {
        self.pace.take().await;
        if Instant::now() >= self.reread_at {
            return self.ask_leader().await;
        }
        let answer = self.wait().await?;
        let healthy = self.is_healthy(&answer);
        if healthy && (!self.proven || index_of(&answer) < self.index) {
            return self.ask_leader().await;
        }
        let reading = self.read(&answer)?;
        // Nothing is proven by a server that has lost its leader, but what it has is shown as that.
        if healthy && reading.found.lacks_any_of(&self.last.found) {
            return self.ask_leader().await;
        }
        self.reader.check(self.agent, self.service.place(), &answer, &reading.found).await?;
        if !healthy {
            return Ok(self.take_unproven(&answer, reading));
        }
        // Somebody else may have found meanwhile that the registry has begun anew.
        if !self.reader.epochs().follow(self.service.place(), self.position.epoch, index_of(&answer)) {
            return self.ask_leader().await;
        }
        Ok(self.take_healthy(&answer, reading))
    }

    /// Asks for the next change.
    async fn wait(&self) -> Result<Answer> {
        let how = if self.reader.agents().settings().watch.stale { How::Stale } else { How::Leader };
        let wait = self.patience();
        let request = self.reader.request(self.service.place(), how);
        let request =
            request.with("index", &self.index.to_string()).with("wait", &format!("{}ms", wait.as_millis()));
        let proof = if how == How::Stale { Proof::Agent } else { Proof::Server };
        let agents = self.reader.agents();
        let pulse = self.reader.pulses.of(agents, self.agent)?;
        tokio::select! {
            biased;
            answer = agents.ask(self.agent, &request, Lane::Blocking(wait), proof) => {
                answer.map_err(|failure| failure.error)
            }
            error = pulse.stops() => Err(error),
        }
    }

    /// How long a query may wait: less where more services are followed than queries may wait at a time.
    fn patience(&self) -> Duration {
        let watch = &self.reader.agents().settings().watch;
        if !self.proven {
            return SHORTEST;
        }
        let rooms = self.reader.rooms.load(Ordering::Relaxed);
        if rooms <= watch.max_blocked {
            return watch.wait;
        }
        let share = u32::try_from(watch.max_blocked).unwrap_or(u32::MAX);
        let rooms = u32::try_from(rooms).unwrap_or(u32::MAX);
        (watch.wait * share / rooms).max(SHORTEST)
    }

    async fn ask_leader(&mut self) -> Result<Seen> {
        let proven = self.reader.proven(self.service.place()).await.map_err(|failure| failure.error)?;
        self.take_proven(&proven).await
    }

    async fn take_proven(&mut self, proven: &Proven) -> Result<Seen> {
        let reading = self.read(&proven.answer)?;
        self.reader.check(proven.agent, self.service.place(), &proven.answer, &reading.found).await?;
        (self.agent, self.index) = (proven.agent, index_of(&proven.answer));
        (self.position, self.proven) = (proven.position, true);
        self.reread_at = Instant::now() + spread(REREAD, 0.2);
        Ok(self.seen(&proven.answer, reading, Authority::Quorum))
    }

    fn take_healthy(&mut self, answer: &Answer, reading: Reading) -> Seen {
        self.index = index_of(answer);
        self.position.revision = self.index;
        self.seen(answer, reading, Authority::Quorum)
    }

    fn take_unproven(&mut self, answer: &Answer, reading: Reading) -> Seen {
        (self.index, self.proven) = (index_of(answer), false);
        self.position = self.reader.epochs().unproven(self.index);
        self.seen(answer, reading, Authority::Stale)
    }

    fn seen(&mut self, answer: &Answer, reading: Reading, authority: Authority) -> Seen {
        let Position { epoch, revision, .. } = self.position;
        let found = reading.found.clone();
        self.last = reading;
        Seen { found, epoch, revision, authority, as_of: as_of(answer) }
    }

    /// What stands in an answer: the same as in the last one, where nothing has changed that anybody sees.
    fn read(&mut self, answer: &Answer) -> Result<Reading> {
        let started = Instant::now();
        let mut records = self.service.records();
        let body = Some(records.hash(&answer.body));
        let mut reading = Reading { body, found: self.last.found.clone() };
        if body != self.last.body {
            let found =
                records.read(&answer.body, None).map_err(|error| no_listing(self.service.place(), error))?;
            if *found != *reading.found {
                reading.found = found;
            }
        }
        drop(records);
        self.pace.took(answer.took + started.elapsed());
        Ok(reading)
    }

    /// Whether a server has answered that is in touch with its leader, as far as that is said.
    fn is_healthy(&self, answer: &Answer) -> bool {
        let limit = self.reader.agents().settings().watch.max_stale;
        answer.marks.known_leader != Some(false)
            && answer.marks.last_contact.is_none_or(|behind| behind <= limit)
    }
}
