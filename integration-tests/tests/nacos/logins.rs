//! Logging in, and what becomes of who is connected when that fails.

use std::time::Duration;

use callsign_core::{ErrorKind, EventKind, Probe, Read};
use callsign_integration_tests::nacos::{
    FakeOptions, PASSWORD, RNacos, RNacosOptions, USER, config_of_fake, config_of_rnacos, program,
};
use callsign_testkit::suite::{CaseResult, Stop};
use futures::StreamExt;
use tokio::time::{sleep, timeout};

use crate::ensure;
use crate::stage::{SOON, backend, client, fake, has, lists, record, service};

pub(crate) async fn both_logins_are_found() -> CaseResult {
    for options in [FakeOptions::default(), FakeOptions::default().older()] {
        let fake = fake(options.with_logins(Duration::from_secs(60)))?;
        let (writer, orders) = (client(&fake)?, service("orders")?);
        writer.register(&record(&orders, "a", (1, 1), 60)?).await?;
        lists(&writer, &orders, SOON, "it is there", has(1)).await?;
        ensure!(fake.seen().requests.get("login") == Some(&1), "{:?}", fake.seen());
    }
    Ok(())
}

pub(crate) async fn token_is_refreshed_before_it_ends_and_after_it_was_revoked() -> CaseResult {
    let fake = fake(FakeOptions::default().with_logins(Duration::from_secs(6)))?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    let one = record(&orders, "a", (1, 1), 60)?;
    writer.register(&one).await?;
    sleep(Duration::from_secs(7)).await;
    writer.list(&orders, Read::Any).await?;
    let logins = fake.seen().requests["login"];
    ensure!(logins == 2, "{logins} logins");
    fake.revoke_tokens();
    // Not more often than every 5 s.
    sleep(Duration::from_secs(5)).await;
    writer.list(&orders, Read::Any).await?;
    writer.renew(&one).await?;
    ensure!(fake.seen().connections == 1 && fake.seen().instances == 1, "{:?}", fake.seen());
    ensure!(fake.seen().requests["ConnectionSetupRequest"] == 1, "the connection was given up");
    Ok(())
}

pub(crate) async fn time_of_a_token_that_makes_no_sense_is_no_reason_to_fail() -> CaseResult {
    for told in [0, u64::MAX] {
        let options = FakeOptions::default().with_logins(Duration::from_secs(60)).with_told_ttl(told);
        let fake = fake(options)?;
        let (writer, orders) = (client(&fake)?, service("orders")?);
        writer.register(&record(&orders, "a", (1, 1), 60)?).await?;
        sleep(Duration::from_secs(2)).await;
        lists(&writer, &orders, SOON, "it is there", has(1)).await?;
        ensure!(fake.seen().requests.get("login") == Some(&1), "told {told} s: {:?}", fake.seen());
    }
    Ok(())
}

pub(crate) async fn login_that_fails_ends_no_connection() -> CaseResult {
    let fake = fake(FakeOptions::default().with_logins(Duration::from_secs(6)))?;
    let (writer, orders) = (client(&fake)?, service("orders")?);
    let one = record(&orders, "a", (1, 1), 60)?;
    writer.register(&one).await?;
    let mut events = writer.events();
    fake.change_password("another");
    fake.revoke_tokens();
    let told = async {
        while let Some(event) = events.next().await {
            if event.kind == EventKind::Misconfigured {
                return event.cause;
            }
        }
        None
    };
    let cause = timeout(Duration::from_secs(12), told).await.ok().flatten();
    let cause = cause.ok_or_else(|| Stop::failed("nobody is told"))?;
    ensure!(cause.kind() == ErrorKind::Unauthorized, "{cause}");
    let Err(error) = writer.list(&orders, Read::Any).await else {
        return Err(Stop::failed("it was let in"));
    };
    ensure!(error.kind() == ErrorKind::Unauthorized, "{error}");
    ensure!(error.to_string().contains("(`username`, `password`)"), "{error}");
    ensure!(
        fake.seen().instances == 1 && fake.seen().requests["ConnectionSetupRequest"] == 1,
        "{:?}",
        fake.seen()
    );
    fake.change_password(PASSWORD);
    lists(&writer, &orders, Duration::from_secs(12), "it is let in again, and the record is there", has(1))
        .await?;
    writer.renew(&one).await?;
    ensure!(fake.seen().requests["ConnectionSetupRequest"] == 1, "the connection was given up");
    Ok(())
}

pub(crate) async fn wrong_password_is_told_and_not_shown() -> CaseResult {
    let fake = fake(FakeOptions::default().with_logins(Duration::from_secs(60)))?;
    let config = config_of_fake(&fake).with_password(USER, "hunter2");
    let (stranger, orders) = (backend(&config)?, service("orders")?);
    stranger.probe(Probe::Reachable).await?;
    let record = record(&orders, "a", (1, 1), 60)?;
    let errors = [stranger.register(&record).await.err(), stranger.list(&orders, Read::Any).await.err()];
    for error in errors {
        let error = error.ok_or_else(|| Stop::failed("it was let in"))?;
        ensure!(error.kind() == ErrorKind::Unauthorized, "another kind: {error}");
        let said = error.to_string();
        ensure!(
            said.contains("the server does not know this user with this password (`username`, `password`)"),
            "{said}"
        );
        for shown in [said, format!("{error:?}"), format!("{stranger:?}"), format!("{config:?}")] {
            ensure!(!shown.contains("hunter2") && !shown.contains("token-"), "{shown}");
        }
    }
    // Who may do nothing is no member that a failover could read.
    let Err(error) = stranger.probe(Probe::Authority).await else {
        return Err(Stop::failed("it has authority for somebody whom it refuses everything"));
    };
    ensure!(error.kind() == ErrorKind::Unauthorized, "another kind: {error}");
    stranger.probe(Probe::Reachable).await?;
    let mut nobody = config;
    (nobody.username, nobody.password) = (None, None);
    let Err(error) = backend(&nobody)?.list(&orders, Read::Any).await else {
        return Err(Stop::failed("it was let in"));
    };
    ensure!(
        error.kind() == ErrorKind::PermissionDenied && error.to_string().contains("`username`"),
        "{error}"
    );
    Ok(())
}

pub(crate) async fn r_nacos_lets_in_who_has_logged_in_and_goes_on_when_a_token_has_ended() -> CaseResult {
    program().map_err(Stop::Missing)?;
    let rnacos = RNacos::start(RNacosOptions::default().with_logins(8)).await?;
    let (writer, orders) = (backend(&config_of_rnacos(&rnacos))?, service("orders")?);
    let one = record(&orders, "a", (1, 1), 60)?;
    writer.register(&one).await?;
    for _ in 0..5 {
        sleep(Duration::from_secs(2)).await;
        writer.renew(&one).await?;
        lists(&writer, &orders, SOON, "it is there", has(1)).await?;
    }
    let wrong = backend(&config_of_rnacos(&rnacos).with_password(USER, "hunter2"))?;
    let Err(error) = wrong.list(&orders, Read::Any).await else {
        return Err(Stop::failed("it was let in"));
    };
    ensure!(error.kind() == ErrorKind::Unauthorized && !error.to_string().contains("hunter2"), "{error}");
    Ok(())
}
