//! A watch on which everything happens that may.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::watch::WatchOptions;
use callsign_core::{
    Backend, Backoff, Error, ErrorKind, Listing, Result, ServiceKey, WatchEvent, WatchStream,
};
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::control::{cut, silent};
use super::{ChaosControl, Link, Rates, stale};

/// Two layers: the inner one knows of the link, the outer one delays, repeats and mixes.
pub(super) fn watch(backend: Arc<dyn Backend>, control: ChaosControl, service: ServiceKey) -> WatchStream {
    let outer = Outer {
        inner: linked(backend, control.clone(), service),
        control,
        ready: VecDeque::new(),
        former: None,
        progress: None,
    };
    futures::stream::unfold(outer, |mut outer| async move {
        let item = outer.next().await?;
        Some((item, outer))
    })
    .boxed()
}

fn linked(backend: Arc<dyn Backend>, control: ChaosControl, service: ServiceKey) -> WatchStream {
    let options = WatchOptions::default();
    let linked = Linked {
        inner: backend.watch(&service),
        backend,
        service,
        control,
        missed: false,
        error_at: Instant::now(),
        backoff: Backoff::new(options.backoff_base, options.backoff_cap),
        idle: options.idle,
    };
    futures::stream::unfold(linked, |mut linked| async move {
        let item = linked.next().await?;
        Some((item, linked))
    })
    .boxed()
}

/// A watch over a link that may be down. It behaves as one that [`callsign_core::watch::drive`] makes.
struct Linked {
    inner: WatchStream,
    backend: Arc<dyn Backend>,
    service: ServiceKey,
    control: ChaosControl,
    /// Whether the link was down, so that something may have been missed.
    missed: bool,
    /// When the next error is due while the link is down.
    error_at: Instant,
    backoff: Backoff,
    idle: Duration,
}

impl Linked {
    async fn next(&mut self) -> Option<Result<WatchEvent>> {
        loop {
            let link = self.control.link();
            if link == Link::Up {
                if self.missed {
                    // Whatever was said in the meantime was not heard: from the beginning.
                    self.missed = false;
                    self.backoff.reset();
                    self.inner = self.backend.watch(&self.service);
                }
                tokio::select! {
                    biased;
                    () = self.control.turned(link) => {}
                    item = self.inner.next() => return item,
                }
                continue;
            }
            if !self.missed {
                self.missed = true;
                self.error_at = Instant::now() + if link == Link::Cut { Duration::ZERO } else { self.idle };
            }
            tokio::select! {
                biased;
                () = self.control.turned(link) => self.error_at = self.error_at.min(Instant::now() + self.idle),
                item = self.inner.next() => match item {
                    // A client that is closed knows it without its registry.
                    Some(Err(error)) if error.kind() == ErrorKind::Closed => return Some(Err(error)),
                    Some(_) => {}
                    None => return None,
                },
                () = sleep_until(self.error_at) => {
                    let (error, pause) = match link {
                        Link::Cut => (cut(), self.backoff.next_delay()),
                        _ => (silent(), self.idle),
                    };
                    self.error_at = Instant::now() + pause;
                    return Some(Err(self.named(error)));
                }
            }
        }
    }

    fn named(&self, error: Error) -> Error {
        error.with_operation("watch").with_backend(self.backend.info().name.clone())
    }
}

struct Outer {
    inner: WatchStream,
    control: ChaosControl,
    ready: VecDeque<Result<WatchEvent>>,
    former: Option<Listing>,
    progress: Option<WatchEvent>,
}

impl Outer {
    async fn next(&mut self) -> Option<Result<WatchEvent>> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some(item);
            }
            match self.inner.next().await? {
                Ok(WatchEvent::Listing(listing)) => self.listing(listing).await,
                Ok(event) => {
                    self.control.delay().await;
                    if matches!(event, WatchEvent::Progress { .. }) {
                        self.progress = Some(event.clone());
                    }
                    self.ready.push_back(Ok(event));
                }
                Err(error) => self.ready.push_back(Err(error)),
            }
        }
    }

    async fn listing(&mut self, mut listing: Listing) {
        let rates = self.control.rates();
        self.control.delay().await;
        let mut behind = None;
        if self.control.strikes(rates.coalesce) {
            self.control.pause(rates.longest_delay).await;
            while let Some(Some(item)) = self.inner.next().now_or_never() {
                match item {
                    Ok(WatchEvent::Listing(later)) => listing = later,
                    other => {
                        behind = Some(other);
                        break;
                    }
                }
            }
        }
        // The first item is a listing, or what really stands in the way; mischief comes later.
        if let Some(former) = self.former.replace(listing.clone()) {
            self.mischief_before(former, rates);
        }
        self.ready.push_back(Ok(WatchEvent::Listing(listing.clone())));
        if self.control.strikes(rates.duplicate) {
            self.ready.push_back(Ok(WatchEvent::Listing(listing.clone())));
        }
        if let Some(progress) = self.progress.clone()
            && self.control.strikes(rates.progress)
        {
            self.ready.push_back(Ok(progress));
        }
        self.ready.extend(behind);
    }

    fn mischief_before(&mut self, former: Listing, rates: Rates) {
        if self.control.strikes(rates.broken_watch) {
            let error = Error::unavailable("the watch broke by chance")
                .with_operation("watch")
                .with_backend(former.source.clone());
            self.ready.push_back(Err(error));
        }
        if self.control.strikes(rates.stale) {
            self.ready.push_back(Ok(WatchEvent::Listing(stale(former))));
        }
    }
}
