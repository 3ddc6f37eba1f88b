//! Who we are: a token, got by HTTP and shown with every request.
//!
//! A login that fails ends nothing: who is connected stays connected, and what is registered stays registered. It is tried
//! again, by itself and when a request is refused.

mod http;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::config::Secret;
use callsign_core::{Error, Result, jitter};
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{Server, Settings};

/// A refused request leads to another login no more often than this.
const FLOOR: Duration = Duration::from_secs(5);
/// After a login that has failed the next one by itself waits for so long.
const AGAIN: Duration = Duration::from_secs(5);
/// A server that grants no time, or none that makes sense, grants this; and no token is kept longer than a day.
const LEAST: Duration = Duration::from_secs(5);
const MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// The token of one backend, for all of its requests.
#[derive(Debug)]
pub(crate) struct Tokens {
    settings: Arc<Settings>,
    now: Mutex<Now>,
    /// One login at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Now {
    token: Option<Secret>,
    refresh_at: Option<Instant>,
    tried_at: Option<Instant>,
    failure: Option<Error>,
}

/// What a login is for.
#[derive(Debug, Clone, Copy)]
enum Why<'a> {
    /// The token will end.
    Time,
    /// A request was refused with this token, or without one.
    Refused(Option<&'a Secret>),
}

impl Tokens {
    pub(crate) fn new(settings: Arc<Settings>) -> Self {
        Self { settings, now: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// The token, where there is one.
    pub(crate) fn current(&self) -> Option<Secret> {
        self.now().token.clone()
    }

    /// Why there is none, or none that is fresh.
    pub(crate) fn failure(&self) -> Option<Error> {
        self.now().failure.clone()
    }

    /// Logs in at `server`, unless there is a token that is fresh, or somebody has tried just now.
    pub(crate) async fn begin(&self, server: &Server) {
        if self.settings.has_user() && self.now().refresh_at.is_none_or(|at| Instant::now() >= at) {
            self.log_in(server, Why::Time).await;
        }
    }

    /// Keeps the token fresh for as long as a session with `server` lasts. `told` hears of each end of a login.
    pub(crate) async fn keep(&self, server: &Server, told: impl Fn(Option<Error>)) {
        if !self.settings.has_user() {
            return std::future::pending().await;
        }
        told(self.failure());
        loop {
            let at = self.now().refresh_at.unwrap_or_else(|| Instant::now() + AGAIN);
            sleep_until(at).await;
            // Somebody else may have logged in meanwhile.
            if self.now().refresh_at.is_none_or(|at| Instant::now() >= at) {
                self.log_in(server, Why::Time).await;
                told(self.failure());
            }
        }
    }

    /// Another token than `refused`, if one is to be had now.
    pub(crate) async fn after(&self, refused: Option<&Secret>, server: &Server) -> Option<Secret> {
        if !self.settings.has_user() {
            return None;
        }
        self.log_in(server, Why::Refused(refused)).await;
        self.current().filter(|token| Some(token) != refused)
    }

    async fn log_in(&self, server: &Server, why: Why<'_>) {
        let _turn = self.turn.lock().await;
        {
            let now = self.now();
            // Somebody else has a newer one, or has just tried.
            if let Why::Refused(refused) = why
                && (now.token.as_ref() != refused || now.tried_at.is_some_and(|at| at.elapsed() < FLOOR))
            {
                return;
            }
        }
        self.now().tried_at = Some(Instant::now());
        let limit = self.settings.request_timeout;
        let granted = timeout(limit, self.ask(server)).await.unwrap_or_else(|_| {
            let limit = humantime::format_duration(limit);
            Err(Error::timeout(format!("cannot log in at {}: no answer within {limit}", server.http.url())))
        });
        let mut now = self.now();
        match granted {
            Ok((token, ttl)) => {
                let ttl = ttl.clamp(LEAST, MOST);
                now.token = Some(token);
                now.failure = None;
                // As the Java client does, so that a fleet does not log in at once.
                now.refresh_at = Some(Instant::now() + ttl - ttl / 15 - jitter(ttl / 30));
            }
            Err(error) => {
                // The former token may do yet.
                now.failure = Some(error);
                now.refresh_at = Some(Instant::now() + AGAIN);
            }
        }
    }

    async fn ask(&self, server: &Server) -> Result<(Secret, Duration)> {
        match self.settings.user()? {
            Some((user, password)) => http::log_in(&self.settings, server, user, &password).await,
            None => Err(Error::config("`username`: there is none")),
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        // No change of it can be seen half done.
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
