//! Too much of something: a full database, a record that is too large.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use callsign_client::{Patch, RegistrationState};
use callsign_core::{ErrorKind, Pair, Probe, Read, Record, Retry, Ttl};
use callsign_testkit::suite::client::observe::{is_live, is_registered, shows, states, told};
use callsign_testkit::suite::{CaseResult, Stop, chain};
use etcd_client::{AlarmAction, AlarmOptions, AlarmType, DeleteOptions};
use tokio::time::sleep;

use crate::ensure;
use crate::raw::{Raw, stop};
use crate::setup::Setup;
use crate::stage::{RECOVERY, SOON, backend, client, instance, nothing_was_lost, options, record};

const FILLER: &str = "/filler/";

/// Writes until the database is full.
async fn fill(raw: &mut Raw, quota: u64) -> CaseResult {
    let large = "x".repeat(512 * 1024);
    for number in 0..quota / 100_000 {
        match raw.client().put(format!("{FILLER}{number}"), large.as_str(), None).await {
            Ok(_) => {}
            Err(error) if error.to_string().contains("database space exceeded") => return Ok(()),
            Err(error) => return Err(stop(error)),
        }
    }
    Err(Stop::failed("it does not become full"))
}

/// What an operator does about it.
async fn make_room(raw: &mut Raw) -> CaseResult {
    raw.client().delete(FILLER, Some(DeleteOptions::new().with_prefix())).await.map_err(stop)?;
    raw.compact().await?;
    raw.client().defragment().await.map_err(stop)?;
    let raised = raw.client().alarm(AlarmAction::Get, AlarmType::Nospace, None).await.map_err(stop)?;
    for alarm in raised.alarms() {
        let mut options = AlarmOptions::new();
        options.with_member(alarm.member_id());
        raw.client().alarm(AlarmAction::Deactivate, AlarmType::Nospace, Some(options)).await.map_err(stop)?;
    }
    Ok(())
}

pub(crate) async fn full_database_keeps_who_is_registered_and_says_what_to_do(setup: Setup) -> CaseResult {
    const QUOTA: u64 = 8 * 1024 * 1024;
    const ADVICE: &str = "compact and defragment it, then disarm the alarm";
    let ttl = Duration::from_secs(4);
    let stage = setup.with(|options| options.with_quota(QUOTA)).stage().await?;
    let service = stage.service("orders")?;
    let (client, late) = (stage.client()?, stage.client()?);
    let mut events = client.events();
    let owner = stage.owner(&client, &service, "one", ttl).await?;
    let view = stage.view(&client, &service).await?;
    let mut raw = stage.raw().await?;
    fill(&mut raw, QUOTA).await?;

    let error = stage.backend()?.register(&record(&service, "two", 1, ttl)?).await.err();
    let error = error.ok_or_else(|| Stop::failed("a full database takes a record"))?;
    let text = chain(&error);
    let kind = (error.kind(), error.retry(), error.counts_as_outage());
    ensure!(kind == (ErrorKind::LimitExceeded, Retry::Temporary, false), "{kind:?}: {text}");
    ensure!(text.contains(ADVICE), "it does not say what to do: {text}");
    let pending = late.register(instance(&service, "two").build()?, options(ttl)?).await?;
    let told = pending.state();
    let advised = matches!(&told, RegistrationState::Pending { cause: Some(cause), .. } if chain(cause).contains(ADVICE));
    ensure!(advised, "who comes too late is {told}");

    // As long as two leases that nobody renews.
    sleep(ttl * 2).await;
    is_registered(&owner.registration, SOON).await?;
    nothing_was_lost(&mut events)?;
    shows(&view, SOON, "who was there before", |snapshot| is_live(snapshot, &["one"])).await?;

    make_room(&mut raw).await?;
    is_registered(&pending, RECOVERY).await?;
    shows(&view, SOON, "both", |snapshot| is_live(snapshot, &["one", "two"])).await?;
    nothing_was_lost(&mut events)
}

pub(crate) async fn record_over_the_limit_is_refused_before_anything_is_sent(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let service = stage.service("orders")?;
    let no_port = |error| Stop::failed(format!("no port: {error}"));
    let port = TcpListener::bind("127.0.0.1:0").map_err(no_port)?;
    port.set_nonblocking(true).map_err(no_port)?;
    let address = port.local_addr().map_err(no_port)?;
    let stranger = client(&stage.direct_config().with_endpoints([format!("http://{address}")]))?;
    let large = instance(&service, "one").metadata("filler", "x".repeat(64 * 1024)).build()?;
    let error = stranger.register(large, options(Duration::from_secs(60))?).await.err();
    let error = error.ok_or_else(|| Stop::failed("a record of more than 64 KiB is taken"))?;
    let text = chain(&error);
    ensure!(error.kind() == ErrorKind::LimitExceeded && error.retry() == Retry::Permanent, "{text}");
    let complete = ["orders#one", "65536", "max_value_size"].iter().all(|part| text.contains(part));
    ensure!(complete, "it does not say what is too large and what is allowed: {text}");
    let knocked = port.accept();
    let nobody = knocked.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
    ensure!(nobody, "something was sent: {knocked:?}");

    // A change that is too large takes nothing back.
    let client = stage.client()?;
    let mut events = client.events();
    let owner = stage.owner(&client, &service, "two", Duration::from_secs(4)).await?;
    let change = Patch::new().metadata("filler", "x".repeat(64 * 1024));
    let error = owner.registration.update(change).await.err();
    ensure!(error.as_ref().is_some_and(|error| error.kind() == ErrorKind::LimitExceeded), "{error:?}");
    sleep(Duration::from_secs(6)).await;
    let listed = stage.backend()?.list(&service, Read::Quorum).await?;
    ensure!(listed.instances.len() == 1, "the record that was there is gone: {listed:?}");
    let mend = owner.registration.update(Patch::new().without_metadata("filler"));
    mend.await?;
    let states = states(&told(&mut events));
    ensure!(!states.contains(&"lost"), "the record that was there was lost: {states:?}");
    Ok(())
}

pub(crate) async fn servers_own_limit_is_named(setup: Setup) -> CaseResult {
    let ttl = Duration::from_secs(60);
    let stage = setup.with(|options| options.with_flag("--max-request-bytes=16384")).stage().await?;
    let service = stage.service("orders")?;
    let backend = backend(&stage.config())?;
    let small = record(&service, "one", 1, ttl)?;
    backend.register(&small).await?;
    let large = instance(&service, "two").pair(Pair::new(1, 1)).metadata("filler", "x".repeat(20_000));
    let large = Record::new(large.build()?, Ttl::new(ttl)?);
    let error = backend.register(&large).await.err();
    let error = error.ok_or_else(|| Stop::failed("the server takes more than it may"))?;
    let text = chain(&error);
    let named = error.kind() == ErrorKind::LimitExceeded && text.contains("--max-request-bytes");
    ensure!(named, "it does not say which limit: {text}");
    backend.renew(&small).await?;
    let listed = backend.list(&service, Read::Quorum).await?;
    ensure!(listed.instances.len() == 1, "{listed:?}");
    Ok(backend.probe(Probe::Authority).await?)
}
