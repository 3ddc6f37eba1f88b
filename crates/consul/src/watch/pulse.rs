//! Whether an agent still answers while queries wait there: until it is over, a query looks the same at one that is dead.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use callsign_core::task::{Spawner, Task};
use callsign_core::{Error, Result};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::agent::{Agents, LEADER, Lane, Request};
use crate::error::Verdict;
use crate::signs::Proof;

/// How often an agent is asked.
const EVERY: Duration = Duration::from_secs(3);
/// How long it may take to answer what it need not look for.
const LIMIT: Duration = Duration::from_secs(4);

/// The agents at which queries wait.
#[derive(Debug, Default)]
pub(crate) struct Pulses(Mutex<HashMap<usize, Weak<Pulse>>>);

/// One agent, asked every 3 s for as long as this is held.
pub(crate) struct Pulse {
    /// Why there was no answer the last time.
    beats: watch::Receiver<Option<Error>>,
    _task: Task,
}

impl Pulses {
    /// The pulse of `agent`, felt by all who wait there.
    pub(super) fn of(&self, agents: &Arc<Agents>, agent: usize) -> Result<Arc<Pulse>> {
        let mut felt = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pulse) = felt.get(&agent).and_then(Weak::upgrade) {
            return Ok(pulse);
        }
        let pulse = Arc::new(Pulse::feel(&Spawner::current()?, agents.clone(), agent));
        felt.insert(agent, Arc::downgrade(&pulse));
        Ok(pulse)
    }
}

impl Pulse {
    fn feel(spawner: &Spawner, agents: Arc<Agents>, agent: usize) -> Self {
        let (teller, beats) = watch::channel(None);
        let task = spawner.spawn(async move {
            let request = Request::get(LEADER, "reach an agent that is waited at");
            loop {
                sleep(EVERY).await;
                let answer = agents.ask_within(agent, &request, Lane::Pulse, Proof::Agent, LIMIT).await;
                teller.send_replace(match answer {
                    // Who has lost its leader answers.
                    Err(failure) if failure.verdict == Verdict::Elsewhere => Some(failure.error),
                    _ => None,
                });
            }
        });
        Self { beats, _task: task }
    }

    /// Why the agent does not answer any more; as long as it answers, nothing.
    pub(super) async fn stops(&self) -> Error {
        let mut beats = self.beats.clone();
        beats.mark_unchanged();
        while beats.changed().await.is_ok() {
            if let Some(error) = &*beats.borrow_and_update() {
                return error.clone();
            }
        }
        // Nobody feels it any more: the backend's runtime is going down.
        std::future::pending().await
    }
}
