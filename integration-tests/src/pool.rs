//! Servers that are used by one test after the other: starting one takes longer than most tests.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::{Error, Result, async_trait};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// So many servers wait for the next test; more are ended. Tests of one set-up follow each other, so those of
/// another have been waiting in vain.
const IDLE: usize = 6;
/// A server that was healed has served before; one that does not within this is thrown away.
const HEALTHY: Duration = Duration::from_secs(20);

/// A server that can be used again.
#[async_trait]
pub trait Pooled: Send + Sync + Sized + 'static {
    /// What a test asks for; servers of equal set-ups are as good as each other.
    type Setup: Clone + PartialEq + Send + Sync;

    /// Starts one, and waits until it serves.
    async fn start(setup: Self::Setup) -> Result<Arc<Self>>;

    /// How it was set up.
    fn setup(&self) -> &Self::Setup;

    /// How many processes it is: so much room it needs.
    fn processes(setup: &Self::Setup) -> usize {
        let _ = setup;
        1
    }

    /// Waits until all of it serves.
    async fn serves(&self) -> Result<()>;
}

/// Running servers that nobody uses. Dropping the pool ends them.
pub struct Pool<S>(Arc<Servers<S>>);

struct Servers<S> {
    idle: Mutex<Vec<Arc<S>>>,
    /// How many processes tests may use at the same time, and the part of it that is free.
    room: u32,
    free: Arc<Semaphore>,
}

impl<S: Pooled> Pool<S> {
    /// An empty pool, for servers of which no number of tests can have too many.
    #[must_use]
    pub fn new() -> Self {
        Self::with_room(u32::MAX)
    }

    /// An empty pool. Tests that use more than `room` processes together wait for each other: servers that take seconds of
    /// a core to start would keep each other from what is measured in seconds.
    #[must_use]
    pub fn with_room(room: u32) -> Self {
        let most = u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX);
        let room = room.clamp(1, most);
        let free = Arc::new(Semaphore::new(usize::try_from(room).unwrap_or(Semaphore::MAX_PERMITS)));
        Self(Arc::new(Servers { idle: Mutex::default(), room, free }))
    }

    /// A server of its own for a test, as `setup` says: one that is there and serves, or a new one. A test that has one
    /// gives it back before it takes another: others may wait until all are back.
    ///
    /// # Errors
    /// As [`Pooled::start`].
    pub async fn take(&self, setup: &S::Setup) -> Result<Lent<S>> {
        self.take_with(setup, u32::try_from(S::processes(setup)).unwrap_or(u32::MAX)).await
    }

    /// As [`take`](Self::take), when no other test uses any, until it is given back.
    ///
    /// # Errors
    /// As [`Pooled::start`].
    pub async fn take_alone(&self, setup: &S::Setup) -> Result<Lent<S>> {
        self.take_with(setup, self.0.room).await
    }

    async fn take_with(&self, setup: &S::Setup, places: u32) -> Result<Lent<S>> {
        let room = self.0.free.clone().acquire_many_owned(places.min(self.0.room)).await;
        let room = room.map_err(|_| Error::closed("the pool has no room any more"))?;
        while let Some(server) = self.waiting(setup) {
            if let Ok(Ok(())) = timeout(HEALTHY, server.serves()).await {
                return Ok(self.lend(server, room));
            }
        }
        Ok(self.lend(S::start(setup.clone()).await?, room))
    }

    fn waiting(&self, setup: &S::Setup) -> Option<Arc<S>> {
        let mut idle = lock(&self.0.idle);
        let found = idle.iter().position(|server| server.setup() == setup)?;
        Some(idle.remove(found))
    }

    fn lend(&self, server: Arc<S>, room: OwnedSemaphorePermit) -> Lent<S> {
        Lent { server, servers: self.0.clone(), _room: room }
    }
}

impl<S> Clone for Pool<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S: Pooled> Default for Pool<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("idle", &lock(&self.0.idle).len()).finish()
    }
}

/// A server in somebody's use; back in the pool when it is dropped, unless somebody else still has a hand on it, such
/// as a fault that nobody has healed.
pub struct Lent<S> {
    server: Arc<S>,
    servers: Arc<Servers<S>>,
    _room: OwnedSemaphorePermit,
}

impl<S> Deref for Lent<S> {
    type Target = Arc<S>;

    fn deref(&self) -> &Arc<S> {
        &self.server
    }
}

impl<S> Drop for Lent<S> {
    fn drop(&mut self) {
        if Arc::strong_count(&self.server) > 1 {
            return;
        }
        let mut idle = lock(&self.servers.idle);
        idle.push(self.server.clone());
        let surplus = if idle.len() > IDLE { Some(idle.remove(0)) } else { None };
        // Ending a server takes a while, and others want to take theirs.
        drop(idle);
        drop(surplus);
    }
}

impl<S> fmt::Debug for Lent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent").finish_non_exhaustive()
    }
}

fn lock<S>(idle: &Mutex<Vec<Arc<S>>>) -> MutexGuard<'_, Vec<Arc<S>>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use futures::FutureExt;

    use super::*;

    struct Toy {
        setup: &'static str,
        well: AtomicBool,
    }

    #[async_trait]
    impl Pooled for Toy {
        type Setup = &'static str;

        async fn start(setup: &'static str) -> Result<Arc<Self>> {
            Ok(Arc::new(Self { setup, well: AtomicBool::new(true) }))
        }

        fn setup(&self) -> &&'static str {
            &self.setup
        }

        fn processes(setup: &&'static str) -> usize {
            match *setup {
                "large" => 2,
                "larger than all" => 4,
                _ => 1,
            }
        }

        async fn serves(&self) -> Result<()> {
            if self.well.load(Ordering::SeqCst) { Ok(()) } else { Err(Error::unavailable("it burns")) }
        }
    }

    #[tokio::test]
    async fn a_server_is_used_again_by_one_at_a_time() {
        let pool = Pool::<Toy>::new();
        let (first, second) = (pool.take(&"a").await.unwrap(), pool.take(&"a").await.unwrap());
        assert!(!Arc::ptr_eq(&first, &second));
        let address = Arc::as_ptr(&first);
        drop(first);
        assert_eq!(Arc::as_ptr(&pool.take(&"a").await.unwrap()), address);
        assert_ne!(Arc::as_ptr(&pool.take(&"b").await.unwrap()), address);
    }

    #[tokio::test]
    async fn a_server_that_is_not_well_or_in_other_hands_is_not_used_again() {
        let pool = Pool::<Toy>::new();
        pool.take(&"a").await.unwrap().well.store(false, Ordering::SeqCst);
        let next = pool.take(&"a").await.unwrap();
        assert!(next.well.load(Ordering::SeqCst));
        let in_other_hands = next.clone();
        drop(next);
        assert!(!Arc::ptr_eq(&in_other_hands, &pool.take(&"a").await.unwrap()));
    }

    #[tokio::test]
    async fn no_more_are_used_than_there_is_room_for_and_one_can_be_alone() {
        let pool = Pool::<Toy>::with_room(3);
        let (one, two) = (pool.take(&"large").await.unwrap(), pool.take(&"small").await.unwrap());
        assert!(pool.take(&"small").now_or_never().is_none());
        drop(one);
        let (third, fourth) = (pool.take(&"small").await.unwrap(), pool.take(&"small").await.unwrap());
        let mut alone = Box::pin(pool.take_alone(&"small"));
        assert!((&mut alone).now_or_never().is_none());
        drop((two, third, fourth));
        let alone = alone.await.unwrap();
        assert!(pool.take(&"small").now_or_never().is_none());
        drop(alone);
        pool.take(&"larger than all").await.unwrap();
    }

    #[tokio::test]
    async fn no_more_wait_than_are_worth_it_and_all_end_with_the_pool() {
        let pool = Pool::<Toy>::new();
        let mut lent = Vec::new();
        for _ in 0..=IDLE {
            lent.push(pool.take(&"a").await.unwrap());
        }
        let servers: Vec<_> = lent.iter().map(|lent| Arc::downgrade(lent)).collect();
        drop(lent);
        assert_eq!(servers.iter().filter(|server| server.strong_count() == 1).count(), IDLE);
        drop(pool);
        assert!(servers.iter().all(|server| server.strong_count() == 0));
    }
}
