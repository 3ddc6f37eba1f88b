//! What may be wrong between one client and one of its registries.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use callsign_core::{Error, ErrorKind, EventKind, EventStream, Events};
use tokio::sync::watch;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// The port is closed: everything is refused at once.
    Refused,
    /// Nothing is answered; the backend gives a call up by itself.
    Silent,
    /// Nothing is answered, and the backend never gives up.
    Hanging,
    /// What is asked is done, and answers do not come.
    Deaf,
    /// Every call panics.
    Panicking,
    /// 403.
    Denied,
    /// 429.
    Limited,
    /// Writes end in a 500; everything else is well.
    WritesFail,
    /// Everything takes so much longer.
    Slow(Duration),
    /// So many calls of 100 are not answered.
    Lossy(u8),
    /// The server is in a minority: it answers with what it knew, and takes no writes.
    Minority,
    /// Watches that are open say nothing more; calls are answered, and watches that are opened anew are well.
    Mute,
}

impl Trouble {
    /// What somebody learns who calls, if he learns it at once.
    pub(crate) fn refusal(self, writes: bool) -> Option<Error> {
        match self {
            Self::Refused => Some(Error::unavailable("connection refused")),
            Self::Denied => Some(Error::new(ErrorKind::PermissionDenied, "the user may not do this")),
            Self::Limited => {
                let error = Error::new(ErrorKind::RateLimited, "too many requests");
                Some(error.with_retry_after(Duration::from_secs(1)))
            }
            Self::WritesFail if writes => Some(Error::unexpected("500 internal server error")),
            Self::Minority if writes => Some(Error::unavailable("there is no leader")),
            _ => None,
        }
    }

    /// What a connection that is open tells when it begins.
    fn event(self) -> Option<EventKind> {
        match self {
            Self::None => Some(EventKind::Ready),
            Self::Refused => Some(EventKind::Lost),
            Self::Denied => Some(EventKind::Misconfigured),
            _ => None,
        }
    }
}

/// The way of one client to one of its registries. All clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Way(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    trouble: watch::Sender<Trouble>,
    calls: AtomicUsize,
    watches: AtomicUsize,
    events: Events,
}

impl Way {
    /// A clear way to the registry called `name`.
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self(Arc::new(Inner {
            trouble: watch::Sender::default(),
            calls: AtomicUsize::new(0),
            watches: AtomicUsize::new(0),
            events: Events::new(name),
        }))
    }

    /// From now on this is wrong, and nothing else.
    pub(crate) fn set(&self, trouble: Trouble) {
        if self.0.trouble.send_replace(trouble) != trouble
            && let Some(kind) = trouble.event()
        {
            self.0.events.publish(kind, trouble.refusal(false));
        }
    }

    /// What is wrong.
    pub(crate) fn trouble(&self) -> Trouble {
        *self.0.trouble.borrow()
    }

    /// Waits until something else is wrong than `trouble`.
    pub(crate) async fn turned(&self, trouble: Trouble) {
        // The sender lives as long as `self`.
        let _ = self.0.trouble.subscribe().wait_for(|now| *now != trouble).await;
    }

    /// How many calls were made, of any kind.
    pub(crate) fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    /// How many watches were opened, again and again.
    pub(crate) fn watches(&self) -> usize {
        self.0.watches.load(Ordering::Relaxed)
    }

    pub(super) fn called(&self) {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn watched(&self) {
        self.0.watches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn events(&self) -> EventStream {
        self.0.events.subscribe()
    }
}
