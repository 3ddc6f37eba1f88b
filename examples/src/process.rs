//! A process, as far as its neighbours can tell, inside this one.

use std::sync::Arc;

use anyhow::Result;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// Stands in for a process of its own: a runtime with a thread of its own, and everything that runs on it.
///
/// Dropping it is [`kill`](Self::kill).
#[derive(Debug)]
pub struct Process {
    /// `None` once it has ended.
    runtime: Option<Runtime>,
    main: JoinHandle<Result<()>>,
    sigterm: Arc<Notify>,
}

impl Process {
    /// Starts `main`, and hands it what tells it to stop.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start<F>(main: impl FnOnce(Arc<Notify>) -> F) -> Result<Self>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let sigterm = Arc::new(Notify::new());
        let main = runtime.spawn(main(sigterm.clone()));
        Ok(Self { runtime: Some(runtime), main, sigterm })
    }

    /// Asks it to stop, as `kill` does. It may take its time.
    pub fn terminate(&self) {
        self.sigterm.notify_one();
    }

    /// Ends it in the middle of whatever it does, as `kill -9` does: its sockets close, and it tells nobody.
    pub fn kill(self) {
        drop(self);
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What its `main` returned.
    pub async fn ended(mut self) -> Result<()> {
        (&mut self.main).await?
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
