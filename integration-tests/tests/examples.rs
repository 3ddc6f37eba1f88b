//! The examples run on a real registry as they do on the embedded one: by configuration alone.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;

use callsign_core::{Authority, Backend, Capabilities, Error, Result, async_trait};
use callsign_integration_tests::etcd::{Etcd, Options, Version};
use callsign_testkit::suite::{CaseResult, Stop};
use callsign_testkit::{Harness, Subject, run_with_threads};
use tokio::process::Command;

const VERSION: Version = Version::V3_5;

/// The cases start what they need.
struct NoHarness;

#[async_trait]
impl Harness for NoHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        Err(Error::unsupported("the cases start what they need"))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Authority::Quorum)
    }
}

/// Builds `program` with the features that this test was built with, so that nothing is built twice, and says where
/// it is.
async fn built(program: &str) -> CaseResult<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--workspace", "--all-features", "--bin", program]);
    ends_well(build).await?;
    let here = std::env::current_exe()
        .map_err(|error| Stop::failed(format!("nobody knows where this test is: {error}")))?;
    let folder = here.parent().and_then(|deps| deps.parent());
    Ok(folder.ok_or_else(|| Stop::failed("this test lies in no target folder"))?.join(program))
}

/// What `command` prints, if it succeeds.
async fn ends_well(mut command: Command) -> CaseResult<String> {
    let output = command.kill_on_drop(true).stdin(Stdio::null()).output().await;
    let output = output.map_err(|error| Stop::failed(format!("{command:?} does not start: {error}")))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(said);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(Stop::failed(format!("{command:?} ended with {}\n{said}\n{complaint}", output.status)))
}

async fn runs(program: &str, choose: impl FnOnce(&mut Command, &str)) -> CaseResult<String> {
    VERSION.program().map_err(Stop::Missing)?;
    let etcd = Etcd::start(Options::new(VERSION)).await?;
    let endpoint = etcd.endpoints().swap_remove(0);
    let url = endpoint.replace("http://", "etcd://");
    let mut command = Command::new(built(program).await?);
    choose(&mut command, &url);
    ends_well(command).await
}

fn main() -> ExitCode {
    let subject = Subject::fresh(format!("{VERSION}-examples"), || NoHarness)
        .proves("examples", "quickstart", "The quickstart fails no call on etcd.", || async {
            let said = runs("quickstart", |quickstart, url| {
                quickstart.env("CALLSIGN_REGISTRY", url);
            });
            let said = said.await?;
            if said.contains("type etcd") {
                return Ok(());
            }
            Err(Stop::failed(format!("it ran on another registry\n{said}")))
        })
        .proves("examples", "swap_registry", "The same program runs on memory and on etcd.", || async {
            let said = runs("swap_registry", |program, url| {
                program.args(["main", url]);
            });
            let said = said.await?;
            let lines = |registry: &str| said.lines().filter(|line| line.contains(registry)).count();
            if lines("main ") == lines("etcd://") && lines("main ") > 0 {
                return Ok(());
            }
            Err(Stop::failed(format!("the registries have different stories\n{said}")))
        });
    run_with_threads(2, [subject])
}
