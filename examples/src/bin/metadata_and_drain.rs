//! An owner changes what is known of its instance, takes it out of service, and leaves, while a client watches: what to
//! do for a canary, for maintenance, and at the end of every deployment.
//!
//! ```text
//! cargo run --bin metadata_and_drain
//! ```

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use callsign::{Callsign, Instance, Locality, Patch, ServiceView, Status};
use callsign_examples::{Column, Table, end};
use futures::StreamExt;
use tokio::time::{sleep, timeout};

/// How long to wait for anything before giving up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to let the reader look at it.
const LOOK: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> ExitCode {
    end(story().await)
}

async fn story() -> Result<()> {
    // Two handles, as in two programs.
    let (owner_side, client_side) =
        (Callsign::connect("memory://metadata")?, Callsign::connect("memory://metadata")?);
    let view = client_side.service("orders")?;
    view.ready(PATIENCE).await?;

    let table =
        Table::begin([Column::text("who", 6), Column::text("traffic", 7), Column::text("what happens", 72)]);
    let both = async { tokio::join!(owner(&owner_side, &table), client(&view, &table)) };
    let (told, ()) = timeout(PATIENCE, both).await?;
    told
}

async fn owner(callsign: &Callsign, table: &Table) -> Result<()> {
    let says = |what: &str| table.now(&[&"owner", &"", &what]);

    says("registers orders-1");
    let me = callsign
        .instance("orders")
        .id("orders-1")
        .endpoint("http://127.0.0.1:8080")
        .version("1.4.0")
        .locality(Locality::unknown().with_zone("a"))
        .metadata("colour", "blue")
        .build()?;
    let registration = callsign.register(me).await?;
    sleep(LOOK).await;

    says("becomes a canary, with a tenth of the usual weight");
    registration
        .update(Patch::new().weight(10).metadata("canary", "yes").metadata("colour", "green"))
        .await?;
    sleep(LOOK).await;

    says("takes itself out of service, and stays registered");
    registration.update(Patch::new().status(Status::OutOfService)).await?;
    sleep(LOOK).await;

    says("is back in service, as good as any other");
    registration.update(Patch::new().status(Status::Up).weight(100).without_metadata("canary")).await?;
    sleep(LOOK).await;

    says("drains: one second for the calls that are under way");
    registration.drain(LOOK).await.into_result()?;
    says("has left");
    Ok(())
}

async fn client(view: &ServiceView, table: &Table) {
    let says = |of: &Instance, what: String| {
        let traffic = if of.routable() { "yes" } else { "no" };
        table.now(&[&"client", &traffic, &format!("{}{what}", of.id())]);
    };
    let mut changes = view.changes();
    while let Some(changes) = changes.next().await {
        for instance in &changes.added {
            says(instance, format!(" is new: {}", description(instance)));
        }
        for instance in &changes.updated {
            says(&instance.now, format!(": {}", difference(&instance.before, &instance.now)));
        }
        if let Some(instance) = changes.removed.first() {
            return says(instance, " is gone".to_owned());
        }
    }
}

/// What an instance says of itself, by name.
fn facts(instance: &Instance) -> BTreeMap<&str, String> {
    let mut facts =
        BTreeMap::from([("status", instance.status.to_string()), ("weight", instance.weight.to_string())]);
    facts.extend(instance.version.iter().map(|version| ("version", version.to_string())));
    facts.extend(instance.locality.zone.iter().map(|zone| ("zone", zone.to_string())));
    facts.extend(instance.metadata.iter().map(|(key, value)| (key, value.to_owned())));
    facts
}

fn description(instance: &Instance) -> String {
    let facts: Vec<_> = facts(instance).iter().map(|(name, value)| format!("{name} {value}")).collect();
    facts.join(", ")
}

fn difference(before: &Instance, now: &Instance) -> String {
    let (before, now) = (facts(before), facts(now));
    let mut changed = Vec::new();
    for (name, value) in &now {
        match before.get(name) {
            Some(old) if old == value => {}
            Some(old) => changed.push(format!("{name} {old} -> {value}")),
            None => changed.push(format!("{name} {value}")),
        }
    }
    let lost = before.keys().filter(|name| !now.contains_key(*name));
    changed.extend(lost.map(|name| format!("no {name}")));
    changed.join(", ")
}
