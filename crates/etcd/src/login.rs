//! Logging in again, once for all who find that the last login has run out.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use etcd_client::Client;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::error::{Call, Failure, Verdict, judge, timed_out};

/// The login of a connection. Clones are the same login.
#[derive(Clone)]
pub(crate) struct Login(Arc<Inner>);

struct Inner {
    client: Client,
    exists: bool,
    count: AtomicU64,
    one_at_a_time: Mutex<()>,
}

impl Login {
    pub(crate) fn new(client: Client, exists: bool) -> Self {
        Self(Arc::new(Inner { client, exists, count: AtomicU64::new(0), one_at_a_time: Mutex::default() }))
    }

    /// Whether there is one at all: without, a certificate may say who we are.
    pub(crate) fn exists(&self) -> bool {
        self.0.exists
    }

    /// How often it was renewed. To be taken before a request is sent.
    pub(crate) fn count(&self) -> u64 {
        self.0.count.load(Ordering::Acquire)
    }

    /// Logs in again after `refused`, unless somebody has done so since the `seen`-th time: the server hashes the
    /// password each time, which takes it 0.1 s of CPU. The crate does so by itself only for some errors and never for
    /// watches.
    ///
    /// # Errors
    /// `refused`, where there is no login; why it failed, otherwise.
    pub(crate) async fn again(
        &self,
        seen: u64,
        refused: Failure,
        call: &Call<'_>,
        limit: Duration,
    ) -> Result<(), Failure> {
        if !self.0.exists {
            return Err(Failure { verdict: Verdict::Misconfigured, ..refused });
        }
        let log_in = async {
            let _turn = self.0.one_at_a_time.lock().await;
            if self.count() == seen {
                self.0.client.refresh_token().await.map_err(|error| judge(error, call))?;
                self.0.count.fetch_add(1, Ordering::AcqRel);
            }
            Ok(())
        };
        // Waiting for one's turn counts, too: behind many, at a member that hangs, it would take for ever.
        timeout(limit, log_in).await.unwrap_or_else(|_| Err(timed_out(limit, call)))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("exists", &self.0.exists).field("count", &self.count()).finish()
    }
}
