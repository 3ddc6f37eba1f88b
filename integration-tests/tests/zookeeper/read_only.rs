//! Servers that have lost their quorum.

use callsign_core::{Authority, Backend, ErrorKind, Probe, Read};
use callsign_integration_tests::zookeeper::Options;
use callsign_testkit::suite::{CaseResult, Stop};

use crate::ensure;
use crate::stage::{RECOVERY, SOON, Setup, backend, becomes, has, lists, sees};

pub(crate) async fn server_without_a_quorum_serves_what_it_has_as_stale(setup: Setup) -> CaseResult {
    // Without sessions of its own, a server that has lost its quorum gives none.
    let with_local_sessions = |options: Options| {
        let options = options.with_ensemble().with_line("localSessionsEnabled=true");
        options.with_line("localSessionsUpgradingEnabled=true")
    };
    let stage = setup.with(with_local_sessions).stage().await?;
    let owner = stage.backend()?;
    let record = stage.record("orders", "one", (1, 1), 60)?;
    let service = &record.key().service;
    owner.register(&record).await?;
    lists(&owner, service, SOON, "the record", has(1)).await?;
    let reader = stage.backend()?;
    lists(&reader, service, SOON, "the record", has(1)).await?;
    let quorum = stage.zookeeper().lose_quorum().await?;
    let unproven = |listing: &callsign_core::Listing| {
        listing.authority == Authority::Stale && listing.instances.len() == 1
    };
    lists(&reader, service, RECOVERY * 2, "the record from a server without a quorum", unproven).await?;
    reader.probe(Probe::Reachable).await?;
    let Err(error) = reader.probe(Probe::Authority).await else {
        return Err(Stop::failed("a server without a quorum has proven one"));
    };
    ensure!(error.counts_as_outage(), "another error: {error}");
    let mut watch = reader.watch(service);
    sees(&mut watch, SOON, "the record", unproven).await?;
    let Err(error) = reader.register(&record).await else {
        return Err(Stop::failed("a server without a quorum has taken a write"));
    };
    ensure!(error.kind() == ErrorKind::Unavailable, "another error: {error}");
    let strict = backend(&stage.config().with_read_only(false))?;
    ensure!(strict.list(service, Read::Any).await.is_err(), "it was to be left alone");
    quorum.heal().await?;
    let proven = |listing: &callsign_core::Listing| {
        listing.authority == Authority::Quorum && listing.instances.len() == 1
    };
    sees(&mut watch, RECOVERY * 2, "the record, proven", proven).await?;
    let renewed = async || Ok(owner.renew(&record).await.is_ok());
    becomes(RECOVERY, "renewed", renewed).await
}
