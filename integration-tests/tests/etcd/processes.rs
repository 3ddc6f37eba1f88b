//! The client is a process of its own, and it is the one that stands still.

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use callsign::{Callsign, RegisterOptions, Ttl};
use callsign_client::Snapshot;
use callsign_core::{InstanceId, InstanceKey};
use callsign_integration_tests::{Launch, Process};
use callsign_testkit::suite::client::observe::{always, is_exactly, is_live, is_routable, shows};
use callsign_testkit::suite::{CaseResult, Stop};
use tokio::runtime::Builder;
use tokio::time::{Instant, sleep};

use crate::ensure;
use crate::program::Configured;
use crate::raw::Raw;
use crate::setup::Setup;
use crate::stage::{RECOVERY, SOON};

const ID: &str = "one";
const TTL: Duration = Duration::from_secs(4);
/// What this program is told when it is to be an owner; the file of its configuration follows.
pub(crate) const OWN: &str = "--own";

/// Registers, and stays until it is killed.
pub(crate) fn own(file: &Path) -> ExitCode {
    let owning = async {
        let nothing: [(&str, &str); 0] = [];
        let callsign = Callsign::builder().file(file).environment(nothing).build().ok()?;
        let process = TcpListener::bind("127.0.0.1:0").ok()?;
        let endpoint = format!("http://{}", process.local_addr().ok()?);
        let instance = callsign.instance("orders").id(ID).endpoint(endpoint).build().ok()?;
        let options = RegisterOptions::new().with_ttl(Ttl::new(TTL).ok()?);
        let _registration = callsign.register_with(instance, options).await.ok()?;
        std::future::pending::<Option<()>>().await
    };
    match Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime.block_on(owning).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS),
        Err(_) => ExitCode::FAILURE,
    }
}

/// Waits until the record is there, or is not.
async fn is_there(raw: &mut Raw, key: &InstanceKey, wanted: bool, within: Duration) -> CaseResult {
    let until = Instant::now() + within;
    while raw.record(key).await?.is_some() != wanted {
        ensure!(Instant::now() < until, "after {within:?} the record is there: {}", !wanted);
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

pub(crate) async fn process_that_stood_still_for_longer_than_its_ttl_registers_again(
    setup: Setup,
) -> CaseResult {
    let stage = setup.stage().await?;
    let failed = |error: std::io::Error| Stop::failed(format!("no process of our own: {error}"));
    let folder = tempfile::tempdir().map_err(failed)?;
    let file = folder.path().join("callsign.toml");
    Configured::like(&stage.config()).within(stage.namespace().as_str()).write(&file)?;
    let launch = Launch {
        // This program, also when another one has been built in its place meanwhile.
        program: format!("/proc/{}/exe", std::process::id()).into(),
        arguments: vec![OsString::from(OWN), file.into()],
        environment: Vec::new(),
        log: folder.path().join("owner.log"),
    };
    let service = stage.service("orders")?;
    let key = InstanceKey::new(service.clone(), InstanceId::new(ID)?);
    let view = stage.view(&stage.client()?, &service).await?;
    let process = Process::start(&launch)?;
    let shown = shows(&view, SOON * 2, "the process", |snapshot| is_live(snapshot, &[ID])).await?;
    let pair = shown.get(ID).map(|one| one.pair());
    let mut raw = stage.raw().await?;
    let stays = |snapshot: &Snapshot| is_routable(snapshot, ID);
    // Its port is the system's, and answers.
    always(&view, "who answers is not missed", stays, async {
        for _ in 0..2 {
            process.freeze().await?;
            is_there(&mut raw, &key, false, TTL + SOON).await?;
            process.thaw()?;
            is_there(&mut raw, &key, true, TTL / 3 + RECOVERY).await?;
            shows(&view, SOON, "the process, listed again", |snapshot| is_exactly(snapshot, &[ID])).await?;
        }
        // It renews as before.
        sleep(TTL * 2).await;
        is_there(&mut raw, &key, true, Duration::ZERO).await
    })
    .await?;
    let again = view.snapshot().get(ID).map(|one| one.pair());
    ensure!(pair.is_some() && pair == again, "{again:?} has come back instead of {pair:?}");
    process.kill().await?;
    // Its lease, and a second question to registry and process.
    shows(&view, TTL + SOON * 3, "that it is dead", |snapshot| is_live(snapshot, &[])).await?;
    Ok(())
}
