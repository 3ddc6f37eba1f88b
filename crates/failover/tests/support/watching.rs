//! A watch through a way that may be in trouble. It behaves as one that [`callsign_core::watch::drive`] makes.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::watch::WatchOptions;
use callsign_core::{
    Authority, Backend, Backoff, Error, ErrorKind, Listing, Result, ServiceKey, WatchEvent, WatchStream,
};
use futures::StreamExt;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::through::Known;
use super::{Trouble, Way};

/// How often a server without a quorum says that it is there.
const PROGRESS: Duration = Duration::from_secs(5);

pub(super) fn through(
    backend: Arc<dyn Backend>,
    way: Way,
    known: Arc<Known>,
    service: ServiceKey,
) -> WatchStream {
    let options = WatchOptions::default();
    let watching = Watching {
        inner: None,
        backend,
        way,
        known,
        service,
        backoff: Backoff::new(options.backoff_base, options.backoff_cap),
        idle: options.idle,
        due: None,
        shown: None,
        reopened: false,
    };
    futures::stream::unfold(watching, |mut watching| async move {
        let item = watching.next().await?;
        Some((item, watching))
    })
    .boxed()
}

struct Watching {
    /// `None` after whatever was said has not been heard.
    inner: Option<WatchStream>,
    backend: Arc<dyn Backend>,
    way: Way,
    known: Arc<Known>,
    service: ServiceKey,
    backoff: Backoff,
    idle: Duration,
    /// What is wrong, and when that is next said.
    due: Option<(Trouble, Instant)>,
    /// What a minority has shown already.
    shown: Option<Listing>,
    /// The stream that was silent was opened anew.
    reopened: bool,
}

impl Watching {
    async fn next(&mut self) -> Option<Result<WatchEvent>> {
        loop {
            let trouble = self.way.trouble();
            self.reopened &= trouble == Trouble::Mute;
            match trouble {
                Trouble::Mute if !self.reopened => {
                    if timeout(self.idle, self.way.turned(trouble)).await.is_err() {
                        (self.reopened, self.inner) = (true, None);
                        let name = self.backend.info().name.clone();
                        let error = Error::timeout("the watch is silent");
                        return Some(Err(error.with_operation("watch").with_backend(name)));
                    }
                    self.inner = None;
                }
                Trouble::Mute
                | Trouble::None
                | Trouble::WritesFail
                | Trouble::Slow(_)
                | Trouble::Lossy(_) => {
                    (self.due, self.shown) = (None, None);
                    let inner = self.inner.get_or_insert_with(|| {
                        self.way.watched();
                        self.backend.watch(&self.service)
                    });
                    let item = tokio::select! {
                        biased;
                        () = self.way.turned(trouble) => continue,
                        item = inner.next() => item,
                    };
                    self.backoff.reset();
                    if let Some(Ok(WatchEvent::Listing(listing))) = &item {
                        self.known.note(&self.service, listing);
                    }
                    if let Trouble::Slow(by) = trouble {
                        sleep(by).await;
                    }
                    return item;
                }
                Trouble::Minority => {
                    self.inner = None;
                    if let Some(item) = self.of_a_minority().await {
                        return Some(Ok(item));
                    }
                }
                #[expect(clippy::panic, reason = "what it is for")]
                Trouble::Panicking => panic!("this backend is broken"),
                // Whatever is said meanwhile is not heard; but a client that is closed knows it by itself.
                _ => {
                    let (pause, error) = match trouble.refusal(false) {
                        Some(error) => (Duration::ZERO, error),
                        None => (self.idle, Error::timeout("the watch is silent")),
                    };
                    let hangs = trouble == Trouble::Hanging;
                    let fresh = self.due.is_none_or(|(of, _)| of != trouble);
                    if fresh {
                        self.due = Some((trouble, Instant::now() + pause));
                    }
                    let (_, at) = self.due?;
                    let inner = self.inner.get_or_insert_with(|| self.backend.watch(&self.service));
                    tokio::select! {
                        biased;
                        () = self.way.turned(trouble) => self.inner = None,
                        item = inner.next() => match item {
                            Some(Err(error)) if error.kind() == ErrorKind::Closed => return Some(Err(error)),
                            Some(_) => {}
                            None => return None,
                        },
                        () = sleep_until(at), if !hangs => {
                            self.due = Some((trouble, Instant::now() + pause.max(self.backoff.next_delay())));
                            self.inner = None;
                            self.way.watched();
                            let name = self.backend.info().name.clone();
                            return Some(Err(error.with_operation("watch").with_backend(name)));
                        }
                    }
                }
            }
        }
    }

    /// What it knew, once, and then that it is still there. Nothing when the trouble is over.
    async fn of_a_minority(&mut self) -> Option<WatchEvent> {
        if self.shown.is_none() {
            self.shown = self.known.stale(&self.service);
            if let Some(listing) = self.shown.clone() {
                return Some(WatchEvent::Listing(listing));
            }
        }
        let as_of = self.shown.as_ref().map(|listing| listing.as_of);
        tokio::select! {
            biased;
            () = self.way.turned(Trouble::Minority) => None,
            () = sleep(PROGRESS) => as_of.map(|as_of| WatchEvent::Progress { authority: Authority::Stale, as_of }),
        }
    }
}
