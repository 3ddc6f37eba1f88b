//! Processes behind the instances: they answer a probe for as long as they run.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_client::{ClientBuilder, Probed, Prober};
use callsign_core::{Instance, InstanceKey, ServiceKey, async_trait};
use tokio::net::TcpListener;

use crate::suite::{CaseResult, Stop};

/// How long a probe takes on paused time.
const PROBE: Duration = Duration::from_millis(5);

/// Which processes run. On a real clock they listen, and are probed as ever; on paused time, where waiting for a
/// socket would make the time jump, a list says who would answer.
#[derive(Debug, Clone)]
pub(super) enum Processes {
    Listening,
    Listed(Running),
}

/// The processes that run, by the instances that they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<Mutex<BTreeSet<InstanceKey>>>);

impl Running {
    fn keys(&self) -> MutexGuard<'_, BTreeSet<InstanceKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Prober for Running {
    async fn probe(&self, instance: &Instance) -> Probed {
        tokio::time::sleep(PROBE).await;
        if self.keys().contains(&instance.key) { Probed::Answering } else { Probed::Silent }
    }
}

impl Processes {
    pub(super) fn new(paused: bool) -> Self {
        if paused { Self::Listed(Running::default()) } else { Self::Listening }
    }

    /// Lets a client probe them.
    pub(super) fn probed_by(&self, builder: ClientBuilder) -> ClientBuilder {
        match self {
            Self::Listening => builder,
            Self::Listed(running) => builder.prober(running.clone()),
        }
    }

    pub(super) async fn start(&self, service: &ServiceKey, id: &str) -> CaseResult<Process> {
        let builder = Instance::builder(service).id(id);
        match self {
            Self::Listening => {
                let no_port = |error| Stop::failed(format!("no port for a process: {error}"));
                let listener = TcpListener::bind("127.0.0.1:0").await.map_err(no_port)?;
                let address = listener.local_addr().map_err(no_port)?;
                let instance = builder.endpoint(format!("http://{address}")).build()?;
                Ok(Process { instance, life: Life::Listening(listener) })
            }
            Self::Listed(running) => {
                let instance = builder.endpoint("http://127.0.0.1:1").build()?;
                running.keys().insert(instance.key.clone());
                Ok(Process { instance, life: Life::Listed(running.clone()) })
            }
        }
    }
}

/// A process that runs until it is dropped.
pub struct Process {
    instance: Instance,
    life: Life,
}

enum Life {
    /// Connections are accepted by the system; nobody has to answer them.
    Listening(TcpListener),
    Listed(Running),
}

impl Process {
    /// What it registers as.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Life::Listed(running) = &self.life {
            running.keys().remove(&self.instance.key);
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Process");
        shown.field("key", &self.instance.key);
        if let Life::Listening(listener) = &self.life {
            shown.field("listener", listener);
        }
        shown.finish_non_exhaustive()
    }
}
