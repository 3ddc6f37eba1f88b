//! One process: signals, its log, and its certain end.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::{Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

use crate::keeper;

/// Between two looks at a process: the kernel tells nobody but a parent that blocks.
const POLL: Duration = Duration::from_millis(5);
/// After `SIGKILL` only the kernel has work to do.
const DEATH: Duration = Duration::from_secs(10);

/// What to start.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What is added to this process's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The file that takes what it prints. It grows over several starts.
    pub log: PathBuf,
}

/// A running process. Dropping it kills it, frozen or not, and waits for its end.
#[derive(Debug)]
pub struct Process {
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts it. Returns when the kernel has; see [`Server`](crate::Server) for one that serves.
    ///
    /// # Errors
    /// `Unexpected` when the log cannot be written or the program cannot be started.
    pub fn start(launch: &Launch) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::unexpected(format!("cannot start {}", launch.program.display())).with_source(error)
        };
        let log = open_log(&launch.log).map_err(failed)?;
        let mut command = keeper::leashed(&launch.program);
        command
            .args(&launch.arguments)
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(log.try_clone().map_err(failed)?)
            .stdout(log);
        let child = keeper::spawn(command).map_err(failed)?;
        Ok(Self { child: Mutex::new(child), log: launch.log.clone() })
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// How it has ended, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        // An error would mean that somebody else has waited for our child; then it has ended, too.
        self.child().try_wait().unwrap_or_else(|_| Some(ExitStatus::default()))
    }

    /// `SIGKILL`, and its end.
    ///
    /// # Errors
    /// `Timeout` when the kernel does not get it killed within 10 s.
    ///
    /// # Cancel safety
    /// The signal is sent in any case.
    pub async fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.end("SIGKILL", DEATH).await
    }

    /// `SIGTERM`, and its end.
    ///
    /// # Errors
    /// `Timeout` when it has not ended `within` that time; it is still running then.
    ///
    /// # Cancel safety
    /// The signal is sent in any case.
    pub async fn terminate(&self, within: Duration) -> Result<()> {
        self.signal(Signal::TERM)?;
        self.end("SIGTERM", within).await
    }

    /// `SIGSTOP`, and until it stands still.
    ///
    /// # Errors
    /// `Timeout` when it does not within 10 s, `Unexpected` when it has ended.
    pub async fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        let stat = format!("/proc/{}/stat", self.id());
        let until = Instant::now() + DEATH;
        // The state follows the name, which is in brackets and may hold brackets itself.
        while !std::fs::read_to_string(&stat)
            .is_ok_and(|text| text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T')))
        {
            if let Some(status) = self.ended() {
                return Err(Error::unexpected(format!("cannot freeze a process that has ended: {status}")));
            }
            if Instant::now() >= until {
                return Err(Error::timeout(format!("a process goes on {DEATH:?} after SIGSTOP")));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    /// `SIGCONT`.
    ///
    /// # Errors
    /// `Unexpected` when the kernel refuses.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// The end of its log in one line, for errors.
    #[must_use]
    pub fn last_words(&self) -> String {
        last_words(&self.log)
    }

    /// Sends a signal to a process that is still ours: until it is waited for, nobody else gets its number.
    fn signal(&self, signal: Signal) -> Result<()> {
        let mut child = self.child();
        if let Ok(Some(_)) | Err(_) = child.try_wait() {
            return Ok(());
        }
        kill_process(Pid::from_child(&child), signal).map_err(|error| {
            Error::unexpected(format!("cannot send signal {} to a process", signal.as_raw()))
                .with_source(error)
        })
    }

    async fn end(&self, after: &str, within: Duration) -> Result<()> {
        let until = Instant::now() + within;
        while self.ended().is_none() {
            if Instant::now() >= until {
                let words = self.last_words();
                return Err(Error::timeout(format!("a process runs {within:?} after {after}: {words}")));
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // It has ended by itself, or it ends now.
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn open_log(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The last lines of the log at `path`.
fn last_words(path: &Path) -> String {
    const LINES: usize = 6;
    let text =
        std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if lines.is_empty() {
        return "its log is empty".to_owned();
    }
    lines[lines.len().saturating_sub(LINES)..].join(" | ")
}
