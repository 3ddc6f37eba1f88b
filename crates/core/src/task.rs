//! The one place where tasks are spawned: every task has an owner and ends with it.

use std::fmt;
use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::{Error, Result};

/// Spawns tasks on the runtime it was made on, also from threads that are outside of it.
#[derive(Debug, Clone)]
pub struct Spawner(Handle);

impl Spawner {
    /// The spawner of the runtime this is called on.
    ///
    /// # Errors
    /// `ConfigInvalid` outside a tokio runtime.
    pub fn current() -> Result<Self> {
        Handle::try_current().map(Self).map_err(|error| {
            Error::config(
                "callsign needs a tokio runtime: call this from async code or enter a runtime first",
            )
            .with_source(error)
        })
    }

    /// Starts `future`; it is aborted when the returned [`Task`] is dropped.
    #[must_use = "dropping the task aborts it"]
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        Task(self.0.spawn(future))
    }

    /// Starts `future` without an owner. For a last act that is bounded in time by itself, such as the one delete
    /// that a dropped registration tries.
    pub fn detach(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.0.spawn(future));
    }

    /// Runs blocking code (files, name look-ups) on the runtime's blocking threads.
    ///
    /// # Errors
    /// `Closed` when the runtime shuts down, `Unexpected` when `work` panics.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        self.0.spawn_blocking(work).await.map_err(|error| {
            if error.is_cancelled() {
                Error::closed("the runtime is shutting down").with_source(error)
            } else {
                Error::unexpected("blocking work panicked").with_source(error)
            }
        })
    }
}

/// Owns a running task. Dropping it aborts the task.
pub struct Task(JoinHandle<()>);

impl Task {
    /// Waits for the end of the task.
    ///
    /// # Cancel safety
    /// Dropping the future drops the task with it, and so aborts it.
    pub async fn join(mut self) {
        // How a task ended is its own business: it reports through its states.
        let _ = (&mut self.0).await;
    }

    /// Whether the task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("finished", &self.is_finished()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_ends_with_its_owner() {
        let spawner = Spawner::current().unwrap();
        let before = Handle::current().metrics().num_alive_tasks();
        let (alive, ended) = tokio::sync::oneshot::channel::<()>();
        let task = spawner.spawn(async move {
            std::future::pending::<()>().await;
            drop(alive);
        });
        assert_eq!(Handle::current().metrics().num_alive_tasks(), before + 1);
        drop(task);
        assert!(ended.await.is_err());
    }

    #[test]
    fn outside_a_runtime_there_is_an_error_instead_of_a_panic() {
        let error = Spawner::current().unwrap_err();
        assert!(error.to_string().contains("tokio runtime"), "{error}");
    }
}
