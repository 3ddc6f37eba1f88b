//! Writes that have begun, and may reach an agent although nobody waits for them any more.
//!
//! An agent without a leader holds a registration for up to 7 s, and goes on with it when its caller has left. What came
//! later may overtake it: a record that was removed meanwhile would be there again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use callsign_core::task::Spawner;
use callsign_core::{Error, InstanceKey, Result};
use tokio::sync::{oneshot, watch};

/// Keys whose writes have all ended are cleared away when there are more than this.
const KEPT: usize = 64;

/// Which records are being written.
#[derive(Debug, Default)]
pub(super) struct UnderWay(Mutex<HashMap<InstanceKey, watch::Sender<()>>>);

/// A write that has not ended: it has when this is dropped.
pub(super) struct Begun(watch::Receiver<()>);

/// Writes that had begun at a time.
pub(super) struct Earlier(watch::Sender<()>);

impl UnderWay {
    pub(super) fn begin(&self, key: &InstanceKey) -> Begun {
        let mut writes = self.writes();
        if writes.len() >= KEPT {
            writes.retain(|_, write| write.receiver_count() > 0);
        }
        Begun(writes.entry(key.clone()).or_default().subscribe())
    }

    /// The writes of `key` that have begun and not ended, if there are any.
    pub(super) fn earlier(&self, key: &InstanceKey) -> Option<Earlier> {
        self.writes().remove(key).filter(|write| write.receiver_count() > 0).map(Earlier)
    }

    fn writes(&self) -> MutexGuard<'_, HashMap<InstanceKey, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Begun {
    pub(super) fn end(self) {
        drop(self.0);
    }
}

impl Earlier {
    /// Waits until all of them have ended: none takes longer than a call may.
    pub(super) async fn ended(&self) {
        self.0.closed().await;
    }
}

/// Does `work` to its end, whether or not anybody waits for that. It has to be bounded in time by itself.
pub(super) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let (sender, outcome) = oneshot::channel();
    Spawner::current()?.detach(async move {
        // Who has given up has no use for it.
        let _ = sender.send(work.await);
    });
    outcome.await.unwrap_or_else(|_| Err(Error::closed("the runtime is shutting down")))
}

#[cfg(test)]
mod tests {
    use callsign_core::{InstanceId, ServiceKey};
    use futures::FutureExt;

    use super::*;

    #[test]
    fn who_waits_for_earlier_writes_does_not_wait_for_later_ones() {
        let under_way = UnderWay::default();
        let key = InstanceKey::new(ServiceKey::new("orders").unwrap(), InstanceId::new("o-1").unwrap());
        assert!(under_way.earlier(&key).is_none());
        let (first, second) = (under_way.begin(&key), under_way.begin(&key));
        let earlier = under_way.earlier(&key).unwrap();
        let _later = under_way.begin(&key);
        first.end();
        assert!(earlier.ended().now_or_never().is_none());
        second.end();
        assert!(earlier.ended().now_or_never().is_some());
    }

    #[tokio::test]
    async fn work_that_was_given_up_is_done() {
        let (sender, mut done) = oneshot::channel::<()>();
        let work = to_its_end(async move {
            tokio::task::yield_now().await;
            drop(sender);
            Ok(())
        });
        assert!(work.now_or_never().is_none());
        assert!((&mut done).await.is_err());
    }
}
