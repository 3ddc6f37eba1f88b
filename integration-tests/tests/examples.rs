//! The examples run on a real registry as they do on the embedded one: by configuration alone.

use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;

use callsign_core::{Authority, Backend, Capabilities, Error, Result, async_trait};
use callsign_integration_tests::consul::{self, Consul, Kind};
use callsign_integration_tests::etcd::{self, Etcd, Version};
use callsign_integration_tests::nacos::{self, RNacos, RNacosOptions};
use callsign_integration_tests::zookeeper::{self, ZooKeeper};
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

/// What `program` prints, told as `choose` tells it.
async fn runs(program: &str, choose: impl FnOnce(&mut Command)) -> CaseResult<String> {
    let mut command = Command::new(built(program).await?);
    choose(&mut command);
    ends_well(command).await
}

async fn quickstart_on(kind: &str, url: &str) -> CaseResult {
    let said = runs("quickstart", |quickstart| {
        quickstart.env("CALLSIGN_REGISTRY", url);
    });
    let said = said.await?;
    if said.contains(&format!("type {kind}")) {
        return Ok(());
    }
    Err(Stop::failed(format!("it ran on another registry\n{said}")))
}

async fn swapped_to(kind: &str, url: &str) -> CaseResult {
    let said = runs("swap_registry", |program| {
        program.args(["main", url]);
    });
    let said = said.await?;
    let lines = |registry: &str| said.lines().filter(|line| line.contains(registry)).count();
    if lines("main ") == lines(&format!("{kind}://")) && lines("main ") > 0 {
        return Ok(());
    }
    Err(Stop::failed(format!("the registries have different stories\n{said}")))
}

async fn an_etcd() -> CaseResult<(Arc<Etcd>, String)> {
    VERSION.program().map_err(Stop::Missing)?;
    let etcd = Etcd::start(etcd::Options::new(VERSION)).await?;
    let url = etcd.endpoints().swap_remove(0).replace("http://", "etcd://");
    Ok((etcd, url))
}

async fn a_consul() -> CaseResult<(Arc<Consul>, String)> {
    consul::program().map_err(Stop::Missing)?;
    let consul = Consul::start(consul::Options::new(Kind::Single)).await?;
    let url = consul.home()?.url().replace("http://", "consul://");
    Ok((consul, url))
}

async fn a_zookeeper() -> CaseResult<(Arc<ZooKeeper>, String)> {
    let version = zookeeper::Version::V3_8;
    version.jar().map_err(Stop::Missing)?;
    let zookeeper = ZooKeeper::start(zookeeper::Options::new(version)).await?;
    let url = format!("zookeeper://{}", zookeeper.endpoints().join(","));
    Ok((zookeeper, url))
}

async fn a_nacos() -> CaseResult<(Arc<RNacos>, String)> {
    nacos::program().map_err(Stop::Missing)?;
    let rnacos = RNacos::start(RNacosOptions::default()).await?;
    let url = rnacos.urls().swap_remove(0).replace("http://", "nacos://");
    Ok((rnacos, url))
}

fn main() -> ExitCode {
    let etcd = Subject::fresh(format!("{VERSION}-examples"), || NoHarness)
        .proves("examples", "quickstart", "The quickstart fails no call on etcd.", || async {
            let (_etcd, url) = an_etcd().await?;
            quickstart_on("etcd", &url).await
        })
        .proves("examples", "swap_registry", "The same program runs on memory and on etcd.", || async {
            let (_etcd, url) = an_etcd().await?;
            swapped_to("etcd", &url).await
        });
    let consul = Subject::fresh("consul-examples", || NoHarness)
        .proves("examples", "quickstart", "The quickstart fails no call on Consul.", || async {
            let (_consul, url) = a_consul().await?;
            quickstart_on("consul", &url).await
        })
        .proves("examples", "swap_registry", "The same program runs on memory and on Consul.", || async {
            let (_consul, url) = a_consul().await?;
            swapped_to("consul", &url).await
        });
    let zookeeper = Subject::fresh("zookeeper-examples", || NoHarness)
        .proves("examples", "quickstart", "The quickstart fails no call on ZooKeeper.", || async {
            let (_zookeeper, url) = a_zookeeper().await?;
            quickstart_on("zookeeper", &url).await
        })
        .proves("examples", "swap_registry", "The same program runs on memory and on ZooKeeper.", || async {
            let (_zookeeper, url) = a_zookeeper().await?;
            swapped_to("zookeeper", &url).await
        });
    let nacos = Subject::fresh("rnacos-examples", || NoHarness)
        .proves("examples", "quickstart", "The quickstart fails no call on Nacos.", || async {
            let (_rnacos, url) = a_nacos().await?;
            quickstart_on("nacos", &url).await
        })
        .proves("examples", "swap_registry", "The same program runs on memory and on Nacos.", || async {
            let (_rnacos, url) = a_nacos().await?;
            swapped_to("nacos", &url).await
        });
    run_with_threads(2, [etcd, consul, nacos, zookeeper])
}
