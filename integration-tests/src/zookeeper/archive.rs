//! The classes of a server, in an archive that Java starts from: in little more than half the time, and tests start
//! hundreds of servers.

use std::path::PathBuf;

use callsign_core::{Error, Result};
use tokio::sync::OnceCell;

use super::{Options, Version, ZooKeeper};

/// Where the archive of `version` is, or will be: beside the jars, as it is of use with them alone.
pub(super) fn path(version: Version) -> Result<PathBuf, String> {
    version.jar().map(|jar| jar.with_file_name("callsign-tests.jsa"))
}

/// Makes the archive of `version`, unless there is one. Where it cannot be made servers start without it.
pub(super) async fn provide(version: Version) {
    static ASKED: [OnceCell<()>; 2] = [const { OnceCell::const_new() }; 2];
    let asked = match version {
        Version::V3_8 => &ASKED[0],
        Version::V3_9 => &ASKED[1],
    };
    let provided = asked.get_or_init(|| async {
        if path(version).is_ok_and(|path| !path.exists()) {
            // What is wrong with the server itself shows when the first one is started.
            let _ = make(version).await;
        }
    });
    provided.await;
}

/// Has a server write down, as it ends, what it has loaded.
async fn make(version: Version) -> Result<()> {
    let path = path(version).map_err(Error::unsupported)?;
    // Others may be at it, too; the last one's is as good.
    let draft = path.with_extension(std::process::id().to_string());
    let zookeeper = ZooKeeper::launch(Options::new(version).with_archive(draft.clone())).await?;
    zookeeper.member(0)?.server().terminate().await?;
    let unusable = |error| Error::unexpected("no archive was written").with_source(error);
    std::fs::rename(draft, path).map_err(unusable)
}
