//! One program, several registries: the same lines run on each registry that is named on the command line, and nothing
//! but the name differs.
//!
//! ```text
//! cargo run --bin swap_registry                                       # main, then backup
//! cargo run --bin swap_registry --features etcd -- main etcd
//! cargo run --bin swap_registry --features etcd -- etcd://127.0.0.1:2379
//! ```
//!
//! The registries stand in `examples/swap_registry.toml`; an argument is a name from there, or a URL.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use callsign::{Callsign, Patch, ServiceName, ServiceView, Snapshot};
use callsign_examples::{Column, Table, end};
use tokio::time::Instant;

const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/swap_registry.toml");
/// How long to wait for anything before giving up.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> ExitCode {
    end(story().await)
}

async fn story() -> Result<()> {
    let mut registries: Vec<_> = std::env::args().skip(1).collect();
    if registries.is_empty() {
        registries = vec!["main".to_owned(), "backup".to_owned()];
    }
    let table = Table::begin([
        Column::text("registry", 28),
        Column::text("what happens", 44),
        Column::text("seen after", 10),
    ]);
    for registry in registries {
        on(&registry, &table).await.with_context(|| format!("on the registry `{registry}`"))?;
    }
    Ok(())
}

/// What this program does, whatever the registry.
async fn on(registry: &str, table: &Table) -> Result<()> {
    // Two handles, as in two programs.
    let open = || Callsign::builder().file(CONFIGURATION).registry(registry).build();
    let (owner, client) = (open()?, open()?);
    // On a registry that others use, too, everybody gets a service of their own.
    let service = ServiceName::new(format!("orders-{:04x}", fastrand::u16(..)))?;
    let view = client.service(service.clone())?;
    view.ready(PATIENCE).await?;
    let step = Step { registry, table, view: &view };

    let register = |id: &'static str, port: u16| {
        let (owner, service) = (&owner, service.clone());
        async move {
            let me = owner.instance(service).id(id).endpoint(format!("http://127.0.0.1:{port}")).build()?;
            owner.register(me).await
        }
    };
    let started = Instant::now();
    let (one, two) = (register("orders-1", 8080).await?, register("orders-2", 8081).await?);
    step.is_seen(started, "two instances register", |seen| seen.routable().len() == 2).await?;

    let started = Instant::now();
    one.update(Patch::new().metadata("colour", "green")).await?;
    let green = |seen: &Snapshot| {
        seen.get("orders-1").is_some_and(|instance| instance.metadata.get("colour") == Some("green"))
    };
    step.is_seen(started, "orders-1 changes its metadata", green).await?;

    let started = Instant::now();
    let (leaves, seen) = tokio::join!(
        two.drain(Duration::from_secs(1)),
        step.is_seen(started, "orders-2 says that it is leaving", |seen| seen.routable().len() == 1),
    );
    seen?;
    leaves.into_result()?;
    let started = Instant::now();
    one.deregister(Duration::from_secs(1)).await.into_result()?;
    step.is_seen(started, "orders-1 has left after a second's notice", |seen| seen.instances.is_empty())
        .await?;

    owner.close(PATIENCE).await?;
    client.close(PATIENCE).await?;
    Ok(())
}

struct Step<'a> {
    registry: &'a str,
    table: &'a Table,
    view: &'a ServiceView,
}

impl Step<'_> {
    /// Waits until the other side sees it, and says how long that took.
    async fn is_seen(
        &self,
        started: Instant,
        what: &str,
        seen: impl FnMut(&Snapshot) -> bool + Send,
    ) -> Result<()> {
        self.view.wait_for(PATIENCE, seen).await?;
        let took = format!("{:.1} ms", started.elapsed().as_secs_f64() * 1000.0);
        self.table.now(&[&self.registry, &what, &took]);
        Ok(())
    }
}
