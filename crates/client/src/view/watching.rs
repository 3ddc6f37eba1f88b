//! A watch that goes on, whatever the backend does.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Backend, Backoff, Error, ErrorKind, Result, ServiceKey, WatchEvent, WatchStream};
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout_at};

/// The shortest pause after an error: also the watch driver's, so that it costs a backend nothing that has one. One
/// that errs without a pause would otherwise keep a thread to itself.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before a watch is opened anew that has ended, or has panicked.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A watch that says nothing for so long is broken: it owes a sign of progress every 10 s, and the watch driver gives up
/// after 25 s by itself.
const SILENCE: Duration = Duration::from_secs(30);

/// The watch of one view. Opened when it is first polled, and again when it breaks the contract by ending.
pub(crate) struct Watching {
    backend: Arc<dyn Backend>,
    service: ServiceKey,
    stream: Option<WatchStream>,
    backoff: Backoff,
    resume_at: Option<Instant>,
    silent_at: Option<Instant>,
    /// The backend was closed and has said so: then a watch may end.
    closed: bool,
    /// It has ended, and nothing more will come.
    ended: bool,
}

impl Watching {
    pub(crate) fn new(backend: Arc<dyn Backend>, service: ServiceKey) -> Self {
        let backoff = Backoff::new(PAUSE, LONGEST_PAUSE);
        Self {
            backend,
            service,
            stream: None,
            backoff,
            resume_at: None,
            silent_at: None,
            closed: false,
            ended: false,
        }
    }

    /// The next item.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<WatchEvent> {
        if self.ended {
            return std::future::pending().await;
        }
        if let Some(at) = self.resume_at {
            sleep_until(at).await;
            self.resume_at = None;
        }
        let (stream, backend, service) = (&mut self.stream, &self.backend, &self.service);
        let silent_at = *self.silent_at.get_or_insert_with(|| Instant::now() + SILENCE);
        let next = async { stream.get_or_insert_with(|| backend.watch(service)).next().await };
        let next = timeout_at(silent_at, AssertUnwindSafe(next).catch_unwind()).await;
        self.silent_at = None;
        let error = match next {
            Ok(Ok(Some(Ok(event)))) => {
                self.backoff.reset();
                return Ok(event);
            }
            Ok(Ok(Some(Err(error)))) => {
                self.closed |= error.kind() == ErrorKind::Closed;
                self.resume_at = Some(Instant::now() + PAUSE);
                return Err(error);
            }
            Ok(Ok(None)) if self.closed => {
                // A stream that has ended must not be polled again.
                (self.stream, self.ended) = (None, true);
                return std::future::pending().await;
            }
            Ok(Ok(None)) => Error::unavailable("the watch ended, which it never should"),
            Ok(Err(_)) => Error::unexpected("the backend panicked"),
            Err(_) => Error::timeout(format!("the watch was silent for {SILENCE:?}")),
        };
        self.stream = None;
        self.resume_at = Some(Instant::now() + self.backoff.next_delay());
        Err(error.with_operation("watch"))
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watching").field("service", &self.service).finish_non_exhaustive()
    }
}
