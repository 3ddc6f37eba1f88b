//! A record that somebody else has changed gets its owner's words back.

use std::time::Duration;

use callsign_client::{Registration, RegistrationState};
use callsign_testkit::suite::client::observe::{is_live, is_registered, reaches, shows};
use callsign_testkit::suite::{CaseResult, Stop};
use etcd_client::KeyValue;
use tokio::time::{Instant, sleep};

use crate::ensure;
use crate::raw::{Raw, place, stop};
use crate::setup::Setup;
use crate::stage::SOON;

const GARBAGE: &str = "{\"v\": not a record";

/// What somebody does to a record of ours.
#[derive(Debug, Clone, Copy)]
enum Harm {
    Delete,
    Garbage,
    /// The same words without a lease: they would stand there for ever.
    Detach,
    Revoke,
}

impl Harm {
    async fn do_to(self, raw: &mut Raw, record: &KeyValue) -> CaseResult {
        match self {
            Self::Delete => raw.delete(record.key()).await,
            Self::Garbage => raw.put(record.key(), GARBAGE).await.map(|_| ()),
            Self::Detach => raw.put(record.key(), record.value()).await.map(|_| ()),
            Self::Revoke => raw.client().lease_revoke(record.lease()).await.map(|_| ()).map_err(stop),
        }
    }
}

/// Waits until the registry has the record again, of value `value`, on a lease.
async fn is_repaired(raw: &mut Raw, registration: &Registration, value: &[u8], ttl: Duration) -> CaseResult {
    // The contract; here the watch of the key tells at once.
    let until = Instant::now() + ttl * 5;
    loop {
        let found = raw.record(registration.key()).await?;
        if found.as_ref().is_some_and(|kv| kv.value() == value && kv.lease() != 0) {
            return is_registered(registration, SOON).await.map(drop);
        }
        ensure!(Instant::now() < until, "the record is not repaired: {found:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) async fn record_that_somebody_takes_or_overwrites_is_repaired(setup: Setup) -> CaseResult {
    let ttl = Duration::from_secs(5);
    let stage = setup.stage().await?;
    let service = stage.service("orders")?;
    let client = stage.client()?;
    let owner = stage.owner(&client, &service, "one", ttl).await?;
    let bystander = stage.owner(&client, &service, "two", ttl).await?;
    let mut raw = stage.raw().await?;
    let other = raw.record(bystander.registration.key()).await?;
    let other = other.ok_or_else(|| Stop::failed("the other record is not there"))?;
    let key = place(owner.registration.key());
    for harm in [Harm::Delete, Harm::Garbage, Harm::Detach, Harm::Revoke] {
        let record = raw.get(&key).await?;
        let record = record.ok_or_else(|| Stop::failed(format!("there is no record before {harm:?}")))?;
        let harmed_at = Instant::now();
        // The loss may be over sooner than anybody sees it; that it was there shows.
        let told = reaches(&owner.registration, ttl * 5, "lost", move |state| match state {
            RegistrationState::Lost { .. } => true,
            RegistrationState::Registered { since } => *since > harmed_at,
            _ => false,
        });
        let (told, done) = tokio::join!(told, harm.do_to(&mut raw, &record));
        done?;
        told?;
        is_repaired(&mut raw, &owner.registration, record.value(), ttl).await?;
        is_repaired(&mut raw, &bystander.registration, other.value(), ttl).await?;
    }
    let view = stage.view(&client, &service).await?;
    shows(&view, SOON, "both", |snapshot| is_live(snapshot, &["one", "two"])).await?;
    is_registered(&bystander.registration, SOON).await?;
    Ok(())
}
