//! Writes that were given up and arrive all the same.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use callsign_client::{Patch, Snapshot};
use callsign_core::{Backend, Record};
use callsign_integration_tests::etcd::{Options, PREFIX};
use callsign_integration_tests::proxy::Mode;
use callsign_testkit::suite::client::observe::{is_registered, shows};
use callsign_testkit::suite::{CaseResult, Stop};
use futures::future::{join_all, try_join_all};
use tokio::time::{Instant, sleep, timeout};

use crate::ensure;
use crate::raw::Happened;
use crate::setup::Setup;
use crate::stage::{CALL, RECOVERY, Stage, backend, record};

/// What still lies in a queue somewhere has so long to come out.
const SETTLED: Duration = Duration::from_secs(3);

/// What was written to each record of `stage` after `revision`, by its key: the seq, `None` for a delete.
async fn histories(stage: &Stage, revision: i64) -> CaseResult<BTreeMap<String, Vec<Option<u64>>>> {
    let prefix = format!("{PREFIX}/{}/", stage.namespace());
    let mut histories = BTreeMap::<_, Vec<_>>::new();
    for happened in stage.raw().await?.history(&prefix, revision).await? {
        let (key, seq) = match happened {
            Happened::Put { key, value } => (key, Some(seq_in(&value))),
            Happened::Deleted { key } => (key, None),
        };
        histories.entry(key).or_default().push(seq);
    }
    Ok(histories)
}

/// The seq that a document has.
fn seq_in(document: &str) -> u64 {
    let behind = document.split_once("\"seq\":").map_or("", |(_, behind)| behind);
    let digits: String = behind.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}

/// Fails unless no older write comes after a newer one, and `last` is what stands there in the end.
fn ends_with(history: &[Option<u64>], last: Option<u64>) -> CaseResult {
    let grows = history.is_sorted_by_key(|seq| seq.unwrap_or(u64::MAX));
    ensure!(grows, "an older write came after a newer one: {history:?}");
    ensure!(history.last() == Some(&last), "{last:?} was the last word: {history:?}");
    Ok(())
}

/// A call that is tried until it succeeds.
async fn until_ok<F: Future<Output = callsign_core::Result<callsign_core::Receipt>>>(
    call: impl Fn() -> F,
) -> CaseResult {
    let until = Instant::now() + RECOVERY;
    loop {
        match call().await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= until => return Err(error.into()),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}

pub(crate) async fn write_that_comes_late_is_not_applied_after_a_newer_one(setup: Setup) -> CaseResult {
    const WRITERS: usize = 32;
    let ttl = Duration::from_secs(60);
    let stage = setup.with(Options::with_client_proxies).stage().await?;
    let service = stage.service("orders")?;
    let member = stage.etcd().member(0)?;
    let proxy = member.clients().ok_or_else(|| Stop::failed("there is no proxy"))?;
    // Two ways to one server. Whoever has begun with the first will go on over the second.
    let config = stage.config().with_endpoints([member.endpoint(), member.direct()]);
    let config = config.with_op_timeout(Duration::from_secs(1));
    let ids: Vec<_> = (0..WRITERS).map(|number| format!("id-{number:02}")).collect();
    let records =
        |seq| ids.iter().map(|id| record(&service, id, seq, ttl)).collect::<CaseResult<Vec<Record>>>();
    let writers: Vec<Arc<dyn Backend>> =
        ids.iter().map(|_| backend(&config)).collect::<CaseResult<Vec<_>>>()?;
    let (first, late, last) = (records(1)?, records(2)?, records(3)?);
    try_join_all(writers.iter().zip(&first).map(|(writer, record)| writer.register(record))).await?;
    let revision = stage.raw().await?.revision().await?;

    proxy.set(Mode::Stall).await;
    let given_up = writers.iter().zip(&late).map(|(writer, record)| timeout(CALL, writer.register(record)));
    let given_up = join_all(given_up).await;
    let late = given_up.iter().filter(|answer| !matches!(answer, Ok(Ok(_)))).count();
    ensure!(late >= WRITERS / 8, "only {late} of {WRITERS} writes are on their way");
    let overtaken = (0..).zip(writers.iter().zip(&last)).map(|(number, (writer, record))| {
        until_ok(move || async move {
            if number % 2 == 0 { writer.register(record).await } else { writer.deregister(record).await }
        })
    });
    try_join_all(overtaken).await?;
    proxy.set(Mode::Pass).await;
    sleep(SETTLED).await;

    let histories = histories(&stage, revision).await?;
    ensure!(histories.len() == WRITERS, "{histories:?}");
    for (number, (key, history)) in (0..).zip(&histories) {
        let last = if number % 2 == 0 { Some(3) } else { None };
        ends_with(history, last).map_err(|stop| Stop::failed(format!("{key}: {stop:?}")))?;
    }
    Ok(())
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
    let version = |snapshot: &Snapshot, wanted: &str| {
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
    sleep(SETTLED).await;
    let histories = histories(&stage, revision).await?;
    let history = histories.into_values().next().unwrap_or_default();
    ends_with(&history, None)
}
