//! Follows a watch and holds every item against the rules.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{
    Authority, Backend, BackendInfo, Error, Listing, Result, ServiceKey, WatchEvent, WatchStream,
};
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use super::compare::{brief, broken_rule, within};
use super::outcome::chain;
use super::{CaseResult, Stop};

/// A watch under observation: whatever a case waits for, every item on the way must be legal.
pub struct Watcher {
    stream: WatchStream,
    service: ServiceKey,
    info: BackendInfo,
    bound: Duration,
    last: Option<(u64, u64)>,
    heard: String,
}

impl Watcher {
    pub(super) fn new(client: &Arc<dyn Backend>, service: &ServiceKey, bound: Duration) -> Self {
        Self {
            stream: client.watch(service),
            service: service.clone(),
            info: client.info().clone(),
            bound,
            last: None,
            heard: "nothing".to_owned(),
        }
    }

    /// The next item, whatever it is; `None` at the end of the stream.
    #[track_caller]
    pub fn item(
        &mut self,
        bound: Duration,
    ) -> impl Future<Output = CaseResult<Option<Result<WatchEvent>>>> + Send + '_ {
        self.item_at(Location::caller(), Instant::now() + bound, "an item")
    }

    async fn item_at(
        &mut self,
        at: &'static Location<'static>,
        deadline: Instant,
        what: &str,
    ) -> CaseResult<Option<Result<WatchEvent>>> {
        let Ok(item) = timeout_at(deadline, self.stream.next()).await else {
            let heard = &self.heard;
            return Err(Stop::failed_at(
                at,
                format!("the watch does not show {what}; the last item was {heard}"),
            ));
        };
        match &item {
            Some(Ok(event)) => self.check(event).map_err(|rule| Stop::failed_at(at, rule))?,
            Some(Err(error)) => self.heard = format!("the error `{}`", chain(error)),
            None => "the end of the stream".clone_into(&mut self.heard),
        }
        Ok(item)
    }

    fn check(&mut self, event: &WatchEvent) -> Result<(), String> {
        match event {
            WatchEvent::Listing(listing) => {
                self.heard = brief(listing);
                if let Some(rule) = broken_rule(listing, &self.service, &self.info) {
                    return Err(rule);
                }
                // A stale answer says of itself that it may be behind.
                if listing.authority == Authority::Stale {
                    return Ok(());
                }
                let now = (listing.epoch, listing.revision);
                if let Some(last) = self.last.replace(now)
                    && now < last
                {
                    return Err(format!(
                        "the watch went back from {}.{} to {}.{}",
                        last.0, last.1, now.0, now.1
                    ));
                }
                Ok(())
            }
            WatchEvent::Progress { authority, as_of } => {
                "a sign of progress".clone_into(&mut self.heard);
                if !within(*authority, self.info.capabilities.authority) {
                    return Err(format!("progress claims {authority:?} authority"));
                }
                if *as_of > Instant::now() {
                    return Err("progress is from the future".to_owned());
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The next listing that is not stale, for as long as a write may take to be seen.
    #[track_caller]
    pub fn listing(&mut self) -> impl Future<Output = CaseResult<Listing>> + Send + '_ {
        let bound = self.bound;
        self.find_at(Location::caller(), bound, "a listing", |_| true)
    }

    /// Follows until `accept` is content with a listing, for as long as a write may take to be seen. Errors on the
    /// way are passed over: a watch mends itself.
    #[track_caller]
    pub fn until<'a>(
        &'a mut self,
        what: &'a str,
        accept: impl FnMut(&Listing) -> bool + Send + 'a,
    ) -> impl Future<Output = CaseResult<Listing>> + Send + 'a {
        let bound = self.bound;
        self.find_at(Location::caller(), bound, what, accept)
    }

    /// As [`until`](Self::until), for as long as `bound`.
    #[track_caller]
    pub fn until_within<'a>(
        &'a mut self,
        bound: Duration,
        what: &'a str,
        accept: impl FnMut(&Listing) -> bool + Send + 'a,
    ) -> impl Future<Output = CaseResult<Listing>> + Send + 'a {
        self.find_at(Location::caller(), bound, what, accept)
    }

    async fn find_at(
        &mut self,
        at: &'static Location<'static>,
        bound: Duration,
        what: &str,
        mut accept: impl FnMut(&Listing) -> bool + Send,
    ) -> CaseResult<Listing> {
        let deadline = Instant::now() + bound;
        loop {
            match self.item_at(at, deadline, what).await? {
                Some(Ok(WatchEvent::Listing(listing)))
                    if listing.authority != Authority::Stale && accept(&listing) =>
                {
                    return Ok(listing);
                }
                Some(_) => {}
                None => {
                    return Err(Stop::failed_at(at, format!("the watch ended before it showed {what}")));
                }
            }
        }
    }

    /// Follows until an error comes.
    #[track_caller]
    pub fn error(&mut self, bound: Duration) -> impl Future<Output = CaseResult<Error>> + Send + '_ {
        let at = Location::caller();
        let deadline = Instant::now() + bound;
        async move {
            loop {
                match self.item_at(at, deadline, "an error").await? {
                    Some(Err(error)) => return Ok(error),
                    Some(Ok(_)) => {}
                    None => return Err(Stop::failed_at(at, "the watch ended without an error")),
                }
            }
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("service", &self.service)
            .field("heard", &self.heard)
            .finish_non_exhaustive()
    }
}
