//! The task behind one view: feeds the machine from the watch, the prober, the disk and the clock.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use callsign_core::task::Spawner;
use callsign_core::{Backend, Error, Instance, InstanceId, Listing, Read, Result, ServiceKey};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until};

use super::Snapshot;
use super::machine::ViewMachine;
use super::shared::ViewShared;
use super::step::{Input, Output};
use super::watching::Watching;
use crate::call::{ended, within};
use crate::disk::{Disk, Loaded};
use crate::events::{ClientEvent, ClientEvents};
use crate::prober::{Probed, Prober};

/// How many instances are probed at the same time.
const PROBES: usize = 20;
/// How long the registry may take to be asked again.
const ASK_WITHIN: Duration = Duration::from_secs(5);
/// The shortest time between two writes of one file.
const SAVE_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// A view without change is written again this often, so that the age in the file is true.
const SAVE_AT_LEAST_EVERY: Duration = Duration::from_secs(60);

/// What a view's task needs beside the view.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) prober: Arc<dyn Prober>,
    pub(crate) disk: Option<Disk>,
    pub(crate) spawner: Spawner,
    pub(crate) events: ClientEvents,
}

pub(crate) struct Driver {
    machine: ViewMachine,
    shared: Arc<ViewShared>,
    with: Surroundings,
    watch: Watching,
    asking: Option<BoxFuture<'static, Result<Listing>>>,
    probing: FuturesUnordered<BoxFuture<'static, (InstanceId, Probed)>>,
    /// Instances to probe when there is room, the longest waiting first.
    to_probe: VecDeque<Arc<Instance>>,
    loading: Option<BoxFuture<'static, Result<Loaded>>>,
    saving: Option<BoxFuture<'static, Result<()>>>,
    /// When to write the file, if the set is fit for it.
    save_at: Option<Instant>,
    saved_at: Option<Instant>,
}

impl Driver {
    pub(crate) fn new(machine: ViewMachine, shared: Arc<ViewShared>, with: Surroundings) -> Self {
        let service = shared.service().clone();
        let watch = Watching::new(with.backend.clone(), service.clone());
        let loading = with.disk.clone().map(|disk| {
            let spawner = with.spawner.clone();
            async move { spawner.blocking(move || disk.load(&service)).await }.boxed()
        });
        Self {
            machine,
            shared,
            with,
            watch,
            asking: None,
            probing: FuturesUnordered::new(),
            to_probe: VecDeque::new(),
            loading,
            saving: None,
            save_at: None,
            saved_at: None,
        }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            let input = self.next_input().await;
            for output in self.machine.step(input, Instant::now()) {
                self.carry_out(output);
            }
            self.start_probes();
        }
    }

    async fn next_input(&mut self) -> Input {
        loop {
            let wake_at = [self.machine.wake_at(), self.save_at.filter(|_| self.saving.is_none())];
            let wake_at = wake_at.into_iter().flatten().min();
            tokio::select! {
                biased;
                loaded = ended(&mut self.loading) => {
                    if let Some(input) = self.loaded(loaded) {
                        return input;
                    }
                }
                item = self.watch.next() => return Input::Watch(item),
                listing = ended(&mut self.asking) => return Input::Asked(listing),
                Some(first) = self.probing.next() => {
                    let mut results = vec![first];
                    while let Some(Some(result)) = self.probing.next().now_or_never() {
                        results.push(result);
                    }
                    return Input::Probed(results);
                }
                saved = ended(&mut self.saving) => {
                    if let Err(cause) = saved {
                        self.disk_trouble(cause);
                    }
                }
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {
                    self.save_if_due();
                    return Input::Tick;
                }
            }
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Show { snapshot, changed } => {
                self.plan_to_save(&snapshot, changed);
                self.shared.show(snapshot, changed);
            }
            Output::Ask => {
                let (backend, service) = (self.with.backend.clone(), self.shared.service().clone());
                let list = async move { backend.list(&service, Read::Quorum).await };
                let ask = within("list", ASK_WITHIN, list);
                self.asking = Some(ask.boxed());
            }
            Output::Probe(instance) => self.to_probe.push_back(instance),
            Output::Tell(event) => self.with.events.publish(event),
        }
    }

    fn start_probes(&mut self) {
        while self.probing.len() < PROBES
            && let Some(instance) = self.to_probe.pop_front()
        {
            let prober = self.with.prober.clone();
            let id = instance.id().clone();
            let probe = async move { prober.probe(&instance).await };
            // A prober that panics has found out nothing.
            let found = AssertUnwindSafe(probe).catch_unwind();
            self.probing.push(async move { (id, found.await.unwrap_or(Probed::Impossible)) }.boxed());
        }
    }

    fn loaded(&self, loaded: Result<Loaded>) -> Option<Input> {
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(cause) => {
                self.disk_trouble(cause);
                return None;
            }
        };
        for cause in loaded.problems {
            self.disk_trouble(cause);
        }
        let saved = loaded.saved?;
        Some(Input::Bootstrap { instances: saved.instances, written_at: saved.written_at })
    }

    /// Held and stale sets are never written: the file is what a registry said.
    fn plan_to_save(&mut self, snapshot: &Snapshot, changed: bool) {
        if self.with.disk.is_none() {
            return;
        }
        if !snapshot.freshness.is_live() || !snapshot.held.is_empty() {
            self.save_at = None;
            return;
        }
        let now = Instant::now();
        let at = match self.saved_at {
            None => now,
            Some(saved_at) if changed => now.max(saved_at + SAVE_AT_MOST_EVERY),
            Some(saved_at) => saved_at + SAVE_AT_LEAST_EVERY,
        };
        self.save_at = Some(self.save_at.map_or(at, |planned| planned.min(at)));
    }

    fn save_if_due(&mut self) {
        let now = Instant::now();
        if self.saving.is_some() || self.save_at.is_none_or(|at| at > now) {
            return;
        }
        self.save_at = None;
        self.saved_at = Some(now);
        let Some(disk) = self.with.disk.clone() else {
            return;
        };
        let (spawner, snapshot) = (self.with.spawner.clone(), self.machine.shown().clone());
        let written_at = SystemTime::now();
        self.saving = Some(
            async move {
                let save = move || disk.save(&snapshot.service, &snapshot.instances, written_at);
                spawner.blocking(save).await?
            }
            .boxed(),
        );
    }

    fn disk_trouble(&self, cause: Error) {
        let service: ServiceKey = self.shared.service().clone();
        self.with.events.publish(ClientEvent::DiskTrouble { service, cause });
    }
}
