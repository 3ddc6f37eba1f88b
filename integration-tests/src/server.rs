//! A process with data, that serves after it was started and can be started again.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::task::Spawner;
use callsign_core::{Error, Result};
use tokio::time::{Instant, sleep, timeout};

use crate::{Launch, Process};

/// Between two questions whether a server serves.
const POLL: Duration = Duration::from_millis(50);
/// A question that has no answer for so long is asked anew.
const ANSWER: Duration = Duration::from_secs(2);
/// How long a server may take to end in peace.
const PEACE: Duration = Duration::from_secs(20);

/// A server on loopback: running, frozen or stopped. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    name: String,
    launch: Launch,
    data: PathBuf,
    process: Mutex<Option<Arc<Process>>>,
}

impl Server {
    /// A server that is not running yet. A wipe deletes the folder `data`.
    #[must_use]
    pub fn new(name: impl Into<String>, launch: Launch, data: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), launch, data: data.into(), process: Mutex::default() }
    }

    /// Starts it with the data that it has, unless it is running. Does not wait until it [serves](Self::serves).
    ///
    /// # Errors
    /// `Unexpected` when the program cannot be started.
    pub fn start(&self) -> Result<()> {
        let mut process = self.process();
        if process.as_ref().is_none_or(|process| process.ended().is_some()) {
            *process = Some(Arc::new(Process::start(&self.launch)?));
        }
        Ok(())
    }

    /// Waits until `probe` succeeds.
    ///
    /// # Errors
    /// `Unavailable` when the server has ended, or does not serve `within` that time; with what the probe said last
    /// and the end of the log.
    pub async fn serves<F>(&self, within: Duration, probe: impl Fn() -> F) -> Result<()>
    where
        F: Future<Output = Result<(), String>>,
    {
        let until = Instant::now() + within;
        loop {
            let running = self.running()?;
            let complaint = match timeout(ANSWER, probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(complaint)) => complaint,
                Err(_) => format!("no answer within {ANSWER:?}"),
            };
            if Instant::now() >= until {
                return Err(Error::unavailable(format!(
                    "{} does not serve within {within:?}: {complaint}: {}",
                    self.name,
                    running.last_words()
                )));
            }
            sleep(POLL).await;
        }
    }

    /// The process, as long as it has not ended.
    ///
    /// # Errors
    /// `Unavailable` when it was stopped or has ended by itself, with the end of its log.
    pub fn running(&self) -> Result<Arc<Process>> {
        let Some(process) = self.process().clone() else {
            return Err(Error::unavailable(format!("{} was not started", self.name)));
        };
        match process.ended() {
            None => Ok(process),
            Some(status) => Err(Error::unavailable(format!(
                "{} has ended with {status}: {}",
                self.name,
                process.last_words()
            ))),
        }
    }

    /// `SIGKILL`, and its end. Its data stays.
    ///
    /// # Errors
    /// See [`Process::kill`].
    pub async fn kill(&self) -> Result<()> {
        let process = self.process().take();
        match process {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// `SIGTERM`, and its end. Its data stays.
    ///
    /// # Errors
    /// `Timeout` when it has not ended within 20 s; it is killed then.
    pub async fn terminate(&self) -> Result<()> {
        let process = self.process().take();
        match process {
            Some(process) => process.terminate(PEACE).await,
            None => Ok(()),
        }
    }

    /// `SIGSTOP`: connections stay, and nothing answers.
    ///
    /// # Errors
    /// As [`running`](Self::running) and [`Process::freeze`].
    pub async fn freeze(&self) -> Result<()> {
        self.running()?.freeze().await
    }

    /// `SIGCONT`, where it is running.
    ///
    /// # Errors
    /// See [`Process::thaw`].
    pub fn thaw(&self) -> Result<()> {
        let process = self.process().clone();
        process.map_or(Ok(()), |process| process.thaw())
    }

    /// Kills it and deletes its data.
    ///
    /// # Errors
    /// As [`kill`](Self::kill), and `Unexpected` when the data cannot be deleted.
    pub async fn wipe(&self) -> Result<()> {
        self.kill().await?;
        let data = self.data.clone();
        match Spawner::current()?.blocking(move || fs::remove_dir_all(data)).await? {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::unexpected(format!("cannot delete the data of {}", self.name)).with_source(error))
            }
            _ => Ok(()),
        }
    }

    /// The folder that a wipe deletes.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    fn process(&self) -> MutexGuard<'_, Option<Arc<Process>>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
