//! A client of the library, with the task that it keeps its connection in.
//!
//! Work-around for `zookeeper-client` 0.11.2, src/session/mod.rs and src/endpoint.rs: after a lost connection the library
//! tries again in a task of its own, with pauses that double each time and that nothing bounds (100 ms, 200 ms, .. 6.4 s,
//! and none at all before the session expires), also when nobody has its client any more; and whoever attaches to the
//! session meanwhile is thrown out when it succeeds. So that task is ours, and ends when we say so. The test
//! `the_library_still_pauses_ever_longer` tells when the library has mended it.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use callsign_core::task::{Spawner, Task};
use futures::future::poll_fn;
use zookeeper_client as zk;

use super::connect::{Plan, Refused};

/// A client. Dropping it ends its connection at once, and not its session.
#[derive(Debug)]
pub(super) struct Owned {
    client: Arc<zk::Client>,
    tasks: Vec<Task>,
}

impl Owned {
    pub(super) async fn connect(
        plan: Plan,
        former: Option<zk::SessionInfo>,
        spawner: &Spawner,
    ) -> Result<Self, Refused> {
        let tasks = Keeper { spawner: spawner.clone(), tasks: Mutex::default() };
        let client = {
            let mut connecting = pin!(plan.connect(former));
            poll_fn(|context| {
                // For as long as this poll lasts the library spawns with us.
                let _scope = spawns_core::enter(&tasks);
                connecting.as_mut().poll(context)
            })
            .await?
        };
        let tasks = tasks.tasks.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(Self { client: Arc::new(client), tasks })
    }

    pub(super) fn client(&self) -> &Arc<zk::Client> {
        &self.client
    }

    /// Lets the client go, so that it ends its session in its own time: for as long as the task is kept.
    pub(super) fn release(self) -> (zk::StateWatcher, Vec<Task>) {
        (self.client.state_watcher(), self.tasks)
    }
}

/// Takes the library's tasks in.
struct Keeper {
    spawner: Spawner,
    tasks: Mutex<Vec<Task>>,
}

impl spawns_core::Spawn for Keeper {
    fn spawn(&self, task: spawns_core::Task) {
        let task = self.spawner.spawn(Box::into_pin(task.future));
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }
}
