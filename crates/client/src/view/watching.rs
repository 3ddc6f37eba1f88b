//! A watch that goes on, whatever the backend does.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Backend, Backoff, Error, ErrorKind, Result, ServiceKey, WatchEvent, WatchStream};
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until};

/// The shortest pause after an error: also the watch driver's, so that it costs a backend nothing that has one. One
/// that errs without a pause would otherwise keep a thread to itself.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest pause before a watch is opened anew that has ended, or has panicked.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The watch of one view. Opened when it is first polled, and again when it breaks the contract by ending.
pub(crate) struct Watching {
    backend: Arc<dyn Backend>,
    service: ServiceKey,
    stream: Option<WatchStream>,
    backoff: Backoff,
    resume_at: Option<Instant>,
    /// The backend was closed and has said so: then a watch may end.
    closed: bool,
}

impl Watching {
    pub(crate) fn new(backend: Arc<dyn Backend>, service: ServiceKey) -> Self {
        let backoff = Backoff::new(PAUSE, LONGEST_PAUSE);
        Self { backend, service, stream: None, backoff, resume_at: None, closed: false }
    }

    /// The next item.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<WatchEvent> {
        if let Some(at) = self.resume_at {
            sleep_until(at).await;
            self.resume_at = None;
        }
        let (stream, backend, service) = (&mut self.stream, &self.backend, &self.service);
        let next = async { stream.get_or_insert_with(|| backend.watch(service)).next().await };
        let error = match AssertUnwindSafe(next).catch_unwind().await {
            Ok(Some(Ok(event))) => {
                self.backoff.reset();
                return Ok(event);
            }
            Ok(Some(Err(error))) => {
                self.closed |= error.kind() == ErrorKind::Closed;
                self.resume_at = Some(Instant::now() + PAUSE);
                return Err(error);
            }
            Ok(None) if self.closed => return std::future::pending().await,
            Ok(None) => Error::unavailable("the watch ended, which it never should"),
            Err(_) => Error::unexpected("the backend panicked"),
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
