//! The whole registry goes away, and comes back.

use std::time::Duration;

use callsign_client::{Client, RegistrationState, Snapshot};
use callsign_core::{Error, EventKind, Probe, Read};
use callsign_integration_tests::etcd::PREFIX;
use callsign_testkit::suite::client::observe::{
    always, is_exactly, is_live, is_registered, is_routable, is_stale, reaches, shows,
};
use callsign_testkit::suite::{CaseResult, Stop, chain};
use futures::StreamExt;
use tokio::time::{Instant, sleep, timeout};

use crate::ensure;
use crate::setup::Setup;
use crate::stage::{CALL, NOTICED, RECOVERY, SLACK, SOON, nothing_was_lost, record};

pub(crate) async fn killed_and_back_within_the_ttl_writes_nothing_anew(setup: Setup) -> CaseResult {
    let ttl = Duration::from_secs(15);
    let stage = setup.stage().await?;
    let service = stage.service("orders")?;
    let (owners, users) = (stage.client()?, stage.client()?);
    let mut events = owners.events();
    let owner = stage.owner(&owners, &service, "one", ttl).await?;
    let view = stage.view(&users, &service).await?;
    let before = stage.raw().await?.record(owner.registration.key()).await?;
    let stays = |snapshot: &Snapshot| is_exactly(snapshot, &["one"]);
    always(&view, "a short outage takes nothing away", stays, async {
        let outage = stage.etcd().kill_all().await?;
        sleep(Duration::from_secs(2)).await;
        outage.heal().await?;
        shows(&view, RECOVERY, "a live answer", |snapshot| is_live(snapshot, &["one"])).await?;
        // Longer than a lease lasts that nobody renews.
        sleep(ttl + Duration::from_secs(1)).await;
        is_registered(&owner.registration, SOON).await?;
        Ok(())
    })
    .await?;
    nothing_was_lost(&mut events)?;
    let after = stage.raw().await?.record(owner.registration.key()).await?;
    let stamp = |kv: &Option<etcd_client::KeyValue>| kv.as_ref().map(|kv| (kv.mod_revision(), kv.lease()));
    ensure!(
        before.is_some() && stamp(&before) == stamp(&after),
        "the record was written anew: {before:?} became {after:?}"
    );
    Ok(())
}

pub(crate) async fn killed_for_longer_than_the_ttl_is_registered_again(setup: Setup) -> CaseResult {
    let ttl = Duration::from_secs(4);
    let stage = setup.stage().await?;
    let service = stage.service("orders")?;
    let (owners, users) = (stage.client()?, stage.client()?);
    let owner = stage.owner(&owners, &service, "one", ttl).await?;
    let view = stage.view(&users, &service).await?;
    let pair = view.snapshot().get("one").map(|one| one.pair());
    always(&view, "nobody is missed", |snapshot| is_routable(snapshot, "one"), async {
        let outage = stage.etcd().kill_all().await?;
        shows(&view, SOON, "trouble", is_stale).await?;
        let lost = |state: &RegistrationState| matches!(state, RegistrationState::Lost { .. });
        reaches(&owner.registration, ttl + SOON, "lost", lost).await?;
        sleep(ttl).await;
        outage.heal().await?;
        is_registered(&owner.registration, ttl / 3 + Duration::from_secs(5) + RECOVERY).await?;
        shows(&view, RECOVERY, "a live answer", |snapshot| is_live(snapshot, &["one"])).await?;
        sleep(ttl * 2).await;
        is_registered(&owner.registration, SOON).await?;
        Ok(())
    })
    .await?;
    let now = shows(&view, SOON, "the instance", |snapshot| is_live(snapshot, &["one"])).await?;
    let after = now.get("one").map(|one| one.pair());
    ensure!(pair.is_some() && pair == after, "another record has come back: {after:?} instead of {pair:?}");
    Ok(())
}

pub(crate) async fn frozen_registry_is_noticed_in_time_and_delays_nobody(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let service = stage.service("orders")?;
    let (client, backend) = (stage.client()?, stage.backend()?);
    let _owner = stage.owner(&client, &service, "one", Duration::from_secs(60)).await?;
    let view = stage.view(&client, &service).await?;
    let record = record(&stage.service("others")?, "two", 1, Duration::from_secs(60))?;
    backend.register(&record).await?;
    always(&view, "nobody is missed", |snapshot| is_exactly(snapshot, &["one"]), async {
        let freeze = stage.etcd().freeze_all().await?;
        let begun = Instant::now();
        // A listing may be long, so only the pings under it tell that nobody is there.
        let (list, write, probe) = tokio::join!(
            timeout(NOTICED + SLACK, backend.list(&service, Read::Quorum)),
            timeout(CALL, backend.register(&record)),
            timeout(CALL, backend.probe(Probe::Authority)),
        );
        for (call, answer) in [
            ("list", list.map(drop_answer)),
            ("register", write.map(drop_answer)),
            ("probe", probe.map(drop_answer)),
        ] {
            let answer = answer.map_err(|_| Stop::failed(format!("`{call}` hangs")))?;
            let Err(error) = answer else {
                return Err(Stop::failed(format!("a frozen registry answers `{call}`")));
            };
            ensure!(error.counts_as_outage(), "`{call}` takes silence for something else: {}", chain(&error));
        }
        shows(&view, (NOTICED + SLACK).saturating_sub(begun.elapsed()), "trouble", is_stale).await?;
        freeze.heal().await?;
        shows(&view, RECOVERY, "a live answer", |snapshot| is_live(snapshot, &["one"])).await?;
        // An attempt to connect that began before the end may fail after it.
        let mut failure = None;
        let answers = async {
            while let Err(error) = backend.list(&service, Read::Quorum).await {
                failure = Some(error);
                sleep(Duration::from_millis(20)).await;
            }
        };
        let recovered = timeout(RECOVERY, answers).await.is_ok();
        ensure!(recovered, "the backend does not recover: {failure:?}");
        Ok(())
    })
    .await
}

fn drop_answer<T>(answer: Result<T, Error>) -> Result<(), Error> {
    answer.map(drop)
}

pub(crate) async fn wiped_registry_is_a_new_epoch_and_is_filled_again(setup: Setup) -> CaseResult {
    let ttl = Duration::from_secs(6);
    let stage = setup.stage().await?;
    let service = stage.service("orders")?;
    let (owners, backend) = (stage.client()?, stage.backend()?);
    let users = Client::new(backend.clone())?;
    let owner = stage.owner(&owners, &service, "one", ttl).await?;
    // Revisions far above all that the next life of the store will reach here.
    let mut raw = stage.raw().await?;
    for number in 0..300 {
        raw.put(format!("{PREFIX}/{}/x/{number}", stage.namespace()), "x").await?;
    }
    let view = stage.view(&users, &service).await?;
    let other = stage.view(&users, &stage.service("others")?).await?;
    let before = view.snapshot().epoch;
    let mut events = backend.events();
    always(&view, "nobody is missed", |snapshot| is_routable(snapshot, "one"), async {
        stage.etcd().wipe().await?;
        is_registered(&owner.registration, RECOVERY).await?;
        let listed = |snapshot: &Snapshot| is_live(snapshot, &["one"]) && snapshot.epoch > before;
        shows(&view, ttl * 2 + RECOVERY, "what was registered anew", listed).await?;
        Ok(())
    })
    .await?;
    let reset = async { while events.next().await.is_some_and(|event| event.kind != EventKind::Reset) {} };
    ensure!(timeout(SOON, reset).await.is_ok(), "nobody tells that the registry was wiped");
    let record = stage.raw().await?.record(owner.registration.key()).await?;
    ensure!(record.is_some_and(|kv| kv.lease() != 0), "the record has not come back with a lease");
    // A watch that waits for a revision of the former life would not hear of this.
    let _late = stage.owner(&owners, other.service(), "two", ttl).await?;
    shows(&other, SOON, "who has come after the wipe", |snapshot| is_live(snapshot, &["two"])).await?;
    Ok(())
}
