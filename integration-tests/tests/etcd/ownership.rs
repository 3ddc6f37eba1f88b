//! A record has one owner, who gets it back, and whose last word counts.

use std::time::Duration;

use callsign_client::{Patch, Registration, RegistrationState};
use callsign_core::{Backend, Read};
use callsign_integration_tests::etcd::PREFIX;
use callsign_testkit::suite::client::observe::{is_live, is_registered, reaches, shows};
use callsign_testkit::suite::{CaseResult, Stop};
use etcd_client::KeyValue;
use tokio::time::{Instant, sleep, timeout};

use crate::ensure;
use crate::raw::{Happened, Raw, place, stop};
use crate::setup::Setup;
use crate::stage::{CALL, RECOVERY, SOON, Stage, record};

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
    let lost = |state: &RegistrationState| matches!(state, RegistrationState::Lost { .. });
    for harm in [Harm::Delete, Harm::Garbage, Harm::Detach, Harm::Revoke] {
        let record = raw.get(&key).await?;
        let record = record.ok_or_else(|| Stop::failed(format!("there is no record before {harm:?}")))?;
        let told = reaches(&owner.registration, ttl * 5, "lost", lost);
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

/// What is written to the records of `stage`, as pairs; `None` where one is deleted.
async fn pairs_since(stage: &Stage, revision: i64) -> CaseResult<Vec<Option<(u64, u64)>>> {
    let prefix = format!("{PREFIX}/{}/", stage.namespace());
    let history = stage.raw().await?.history(&prefix, revision).await?;
    Ok(history
        .into_iter()
        .map(|happened| match happened {
            Happened::Put { value } => Some((number(&value, "incarnation"), number(&value, "seq"))),
            Happened::Deleted => None,
        })
        .collect())
}

/// The number that a document has under `field`.
fn number(document: &str, field: &str) -> u64 {
    let behind = document.split_once(&format!("\"{field}\":")).map_or("", |(_, behind)| behind);
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

pub(crate) async fn write_that_comes_late_is_not_applied_after_a_newer_one(setup: Setup) -> CaseResult {
    let ttl = Duration::from_secs(60);
    let stage = setup.stage().await?;
    let service = stage.service("orders")?;
    let backend = stage.backend()?;
    backend.register(&record(&service, "one", 1, ttl)?).await?;
    let revision = stage.raw().await?.revision().await?;
    let mut seq = 1;
    for _ in 0..3 {
        let freeze = stage.etcd().freeze_all().await?;
        for _ in 0..2 {
            seq += 1;
            let record = record(&service, "one", seq, ttl)?;
            let answer = timeout(CALL, backend.register(&record)).await;
            ensure!(matches!(answer, Ok(Err(_))), "a frozen registry answers: {answer:?}");
        }
        freeze.heal().await?;
        seq += 1;
        until_ok(&backend, &record(&service, "one", seq, ttl)?).await?;
    }
    let listing = backend.list(&service, Read::Quorum).await?;
    let last = listing.instances.first().map(|one| one.seq);
    ensure!(last == Some(seq), "the last word was {seq}, and there is {last:?}");

    // A write that is on its way, and a delete that overtakes it.
    let freeze = stage.etcd().freeze_all().await?;
    let late = record(&service, "one", seq + 1, ttl)?;
    let answer = timeout(CALL, backend.register(&late)).await;
    ensure!(matches!(answer, Ok(Err(_))), "a frozen registry answers: {answer:?}");
    freeze.heal().await?;
    let until = Instant::now() + RECOVERY;
    while let Err(error) = backend.deregister(&late).await {
        ensure!(Instant::now() < until, "it cannot be deregistered: {error}");
        sleep(Duration::from_millis(20)).await;
    }
    // What still lies in a queue somewhere has its chance.
    sleep(Duration::from_secs(3)).await;
    let pairs = pairs_since(&stage, revision).await?;
    ensure!(
        pairs.is_sorted_by_key(|pair| pair.unwrap_or((u64::MAX, 0))),
        "an older write came after a newer one: {pairs:?}"
    );
    ensure!(pairs.last() == Some(&None), "the record has come back: {pairs:?}");
    Ok(())
}

async fn until_ok(backend: &std::sync::Arc<dyn Backend>, record: &callsign_core::Record) -> CaseResult {
    let until = Instant::now() + RECOVERY;
    loop {
        match backend.register(record).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= until => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(crate) async fn newest_change_wins_after_a_freeze_and_nothing_comes_back_after_leaving(
    setup: Setup,
) -> CaseResult {
    let ttl = Duration::from_secs(9);
    let stage = setup.stage().await?;
    let service = stage.service("orders")?;
    let client = stage.client()?;
    let owner = stage.owner(&client, &service, "one", ttl).await?;
    let view = stage.view(&client, &service).await?;
    let revision = stage.raw().await?.revision().await?;
    let version = |snapshot: &callsign_client::Snapshot, wanted: &str| {
        snapshot.get("one").is_some_and(|one| one.metadata.get("version") == Some(wanted))
    };

    let freeze = stage.etcd().freeze_all().await?;
    for word in ["second", "third"] {
        let change = timeout(
            Duration::from_millis(500),
            owner.registration.update(Patch::new().metadata("version", word)),
        );
        ensure!(change.await.is_err(), "a frozen registry takes a change");
        // Long enough for the first to be on its way.
        sleep(Duration::from_secs(2)).await;
    }
    freeze.heal().await?;
    shows(&view, RECOVERY, "the newest change", |snapshot| {
        snapshot.freshness.is_live() && version(snapshot, "third")
    })
    .await?;
    is_registered(&owner.registration, RECOVERY).await?;

    let freeze = stage.etcd().freeze_all().await?;
    let change = timeout(
        Duration::from_secs(1),
        owner.registration.update(Patch::new().metadata("version", "fourth")),
    );
    ensure!(change.await.is_err(), "a frozen registry takes a change");
    let left = Instant::now();
    let departure = owner.registration.deregister(Duration::from_secs(3)).await;
    ensure!(departure.removed.is_err(), "a frozen registry deletes");
    freeze.heal().await?;
    let within = departure.expires_within.unwrap_or_default() + Duration::from_secs(3);
    let mut raw = stage.raw().await?;
    while raw.record(owner.registration.key()).await?.is_some() {
        ensure!(
            left.elapsed() < within + Duration::from_secs(3),
            "the record outlives its lease: {departure:?}"
        );
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_secs(3)).await;
    let pairs = pairs_since(&stage, revision).await?;
    ensure!(
        pairs.is_sorted_by_key(|pair| pair.unwrap_or((u64::MAX, 0))),
        "an older write came after a newer one: {pairs:?}"
    );
    ensure!(pairs.last() == Some(&None), "the record has come back: {pairs:?}");
    Ok(())
}
