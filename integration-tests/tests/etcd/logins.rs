//! Logins run out, and rights end at a prefix.

use std::sync::Arc;
use std::time::Duration;

use callsign_client::{ClientEvent, RegistrationState, Snapshot};
use callsign_core::{
    Backend, Error, ErrorKind, InstanceKey, Probe, Read, ServiceKey, WatchEvent, WatchStream,
};
use callsign_integration_tests::etcd::{PREFIX, Tokens};
use callsign_testkit::suite::client::observe::{
    always, is_exactly, is_registered, reaches, shows, states, told,
};
use callsign_testkit::suite::{CaseResult, Stop, chain};
use etcd_client::{Client, ConnectOptions};
use futures::StreamExt;
use tokio::time::{sleep, timeout};

use crate::ensure;
use crate::raw::stop;
use crate::setup::Setup;
use crate::stage::{CALL, SOON, Stage, instance, options, record};

const TTL: Duration = Duration::from_secs(60);

/// A plain client of the tenant's that does not log in again by itself: it tells when a login has run out.
async fn tenant(stage: &Stage) -> CaseResult<Client> {
    let login = stage.etcd().tenant().ok_or_else(|| Stop::failed("nobody logs in"))?;
    let options =
        ConnectOptions::new().with_user(&login.user, &login.password).with_auto_token_refresh(false);
    Client::connect(stage.etcd().endpoints(), Some(options)).await.map_err(stop)
}

/// Fails unless the tenant's login is refused in these `words`.
async fn has_run_out(tenant: &mut Client, stage: &Stage, words: &str) -> CaseResult {
    let answer = tenant.get(format!("{PREFIX}/{}/x", stage.namespace()), None).await;
    let refused = answer.as_ref().is_err_and(|error| error.to_string().contains(words));
    ensure!(refused, "the login has not run out: {answer:?}");
    Ok(())
}

/// The first item of a new watch is a listing.
async fn watch_begins(backend: &dyn Backend, service: &ServiceKey) -> CaseResult<WatchStream> {
    let mut watch = backend.watch(service);
    match timeout(CALL, watch.next()).await {
        Ok(Some(Ok(WatchEvent::Listing(_)))) => Ok(watch),
        other => Err(Stop::failed(format!("a watch begins with {other:?}"))),
    }
}

pub(crate) async fn login_that_has_run_out_is_renewed_whoever_notices_first(setup: Setup) -> CaseResult {
    let ttl = Duration::from_secs(1);
    // etcd looks for tokens that have ended once a second.
    let pause = ttl * 4;
    let stage = setup.with(|options| options.with_auth(Tokens::Simple { ttl })).stage().await?;
    let service = stage.service("orders")?;
    let backend = stage.backend()?;
    let mut tenant = tenant(&stage).await?;
    backend.list(&service, Read::Quorum).await?;

    // The crate renews a login for calls, and not for watches.
    sleep(pause).await;
    has_run_out(&mut tenant, &stage, "invalid auth token").await?;
    let mut watch = watch_begins(&*backend, &service).await?;
    sleep(pause).await;
    let one = record(&service, "one", 1, TTL)?;
    backend.register(&one).await?;
    sleep(pause).await;
    backend.renew(&one).await?;
    sleep(pause).await;
    backend.probe(Probe::Authority).await?;
    // The one that was there all the time has seen it, without a word of trouble.
    loop {
        match timeout(SOON, watch.next()).await {
            Ok(Some(Ok(WatchEvent::Listing(listing)))) if listing.instances.len() == 1 => return Ok(()),
            Ok(Some(Ok(_))) => {}
            other => return Err(Stop::failed(format!("the watch says {other:?}"))),
        }
    }
}

pub(crate) async fn users_that_change_disturb_nobody(setup: Setup) -> CaseResult {
    let tokens = Tokens::Jwt { ttl: Duration::from_secs(300) };
    let stage = setup.with(|options| options.with_auth(tokens)).stage().await?;
    let service = stage.service("orders")?;
    let (backend, client) = (stage.backend()?, stage.client()?);
    let mut events = client.events();
    let owner = stage.owner(&client, &service, "one", Duration::from_secs(4)).await?;
    let view = stage.view(&client, &service).await?;
    let mut watch = watch_begins(&*backend, &service).await?;
    let mut raw = stage.raw().await?;
    let live = |snapshot: &Snapshot| snapshot.freshness.is_live();
    always(&view, "nothing happens", live, async {
        for round in 0..3 {
            let mut tenant = Box::pin(tenant(&stage)).await?;
            let name = format!("{}-{round}", stage.namespace());
            raw.client().user_add(name, "a password of theirs", None).await.map_err(stop)?;
            has_run_out(&mut tenant, &stage, "revision of auth store is old").await?;
            match round {
                0 => drop(watch_begins(&*backend, &stage.service("others")?).await?),
                1 => drop(backend.register(&record(&service, "two", 1, TTL)?).await?),
                _ => drop(backend.list(&service, Read::Quorum).await?),
            }
            // Three renewals.
            sleep(Duration::from_secs(4)).await;
        }
        Ok(())
    })
    .await?;
    is_registered(&owner.registration, SOON).await?;
    let states = states(&told(&mut events));
    ensure!(states.iter().all(|state| *state == "registered"), "the registration was {states:?}");
    while let Ok(item) = timeout(Duration::from_millis(100), watch.next()).await {
        ensure!(matches!(item, Some(Ok(_))), "a watch that was there says {item:?}");
    }
    Ok(())
}

pub(crate) async fn login_that_ends_under_a_running_lease_is_renewed(setup: Setup) -> CaseResult {
    let ttl = Duration::from_secs(4);
    let stage = setup.with(|options| options.with_auth(Tokens::Jwt { ttl })).stage().await?;
    let service = stage.service("orders")?;
    let client = stage.client()?;
    let mut events = client.events();
    let owner = stage.owner(&client, &service, "one", Duration::from_secs(6)).await?;
    let view = stage.view(&client, &service).await?;
    let mut tenant = tenant(&stage).await?;
    always(&view, "nobody is missed", |snapshot| is_exactly(snapshot, &["one"]), async {
        sleep(ttl * 4).await;
        has_run_out(&mut tenant, &stage, "invalid auth token").await
    })
    .await?;
    is_registered(&owner.registration, SOON).await?;
    let states = states(&told(&mut events));
    ensure!(states.iter().all(|state| *state == "registered"), "the registration was {states:?}");
    Ok(())
}

pub(crate) async fn tenant_is_refused_outside_of_its_namespaces_and_told_what_to_ask_for(
    setup: Setup,
) -> CaseResult {
    let tokens = Tokens::Simple { ttl: Duration::from_secs(300) };
    let stage = setup.with(|options| options.with_auth(tokens)).stage().await?;
    let (service, foreign) = (stage.service("orders")?, ServiceKey::new("orders")?);
    let (client, neighbour) = (stage.client()?, stage.client()?);
    let mut events = client.events();
    let owner = stage.owner(&client, &service, "one", Duration::from_secs(4)).await?;
    let view = stage.view(&client, &service).await?;
    let others = stage.owner(&neighbour, &stage.service("others")?, "two", Duration::from_secs(4)).await?;
    let prefix = format!("{PREFIX}/default/");
    let says = |what: &str, error: &Error| {
        let text = chain(error);
        let denied = error.kind() == ErrorKind::PermissionDenied && !error.counts_as_outage();
        ensure!(denied, "`{what}` is refused with {text}");
        let complete = text.contains("grant") && text.contains(&format!("the prefix {prefix}"));
        ensure!(complete, "`{what}` does not say what to grant: {text}");
        Ok(())
    };
    let denied = |state: &RegistrationState| matches!(state, RegistrationState::Rejected(_));
    let live = |snapshot: &Snapshot| snapshot.freshness.is_live();
    always(&view, "nothing happens to who has the right", live, async {
        let refused = client.register(instance(&foreign, "three").build()?, options(TTL)?).await?;
        let rejected = reaches(&refused, CALL, "rejected", denied).await?;
        says("register", rejected.cause().ok_or_else(|| Stop::failed("without a reason"))?)?;
        let shut = client.service(foreign.clone());
        let backend = client.backend();
        let (namespace, group) = (&foreign.namespace, &foreign.group);
        let mut watch = backend.watch(&foreign);
        let watched = timeout(CALL, watch.next()).await;
        for (what, answer) in [
            ("list", backend.list(&foreign, Read::Quorum).await.err()),
            ("list any", backend.list(&foreign, Read::Any).await.err()),
            ("services", backend.services(namespace, group).await.err()),
            ("deregister", backend.deregister(&record(&foreign, "four", 1, TTL)?).await.err()),
            ("watch", watched.ok().flatten().and_then(Result::err)),
        ] {
            says(what, &answer.ok_or_else(|| Stop::failed(format!("`{what}` is not refused")))?)?;
        }
        // Long enough for what is refused to be tried again, and for what is not to be renewed several times.
        sleep(Duration::from_secs(10)).await;
        let cause = shut.snapshot().freshness.cause().cloned();
        says(
            "view",
            &cause.ok_or_else(|| Stop::failed("a view of what may not be read is not in trouble"))?,
        )?;
        ensure!(denied(&refused.state()), "what was refused is {}", refused.state());
        Ok(())
    })
    .await?;
    is_registered(&owner.registration, SOON).await?;
    is_registered(&others.registration, SOON).await?;
    let trouble: Vec<_> = states_of(&told(&mut events), owner.registration.key());
    ensure!(trouble.iter().all(|state| state == "registered"), "who has the right was {trouble:?}");
    shows(&view, SOON, "the instance", |snapshot| is_exactly(snapshot, &["one"])).await?;
    Ok(())
}

/// The states of one registration that events tell of.
fn states_of(events: &[Arc<ClientEvent>], wanted: &InstanceKey) -> Vec<String> {
    let state = |event: &ClientEvent| match event {
        ClientEvent::Registration { key, state } if key == wanted => Some(state.as_str().to_owned()),
        _ => None,
    };
    events.iter().filter_map(|event| state(event)).collect()
}
