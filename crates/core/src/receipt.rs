//! What a registry says after a write.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::Error;

/// The answer to a successful write.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Receipt {
    /// The ttl the registry granted: how long the record lives from now without being renewed. May differ from
    /// what was asked.
    pub ttl: Duration,
    /// Whether the registry has proven the write. `false`: accepted, not proven yet.
    pub committed: bool,
    /// Where several registries stand behind the backend: those that did not take the write yet, and why.
    pub pending: Vec<(Arc<str>, Error)>,
    /// Fires when the backend learns by itself that the record is lost.
    pub lost: LostSignal,
}

impl Receipt {
    /// A committed write with nothing pending, and nobody who would notice a loss.
    #[must_use]
    pub fn new(ttl: Duration) -> Self {
        Self { ttl, committed: true, pending: Vec::new(), lost: LostSignal::never() }
    }

    /// Says whether the registry has proven the write.
    #[must_use]
    pub fn with_committed(mut self, committed: bool) -> Self {
        self.committed = committed;
        self
    }

    /// Adds the registries that did not take the write yet.
    #[must_use]
    pub fn with_pending(mut self, pending: Vec<(Arc<str>, Error)>) -> Self {
        self.pending = pending;
        self
    }

    /// Adds the signal that fires when the backend learns of a loss by itself.
    #[must_use]
    pub fn with_lost(mut self, lost: LostSignal) -> Self {
        self.lost = lost;
        self
    }
}

/// Fires once when a backend learns by itself that a record is lost: its session expired, its stream was closed,
/// somebody deleted it. Saves the time to the next renewal.
#[derive(Clone)]
pub struct LostSignal(Option<watch::Receiver<Option<Error>>>);

/// The other end of a [`LostSignal`]. Dropping it without firing means that nobody watches any more, not a loss.
#[derive(Debug)]
pub struct LostTrigger(watch::Sender<Option<Error>>);

impl LostSignal {
    /// A signal that never fires.
    #[must_use]
    pub const fn never() -> Self {
        Self(None)
    }

    /// A signal and its trigger.
    #[must_use]
    pub fn channel() -> (LostTrigger, Self) {
        let (sender, receiver) = watch::channel(None);
        (LostTrigger(sender), Self(Some(receiver)))
    }

    /// Waits for the loss and returns its cause; for ever, if nobody can notice one.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn fired(&mut self) -> Error {
        if let Some(receiver) = &mut self.0
            && let Ok(cause) = receiver.wait_for(Option::is_some).await
            && let Some(cause) = cause.clone()
        {
            return cause;
        }
        std::future::pending().await
    }
}

impl LostTrigger {
    /// Tells everybody who holds the signal. Only the first cause counts.
    pub fn fire(&self, cause: Error) {
        self.0.send_if_modified(|held| held.is_none() && held.replace(cause).is_none());
    }
}

impl fmt::Debug for LostSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.0 {
            None => "never",
            Some(receiver) if receiver.borrow().is_some() => "fired",
            Some(_) => "armed",
        };
        f.debug_tuple("LostSignal").field(&state).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_signal_fires_with_its_first_cause_and_a_dropped_trigger_means_nothing() {
        let (trigger, signal) = LostSignal::channel();
        trigger.fire(Error::not_found("session expired"));
        trigger.fire(Error::not_found("later"));
        assert_eq!(signal.clone().fired().await.context(), "session expired");

        let (trigger, mut signal) = LostSignal::channel();
        drop(trigger);
        assert!(signal.fired().now_or_never().is_none());
        assert!(LostSignal::never().fired().now_or_never().is_none());
    }
}
