//! What a case of the client's suite works with: clients, owners, views, and the times that are promised.

use std::sync::Arc;
use std::time::Duration;

use callsign_client::{Client, ClientBuilder, RegisterOptions, Registration, ServiceView};
use callsign_core::{Backend, Listing, ServiceKey, Ttl};

use super::processes::{Process, Processes};
use super::tap::Tap;
use crate::chaos::{Chaos, ChaosControl, Rates};
use crate::suite::{CaseResult, Ctx, Stop};

/// How long records live whose lease is not to end during a case.
const LONG: Duration = Duration::from_secs(120);
/// The registrar's longest pause between two tries.
const CAP: Duration = Duration::from_secs(5);
/// What a view does about one that is missing: ask again (5 s) and probe (every 2 s).
const PURSUIT: Duration = Duration::from_secs(10);

/// What a case of [`CLIENT`](super::CLIENT) is handed.
#[derive(Debug)]
pub struct ClientCtx {
    registry: Ctx,
    processes: Processes,
}

/// A process and its registration.
#[derive(Debug)]
pub struct Owner {
    /// Keeps it registered.
    pub registration: Registration,
    /// Runs until it is dropped.
    pub process: Process,
}

impl ClientCtx {
    /// The context on the registry of `ctx`.
    #[must_use]
    pub fn new(ctx: Ctx) -> Self {
        let processes = Processes::new(ctx.is_paused());
        Self { registry: ctx, processes }
    }

    /// The registry, its backends and its faults.
    #[must_use]
    pub fn registry(&self) -> &Ctx {
        &self.registry
    }

    /// A service that only this case uses.
    pub fn service(&self, name: &str) -> CaseResult<ServiceKey> {
        self.registry.service(name)
    }

    /// A fresh client over a fresh backend.
    pub async fn client(&self) -> CaseResult<Client> {
        Ok(self.builder().await?.build()?)
    }

    /// The same before it is built, for settings of its own.
    pub async fn builder(&self) -> CaseResult<ClientBuilder> {
        Ok(self.builder_over(self.registry.client().await?))
    }

    /// A client over a backend that the case keeps.
    pub fn client_over(&self, backend: Arc<dyn Backend>) -> CaseResult<Client> {
        Ok(self.builder_over(backend).build()?)
    }

    fn builder_over(&self, backend: Arc<dyn Backend>) -> ClientBuilder {
        self.processes.probed_by(Client::builder(backend))
    }

    /// A fresh client, and a switch that cuts it off from the registry, and no other.
    pub async fn cuttable(&self) -> CaseResult<(Client, ChaosControl)> {
        let chaos = Chaos::new(self.registry.client().await?, 0);
        let control = chaos.control();
        control.set_rates(Rates::none());
        Ok((self.builder_over(Arc::new(chaos)).build()?, control))
    }

    /// A fresh client whose calls are noted. It hears of losses from the tap alone.
    pub async fn tapped(&self) -> CaseResult<(Client, Tap)> {
        let tap = Tap::new(self.registry.client().await?);
        Ok((self.builder_over(Arc::new(tap.clone())).build()?, tap))
    }

    /// A process that answers on 127.0.0.1.
    pub async fn process(&self, service: &ServiceKey, id: &str) -> CaseResult<Process> {
        self.processes.start(service, id).await
    }

    /// Waits until nobody is listed as living any more, for as long as the lease of a crashed owner may live.
    pub async fn lists_until_empty(&self, service: &ServiceKey) -> CaseResult {
        let reader = self.registry.client().await?;
        let patience = self.registry.patience(self.expired_within(self.ttl()));
        loop {
            let listing = self.registry.list(&reader, service).await?;
            if self.registry.living(&listing).next().is_none() {
                return Ok(());
            }
            patience.pause(|| "a record that nobody renews is still listed".to_owned()).await?;
        }
    }

    /// A process that `client` has registered.
    pub async fn owner(
        &self,
        client: &Client,
        service: &ServiceKey,
        id: &str,
        options: RegisterOptions,
    ) -> CaseResult<Owner> {
        let process = self.process(service, id).await?;
        let registration = client.register(process.instance().clone(), options.required()).await?;
        Ok(Owner { registration, process })
    }

    /// A view through a client of its own.
    pub async fn view(&self, service: &ServiceKey) -> CaseResult<ServiceView> {
        let view = self.client().await?.service(service.clone());
        view.ready(self.soon()).await?;
        Ok(view)
    }

    /// What the registry lists, through a backend of its own.
    pub async fn lists(
        &self,
        service: &ServiceKey,
        what: &str,
        accept: impl FnMut(&Listing) -> bool + Send,
    ) -> CaseResult<Listing> {
        let reader = self.registry.client().await?;
        self.registry.lists(&reader, service, what, accept).await
    }

    /// The shortest ttl that the registry can honour.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.registry.harness().shortest_ttl().get()
    }

    /// A registration with the shortest ttl.
    #[must_use]
    pub fn short(&self) -> RegisterOptions {
        RegisterOptions::new().with_ttl(self.registry.harness().shortest_ttl())
    }

    /// A registration with the default ttl of 15 s, or the shortest if that is longer.
    #[must_use]
    pub fn medium(&self) -> RegisterOptions {
        RegisterOptions::new().with_ttl(Ttl::default().max(self.registry.harness().shortest_ttl()))
    }

    /// A registration whose lease does not end during a case.
    pub fn long(&self) -> CaseResult<RegisterOptions> {
        let ttl = Ttl::new(LONG)?.max(self.registry.harness().shortest_ttl());
        Ok(RegisterOptions::new().with_ttl(ttl))
    }

    /// How long a change may take to be seen by another client's view.
    #[must_use]
    pub fn soon(&self) -> Duration {
        self.registry.propagation() + Duration::from_secs(1)
    }

    /// How long a registration with `ttl` may take to be back after an outage: a third of its ttl and 5 s, and on a
    /// real network what the backend needs to be itself again.
    #[must_use]
    pub fn back_within(&self, ttl: Duration) -> Duration {
        let network = if self.registry.is_paused() { Duration::ZERO } else { self.registry.recovery() };
        ttl / 3 + CAP + network
    }

    /// How long a registration with `ttl` may take to notice and repair what somebody did to its record.
    #[must_use]
    pub fn repaired_within(&self, ttl: Duration) -> Duration {
        ttl * 5 + self.back_within(ttl)
    }

    /// How long the record of a crashed owner may be listed.
    #[must_use]
    pub fn expired_within(&self, ttl: Duration) -> Duration {
        ttl + self.registry.harness().expiry_slack() + self.soon()
    }

    /// How long the instance of a crashed owner that answers no probe may be shown.
    #[must_use]
    pub fn gone_within(&self, ttl: Duration) -> Duration {
        self.expired_within(ttl) + PURSUIT
    }

    /// Ends the case as ignored where time is real.
    pub fn only_on_paused_time(&self, reason: &str) -> CaseResult {
        if self.registry.is_paused() { Ok(()) } else { Err(Stop::Ignored(reason.to_owned())) }
    }
}
