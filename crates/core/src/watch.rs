//! The one driver for never-ending watch streams.
//!
//! When you write a backend, say how to open one round of a watch (list, then follow); [`drive`] makes of it the
//! stream that [`Discovery::watch`](crate::Discovery::watch) promises: it reports an error, backs off, opens the next
//! round, takes silence for an error, drains what is ready, and reads everything anew from time to time.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::backoff::spread;
use crate::{Backoff, Error, ErrorKind, Result, WatchEvent, WatchStream};

/// How a watch is driven. The defaults are for every backend; tests shorten them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WatchOptions {
    /// The shortest pause before the next round after an error. 100 ms.
    pub backoff_base: Duration,
    /// The longest pause before the next round after an error. 5 s.
    pub backoff_cap: Duration,
    /// No item for this long counts as an error. 25 s: two and a half times the 10 s after which a quiet watch owes
    /// a [`WatchEvent::Progress`].
    pub idle: Duration,
    /// Everything is read anew this long after a round was opened, give or take 20 %. 5 min: it bounds the life of a
    /// change that a registry failed to tell (etcd lost watch events in seven releases, etcd robustness README).
    pub reread: Duration,
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            backoff_base: Duration::from_millis(100),
            backoff_cap: Duration::from_secs(5),
            idle: Duration::from_secs(25),
            reread: Duration::from_secs(300),
        }
    }
}

/// A registry that asks for more than this is asked again all the same. A view gives up a watch that was silent for
/// 30 s and opens another, which knows nothing of the pause: a longer one would not be kept.
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// How many ready items are drained before a listing is handed over all the same.
const DRAIN: usize = 1024;

/// A never-ending stream made of rounds. `open` starts a round: a stream whose first item is a listing.
///
/// `backend` is the configured name, for errors. `closed` resolves when the backend is closed: the stream then ends
/// at once, after an item of kind `Closed`, and only then. Where a backend has a session with a back-off of its own,
/// `open` waits for the session.
pub fn drive<C, F, O>(backend: Arc<str>, options: WatchOptions, closed: C, open: F) -> WatchStream
where
    C: Future<Output = ()> + Send + 'static,
    F: FnMut() -> O + Send + 'static,
    O: Future<Output = Result<WatchStream>> + Send + 'static,
{
    let backoff = Backoff::new(options.backoff_base, options.backoff_cap);
    let driver =
        Driver { backend, options, open, backoff, round: None, ready: None, retry_at: None, ended: false };
    futures::stream::unfold((driver, closed.boxed()), |(mut driver, mut closed)| async move {
        if driver.ended {
            return None;
        }
        let item = tokio::select! {
            biased;
            () = &mut closed => Err(driver.failed(Error::closed("the backend was closed"))),
            item = driver.next() => item,
        };
        Some((item, (driver, closed)))
    })
    .boxed()
}

struct Driver<F> {
    backend: Arc<str>,
    options: WatchOptions,
    open: F,
    backoff: Backoff,
    round: Option<Round>,
    /// What was drained behind a listing and is not one.
    ready: Option<Result<WatchEvent>>,
    retry_at: Option<Instant>,
    ended: bool,
}

struct Round {
    stream: WatchStream,
    reread_at: Instant,
    /// When its first item was handed over.
    answered_at: Option<Instant>,
}

impl<F, O> Driver<F>
where
    F: FnMut() -> O + Send + 'static,
    O: Future<Output = Result<WatchStream>> + Send + 'static,
{
    async fn next(&mut self) -> Result<WatchEvent> {
        // Neither a pause nor a re-read starts it anew: they are silence, too.
        let idle_at = Instant::now() + self.options.idle;
        loop {
            if let Some(at) = self.retry_at.take() {
                sleep_until(at).await;
            }
            let item = match self.ready.take() {
                Some(item) => item.map(Some),
                None => self.follow(idle_at).await,
            };
            match item {
                Ok(None) => {}
                Ok(Some(event)) => {
                    self.answered();
                    return Ok(self.drain(event));
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
    }

    /// The next item of the current round, opening one if there is none; `None` when it is time for a new one.
    async fn follow(&mut self, idle_at: Instant) -> Result<Option<WatchEvent>> {
        let silence = || {
            Error::timeout(format!(
                "the watch was silent for {}",
                humantime::format_duration(self.options.idle)
            ))
        };
        let round = match &mut self.round {
            Some(round) => round,
            none => {
                let stream = timeout_at(idle_at, (self.open)()).await.map_err(|_| silence())??;
                let reread_at = Instant::now() + spread(self.options.reread, 0.2);
                none.insert(Round { stream, reread_at, answered_at: None })
            }
        };
        tokio::select! {
            biased;
            item = round.stream.next() => item_or_end(item).map(Some),
            () = sleep_until(round.reread_at.min(idle_at)) => {
                if round.reread_at > idle_at {
                    return Err(silence());
                }
                self.leave_round();
                Ok(None)
            }
        }
    }

    /// Takes everything that is ready behind a listing; of several listings the last counts.
    fn drain(&mut self, mut event: WatchEvent) -> WatchEvent {
        if !matches!(event, WatchEvent::Listing(_)) {
            return event;
        }
        let Some(round) = &mut self.round else {
            return event;
        };
        for _ in 0..DRAIN {
            match round.stream.next().now_or_never() {
                Some(Some(Ok(later @ WatchEvent::Listing(_)))) => event = later,
                None => break,
                Some(other) => {
                    self.ready = Some(item_or_end(other));
                    break;
                }
            }
        }
        event
    }

    /// The first item of a round is no success yet: where listing works and following breaks at once, every round has
    /// one, and a back-off that it resets never grows.
    fn answered(&mut self) {
        match &mut self.round {
            Some(Round { answered_at: answered_at @ None, .. }) => *answered_at = Some(Instant::now()),
            _ => self.backoff.reset(),
        }
    }

    /// A round that went on for long enough after its first item was a success, too, however quiet it was.
    fn leave_round(&mut self) {
        let answered_at = self.round.take().and_then(|round| round.answered_at);
        if answered_at.is_some_and(|at| at.elapsed() >= self.options.backoff_cap) {
            self.backoff.reset();
        }
    }

    fn failed(&mut self, error: Error) -> Error {
        self.leave_round();
        self.ready = None;
        self.ended = error.kind() == ErrorKind::Closed;
        let asked = error.retry_after().unwrap_or_default().min(LONGEST_PAUSE);
        let pause = self.backoff.next_delay().max(asked);
        self.retry_at = Some(Instant::now() + pause);
        if error.operation().is_some() {
            return error;
        }
        error.with_operation("watch").with_backend(self.backend.clone())
    }
}

/// A round that ends is an error: a watch never does.
fn item_or_end(item: Option<Result<WatchEvent>>) -> Result<WatchEvent> {
    item.unwrap_or_else(|| Err(Error::unavailable("the watch ended")))
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::stream;

    use super::*;
    use crate::{Authority, Listing};

    #[expect(clippy::unnecessary_wraps, reason = "an item of a script")]
    fn listing(revision: u64) -> Result<WatchEvent> {
        Ok(WatchEvent::Listing(Listing::new("main", Authority::Quorum, vec![]).at(0, revision)))
    }

    fn revision(item: Option<Result<WatchEvent>>) -> u64 {
        match item {
            Some(Ok(WatchEvent::Listing(listing))) => listing.revision,
            other => panic!("not a listing: {other:?}"),
        }
    }

    /// Each round plays the next script and then stays silent.
    fn scripted(rounds: Vec<Vec<Result<WatchEvent>>>) -> (WatchStream, Arc<AtomicUsize>) {
        let opened = Arc::new(AtomicUsize::new(0));
        let count = opened.clone();
        let mut rounds = rounds.into_iter();
        let stream = drive("main".into(), WatchOptions::default(), pending(), move || {
            count.fetch_add(1, Ordering::SeqCst);
            let items = rounds.next();
            async move {
                let items = items.ok_or_else(|| Error::unavailable("connection refused"))?;
                Ok(stream::iter(items).chain(stream::pending()).boxed())
            }
        });
        (stream, opened)
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_opened_before_the_first_poll() {
        let (mut stream, opened) = scripted(vec![vec![listing(1)]]);
        assert_eq!(opened.load(Ordering::SeqCst), 0);
        assert_eq!(revision(stream.next().await), 1);
        assert_eq!(opened.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_an_item_and_the_next_round_follows_after_a_pause() {
        let (mut stream, opened) =
            scripted(vec![vec![listing(1), Err(Error::unavailable("reset"))], vec![listing(2)]]);
        assert_eq!(revision(stream.next().await), 1);
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "main: watch: unavailable: reset");
        let before = Instant::now();
        assert_eq!(revision(stream.next().await), 2);
        assert!(before.elapsed() >= Duration::from_millis(100));
        assert_eq!(opened.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn listings_that_are_ready_together_are_handed_over_as_the_last_one() {
        let (mut stream, _) = scripted(vec![vec![listing(1), listing(2), listing(3)]]);
        assert_eq!(revision(stream.next().await), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_an_error_after_25_seconds() {
        let (mut stream, _) = scripted(vec![vec![listing(1)]]);
        assert_eq!(revision(stream.next().await), 1);
        let before = Instant::now();
        let error = stream.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(before.elapsed().as_secs(), 25);
    }

    #[tokio::test(start_paused = true)]
    async fn everything_is_read_anew_within_six_minutes_without_an_error() {
        let mut round = 0;
        let mut stream = drive("main".into(), WatchOptions::default(), pending(), move || {
            round += 1;
            let first = stream::iter([listing(round)]);
            let beat = stream::unfold((), |()| async {
                tokio::time::sleep(Duration::from_secs(9)).await;
                Some((Ok(WatchEvent::Progress { authority: Authority::Quorum, as_of: Instant::now() }), ()))
            });
            async move { Ok(first.chain(beat).boxed()) }
        });
        let start = Instant::now();
        loop {
            match stream.next().await.unwrap().unwrap() {
                WatchEvent::Listing(listing) if listing.revision == 2 => break,
                _ => assert!(start.elapsed() < Duration::from_secs(360)),
            }
        }
        assert!(start.elapsed() >= Duration::from_secs(240));
    }

    #[tokio::test(start_paused = true)]
    async fn the_stream_ends_after_one_closed() {
        let (mut stream, _) = scripted(vec![vec![listing(1), Err(Error::closed("by its owner"))]]);
        assert_eq!(revision(stream.next().await), 1);
        assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert!(stream.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn closing_ends_a_stream_at_once_also_while_it_waits_to_try_again() {
        let (close, closed) = tokio::sync::oneshot::channel::<()>();
        let closed = async { drop(closed.await) };
        let mut stream = drive("main".into(), WatchOptions::default(), closed, || async {
            let asked = Error::unavailable("later").with_retry_after(Duration::from_secs(50));
            Err::<WatchStream, _>(asked)
        });
        stream.next().await.unwrap().unwrap_err();
        let start = Instant::now();
        drop(close);
        assert_eq!(stream.next().await.unwrap().unwrap_err().kind(), ErrorKind::Closed);
        assert!(stream.next().await.is_none() && start.elapsed().is_zero());
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_refuses_is_asked_ever_less_often() {
        let (mut stream, opened) = scripted(vec![]);
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            stream.next().await.unwrap().unwrap_err();
        }
        assert!(opened.load(Ordering::SeqCst) < 60, "{opened:?} rounds in a minute");
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_lists_and_cannot_be_followed_is_asked_ever_less_often() {
        let broken = || vec![listing(1), Err(Error::unavailable("no stream"))];
        let (mut stream, opened) = scripted((0..1000).map(|_| broken()).collect());
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            assert_eq!(revision(stream.next().await), 1);
            stream.next().await.unwrap().unwrap_err();
        }
        assert!(opened.load(Ordering::SeqCst) < 60, "{opened:?} rounds in a minute");
    }

    /// How long a watch pauses after a round of `last`, when twenty rounds before it had failed after one item.
    async fn pause_after(last: Vec<Result<WatchEvent>>) -> Duration {
        let broken = |_| vec![listing(1), Err(Error::unavailable("no stream"))];
        let (mut stream, _) = scripted((0..20).map(broken).chain([last, vec![listing(2)]]).collect());
        for _ in 0..21 {
            while stream.next().await.unwrap().is_ok() {}
        }
        let before = Instant::now();
        assert_eq!(revision(stream.next().await), 2);
        before.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_that_outlives_its_first_item_starts_the_back_off_over() {
        let briefly = Duration::from_millis(250);
        assert!(pause_after(vec![listing(1)]).await < briefly, "quiet until it counts as silent");
        let progress = WatchEvent::Progress { authority: Authority::Quorum, as_of: Instant::now() };
        let lively = vec![listing(1), Ok(progress), Err(Error::unavailable("reset"))];
        assert!(pause_after(lively).await < briefly, "a second item");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_an_error_after_25_seconds_also_across_a_re_read() {
        let options = WatchOptions { reread: Duration::from_secs(20), ..WatchOptions::default() };
        let mut rounds = vec![vec![listing(1)], vec![]].into_iter();
        let mut stream = drive("main".into(), options, pending(), move || {
            let items = rounds.next().unwrap_or_default();
            async move { Ok(stream::iter(items).chain(stream::pending()).boxed()) }
        });
        assert_eq!(revision(stream.next().await), 1);
        let error = timeout_at(Instant::now() + Duration::from_secs(26), stream.next()).await;
        assert_eq!(error.unwrap().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_asks_for_an_hour_is_asked_again_before_the_watch_is_given_up() {
        let mut asked = Some(Error::unavailable("later").with_retry_after(Duration::from_secs(3600)));
        let mut stream = drive("main".into(), WatchOptions::default(), pending(), move || {
            let first = asked.take();
            async move { first.map_or_else(|| Ok(stream::iter([listing(1)]).boxed()), Err) }
        });
        stream.next().await.unwrap().unwrap_err();
        let before = Instant::now();
        assert_eq!(revision(stream.next().await), 1);
        assert_eq!(before.elapsed().as_secs(), 20);
    }
}
