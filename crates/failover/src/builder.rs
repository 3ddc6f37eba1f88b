//! From members and settings to a backend.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use callsign_core::config::Broken;
use callsign_core::{Backend, Result};

use crate::{Failover, Settings};

/// Builds a [`Failover`].
///
/// ```
/// use std::sync::Arc;
/// use callsign_failover::{Failover, Settings, Topology};
/// use callsign_memory::{Memory, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> callsign_core::Result<()> {
/// let failover = Failover::builder("orders-dr")
///     .member("main", Arc::new(Memory::new(Store::new(), "main")))
///     .member("backup", Arc::new(Memory::new(Store::new(), "backup")))
///     .settings(Settings::default().with_topology(Topology::Mirror))
///     .build()?;
/// assert_eq!(failover.control().members().len(), 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is built before `build`"]
pub struct FailoverBuilder {
    pub(crate) name: Arc<str>,
    pub(crate) members: Vec<(Arc<str>, Arc<dyn Backend>)>,
    pub(crate) settings: Settings,
    pub(crate) journal: Option<PathBuf>,
}

impl FailoverBuilder {
    pub(crate) fn new(name: Arc<str>) -> Self {
        Self { name, members: Vec::new(), settings: Settings::default(), journal: None }
    }

    /// Adds a registry. The first is preferred over the second, and so on. Its `name` is what states and events
    /// call it.
    pub fn member(mut self, name: impl Into<Arc<str>>, backend: Arc<dyn Backend>) -> Self {
        self.members.push((name.into(), backend));
        self
    }

    /// Sets topology and thresholds. Its keys `members` and `journal` are for configurations, and mean nothing here.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Remembers in `folder` which removals a member has not heard of, so that they are made up for after a restart of
    /// the process, too. Without it they are remembered for as long as the process runs. The folder is made when it
    /// is not there; trouble with it is an event, and stops nobody.
    pub fn journal(mut self, folder: impl Into<Option<PathBuf>>) -> Self {
        self.journal = folder.into();
        self
    }

    /// Builds it, and starts its tasks, which probe the members. Does not wait for any of them.
    ///
    /// # Errors
    /// `ConfigInvalid`: fewer than one member, a name that is empty, has a slash or is there twice, a threshold out of range;
    /// also outside of a tokio runtime.
    pub fn build(self) -> Result<Failover> {
        self.check()?.start()
    }

    /// # Errors
    /// The first rule that is broken.
    pub(crate) fn check(self) -> Result<Checked, Broken> {
        self.settings.check()?;
        if self.members.is_empty() {
            return Err(Broken::new("members", "empty: at least one registry is needed"));
        }
        let mut seen = BTreeSet::new();
        for (name, _) in &self.members {
            if name.is_empty() || name.contains('/') {
                let rule = format!("`{}` cannot be the name of a member", name.escape_debug());
                return Err(Broken::new("members", rule));
            }
            if !seen.insert(name) {
                return Err(Broken::new("members", format!("`{name}` is there twice")));
            }
        }
        Ok(Checked(self))
    }
}

/// What can be started.
#[derive(Debug)]
pub(crate) struct Checked(FailoverBuilder);

impl Checked {
    /// # Errors
    /// `ConfigInvalid` outside of a tokio runtime.
    pub(crate) fn start(self) -> Result<Failover> {
        Failover::start(self.0)
    }
}
