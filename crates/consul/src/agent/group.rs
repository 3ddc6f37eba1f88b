//! All agents: which one is asked, how many calls there are at a time, and what the outcomes say of the registry.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callsign_core::{Error, Events, Result};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::answer::Answer;
use super::one::{Agent, Request};
use super::token::Tokens;
use crate::config::Settings;
use crate::error::{Failure, Verdict};
use crate::signs::{Proof, Signs};

/// So many calls of each kind are made at a time: with what waits for changes, fewer than the 200 connections that an
/// agent takes of one host.
const CALLS: usize = 32;

/// What a call is, and with which others it shares what there is of connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Keeps a record alive: waits for nothing but its like.
    Renew,
    /// Everything else that is answered at once.
    Control,
    /// Waits for a change for so long.
    Blocking(Duration),
    /// Feels an agent's pulse: one at a time, and waits for nothing.
    Pulse,
}

/// The agents of one backend.
pub(crate) struct Agents {
    settings: Arc<Settings>,
    all: Vec<Agent>,
    tokens: Tokens,
    /// Whom reads ask first.
    current: AtomicUsize,
    signs: Signs,
    closed: watch::Sender<bool>,
    renewals: Semaphore,
    control: Semaphore,
    blocked: Semaphore,
}

impl Agents {
    pub(crate) fn new(settings: Settings, events: Events) -> Self {
        let settings = Arc::new(settings);
        let agents = settings.addresses.iter().map(|address| Agent::new(settings.clone(), address.clone()));
        Self {
            all: agents.collect(),
            tokens: Tokens::default(),
            current: AtomicUsize::new(0),
            signs: Signs::new(events),
            closed: watch::Sender::new(false),
            renewals: Semaphore::new(CALLS),
            control: Semaphore::new(CALLS),
            blocked: Semaphore::new(settings.watch.max_blocked),
            settings,
        }
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) fn signs(&self) -> &Signs {
        &self.signs
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Whom reads ask first.
    pub(crate) fn current(&self) -> usize {
        self.current.load(Ordering::Relaxed)
    }

    /// Asks one agent. `proof` says what a success proves.
    pub(crate) async fn ask(
        &self,
        agent: usize,
        request: &Request,
        lane: Lane,
        proof: Proof,
    ) -> Result<Answer, Failure> {
        let limit = match lane {
            Lane::Blocking(wait) => self.settings.patience(wait),
            Lane::Renew | Lane::Control | Lane::Pulse => self.settings.request_timeout,
        };
        self.ask_within(agent, request, lane, proof, limit).await
    }

    /// As [`ask`](Self::ask), within `limit`.
    pub(crate) async fn ask_within(
        &self,
        agent: usize,
        request: &Request,
        lane: Lane,
        proof: Proof,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let outcome = self.attempt(agent, request, lane, limit).await;
        match &outcome {
            Ok(_) => self.signs.success(proof),
            Err(failure) => self.signs.failure(failure),
        }
        outcome
    }

    /// Asks an agent that can be used: the current one, or else the next. Which one has answered.
    pub(crate) async fn ask_any(&self, request: &Request, proof: Proof) -> Result<(usize, Answer), Failure> {
        let first = self.current();
        let mut last = None;
        for step in 0..self.all.len() {
            let agent = (first + step) % self.all.len();
            match self.attempt(agent, request, Lane::Control, self.settings.request_timeout).await {
                Ok(answer) => {
                    self.prefer(agent);
                    self.signs.success(proof);
                    return Ok((agent, answer));
                }
                Err(failure) if matches!(failure.verdict, Verdict::Elsewhere | Verdict::NoLeader) => {
                    // What a person has to mend is told, whatever else is wrong.
                    if last.as_ref().is_none_or(|last: &Failure| !last.error.is_misconfiguration()) {
                        last = Some(failure);
                    }
                }
                Err(failure) => {
                    self.signs.failure(&failure);
                    return Err(failure);
                }
            }
        }
        let failure = last.unwrap_or_else(|| Failure {
            error: Error::unavailable("there is no address"),
            verdict: Verdict::Elsewhere,
        });
        self.signs.failure(&failure);
        Err(failure)
    }

    /// Asks one agent something that not every version knows: a refusal says nothing of the registry.
    pub(crate) async fn inquire(&self, agent: usize, request: &Request) -> Result<Answer, Failure> {
        self.attempt(agent, request, Lane::Control, self.settings.request_timeout).await
    }

    /// What the token may see has turned out to be too little, which Consul does not call a refusal: perhaps there is
    /// another one by now.
    pub(crate) fn read_token_again(&self) {
        self.tokens.after(&self.settings, None);
    }

    /// Has reads and new registrations ask `agent` first from now on.
    pub(crate) fn prefer(&self, agent: usize) {
        self.current.store(agent, Ordering::Relaxed);
    }

    /// Says no more of it than the answer: for the one who asks.
    async fn attempt(
        &self,
        agent: usize,
        request: &Request,
        lane: Lane,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let (permits, blocking) = match lane {
            Lane::Renew => (Some(&self.renewals), false),
            Lane::Control => (Some(&self.control), false),
            Lane::Blocking(_) => (Some(&self.blocked), true),
            Lane::Pulse => (None, false),
        };
        let exchange = async {
            let _permit = match permits {
                Some(permits) => Some(permits.acquire().await),
                None => None,
            };
            let Some(agent) = self.all.get(agent) else { return Err(closed()) };
            // Who waits for changes asks the leader what has become of them.
            let (until, mut again) = (Instant::now() + limit, if blocking { 0 } else { request.again() });
            loop {
                let limit = until.saturating_duration_since(Instant::now());
                match agent.ask(&self.tokens, request, blocking, limit).await {
                    Err(failure) if failure.verdict == Verdict::NoLeader && again > 0 => again -= 1,
                    answer => return answer,
                }
            }
        };
        tokio::select! {
            biased;
            () = self.closed() => Err(closed()),
            answer = exchange => answer,
        }
    }

    /// Resolves when the backend is closed.
    pub(crate) fn closed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut closed = self.closed.subscribe();
        async move {
            // Agents that are gone were closed, too.
            let _ = closed.wait_for(|closed| *closed).await;
        }
    }

    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        self.all.iter().for_each(Agent::close);
    }
}

fn closed() -> Failure {
    Failure { error: Error::closed("the backend was closed"), verdict: Verdict::Answer }
}

impl fmt::Debug for Agents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<_> = self.all.iter().map(Agent::url).collect();
        f.debug_struct("Agents")
            .field("addresses", &urls)
            .field("current", &self.current)
            .finish_non_exhaustive()
    }
}
