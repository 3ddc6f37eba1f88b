//! What Consul proves beside the suites.

use std::time::Duration;

use callsign_client::RegistrationState;
use callsign_client::{Client, RegisterOptions};
use callsign_consul::{Consul as Backend, ConsulConfig};
use callsign_core::{
    Discovery, ErrorKind, Health, Instance, Namespace, Read, Record, Registry, ServiceKey, Status, Ttl,
};
use callsign_integration_tests::consul::{Consul, Kind, Options, config, program};
use callsign_integration_tests::{Lent, Pool};
use callsign_testkit::Subject;
use callsign_testkit::suite::client::observe::{is_registered, reaches, shows};
use callsign_testkit::suite::{CaseResult, Stop};
use futures::future::{join_all, try_join_all};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::ensure;

/// The token of everybody's rights.
pub(crate) const ROOT: &str = "root";
const SOON: Duration = Duration::from_secs(5);

/// What one agent proves.
#[rustfmt::skip]
pub(crate) fn proved(subject: Subject, pool: &Pool<Consul>) -> Subject {
    macro_rules! prove {
        ($subject:expr, $($case:ident, $promise:literal;)+) => {{
            let subject = $subject;
            $(
                let own = pool.clone();
                let subject = subject.proves("consul", stringify!($case), $promise, move || $case(own.clone()));
            )+
            subject
        }};
    }
    prove!(subject,
        expired_record_is_critical_and_gets_no_traffic,
            "Who does not renew is listed as critical, is not routable, and is passing again when it is registered again.";
        record_that_was_taken_from_the_catalog_is_repaired,
            "A record that vanishes from the servers behind its agent's back is back within 5 ttls.";
        agent_that_comes_back_with_nothing_is_filled_again,
            "After a restart of an agent that forgets everything its records are registered again within ttl/3 + 5 s.";
        status_is_shown_to_others_as_maintenance,
            "Who is not up is in maintenance for others, and is not when it is up again.";
        instances_of_others_are_listed_and_bad_ones_hide_nobody,
            "Instances of other software are listed; one with an impossible port is skipped.";
        empty_list_for_want_of_rights_is_an_error,
            "Where a token may not see services or nodes, an error says so instead of an empty list.";
        wrong_settings_are_named,
            "An unknown datacenter, Enterprise's namespaces, and an unknown token are errors that name what to change.";
        certificates_are_checked_both_ways,
            "A client without a certificate, one that trusts nobody, and one that expects another name are told what to set.";
        more_watches_than_connections_starve_no_renewal,
            "With 300 watched services and an agent's default limits no renewal is lost, and every watch is live.";
    )
}

async fn consul(pool: &Pool<Consul>, options: Options) -> CaseResult<Lent<Consul>> {
    program().map_err(Stop::Missing)?;
    Ok(pool.take(&options).await?)
}

fn backend(config: &ConsulConfig) -> CaseResult<Backend> {
    Ok(Backend::new(config, "consul")?)
}

/// A service that nobody else uses.
fn service(name: &str) -> CaseResult<ServiceKey> {
    let namespace = format!("test-{}", callsign_core::InstanceId::random());
    Ok(ServiceKey::new(name)?.with_namespace(Namespace::new(namespace)?))
}

fn record(service: &ServiceKey, ttl: u64) -> CaseResult<Record> {
    let builder = Instance::builder(service).id("one").endpoint("http://127.0.0.1:1");
    Ok(Record::new(builder.pair(pair(1)).build()?, Ttl::from_secs(ttl)?))
}

fn pair(seq: u64) -> callsign_core::Pair {
    callsign_core::Pair::new(1, seq)
}

/// Waits until the first instance of the service is as `accept` wants it; `None` where there is none.
async fn becomes(
    backend: &Backend,
    service: &ServiceKey,
    within: Duration,
    what: &str,
    accept: impl Fn(Option<&Instance>) -> bool,
) -> CaseResult {
    let until = Instant::now() + within;
    loop {
        let listing = backend.list(service, Read::Quorum).await?;
        let first = listing.instances.first().map(|instance| &**instance);
        if accept(first) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "after {within:?} not {what}: {first:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn expired_record_is_critical_and_gets_no_traffic(pool: Pool<Consul>) -> CaseResult {
    let consul = consul(&pool, Options::new(Kind::Dev)).await?;
    let backend = backend(&config(&consul)?)?;
    let record = record(&service("orders")?, 2)?;
    let service = &record.key().service;
    backend.register(&record).await?;
    let passing = |found: Option<&Instance>| {
        found.is_some_and(|found| found.health == Health::Passing && found.routable())
    };
    let critical = |found: Option<&Instance>| {
        found.is_some_and(|found| found.health == Health::Critical && !found.routable())
    };
    becomes(&backend, service, SOON, "passing", passing).await?;
    becomes(&backend, service, Duration::from_secs(6), "critical", critical).await?;
    let Err(error) = backend.renew(&record).await else {
        return Err(Stop::failed("a record that has expired was renewed"));
    };
    ensure!(error.kind() == ErrorKind::NotFound, "the answer is another: {error}");
    backend.register(&record).await?;
    becomes(&backend, service, SOON, "passing again", passing).await
}

async fn record_that_was_taken_from_the_catalog_is_repaired(pool: Pool<Consul>) -> CaseResult {
    let consul = consul(&pool, Options::new(Kind::Single)).await?;
    let client = Client::new(std::sync::Arc::new(backend(&config(&consul)?)?))?;
    let reader = backend(&config(&consul)?)?;
    let service = service("orders")?;
    let instance = Instance::builder(&service).id("one").endpoint("http://127.0.0.1:1").build()?;
    let ttl = Ttl::from_secs(2)?;
    let registration =
        client.register(instance.clone(), RegisterOptions::new().with_ttl(ttl).required()).await?;
    let raw = consul.raw()?;
    let node = consul.home()?.name();
    let gone = json!({"Node": node, "ServiceID": callsign_consul::instance_id(&instance.key)});
    raw.put("/v1/catalog/deregister", &gone).await?;
    becomes(&reader, &service, SOON, "gone", |found| found.is_none()).await?;
    becomes(&reader, &service, ttl.get() * 5, "back", |found| found.is_some()).await?;
    is_registered(&registration, SOON).await?;
    Ok(())
}

async fn agent_that_comes_back_with_nothing_is_filled_again(pool: Pool<Consul>) -> CaseResult {
    let consul = consul(&pool, Options::new(Kind::Dev)).await?;
    let client = Client::new(std::sync::Arc::new(backend(&config(&consul)?)?))?;
    let reader = backend(&config(&consul)?)?;
    let service = service("orders")?;
    let instance = Instance::builder(&service).id("one").endpoint("http://127.0.0.1:1").build()?;
    let ttl = Ttl::from_secs(6)?;
    let registration = client.register(instance, RegisterOptions::new().with_ttl(ttl).required()).await?;
    for _ in 0..5 {
        consul.wipe().await?;
        let lost = |state: &RegistrationState| !matches!(state, RegistrationState::Registered { .. });
        reaches(&registration, ttl.get(), "lost", lost).await?;
        let bound = ttl.get() / 3 + SOON;
        becomes(&reader, &service, bound, "back", |found| found.is_some_and(Instance::routable)).await?;
        is_registered(&registration, SOON).await?;
    }
    Ok(())
}

async fn status_is_shown_to_others_as_maintenance(pool: Pool<Consul>) -> CaseResult {
    let consul = consul(&pool, Options::new(Kind::Dev)).await?;
    let backend = backend(&config(&consul)?)?;
    let up = record(&service("orders")?, 60)?;
    let name = callsign_consul::service_name(&up.key().service);
    let path = format!("/v1/health/service/{name}?passing");
    for (seq, status, others) in
        [(1, Status::Up, 1), (2, Status::OutOfService, 0), (3, Status::Draining, 0), (4, Status::Up, 1)]
    {
        let instance = up.instance.to_builder().status(status).pair(pair(seq)).build()?;
        backend.register(&Record::new(instance, up.ttl)).await?;
        let until = Instant::now() + SOON;
        loop {
            let seen = consul.raw()?.get(&path).await?;
            if seen.as_array().map(Vec::len) == Some(others) {
                break;
            }
            ensure!(Instant::now() < until, "{status}: others see {seen}");
            sleep(Duration::from_millis(20)).await;
        }
        let is = |found: Option<&Instance>| {
            found.is_some_and(|found| found.status == status && found.health == Health::Passing)
        };
        becomes(&backend, &up.key().service, SOON, status.as_str(), is).await?;
    }
    Ok(())
}

async fn instances_of_others_are_listed_and_bad_ones_hide_nobody(pool: Pool<Consul>) -> CaseResult {
    let consul = consul(&pool, Options::new(Kind::Dev)).await?;
    let backend = backend(&config(&consul)?)?;
    let service = service("orders")?;
    let name = callsign_consul::service_name(&service);
    let others = [
        json!({"ID": "plain", "Name": name, "Port": 8080}),
        json!({"ID": "spring", "Name": name, "Port": 8443, "Address": "10.0.0.7",
            "Meta": {"secure": "true", "zone": "a"}, "Tags": ["x"]}),
        json!({"ID": "odd", "Name": name, "Port": 70000}),
    ];
    for other in &others {
        consul.raw()?.put("/v1/agent/service/register", other).await?;
    }
    let listing = backend.list(&service, Read::Quorum).await?;
    let found: Vec<_> = listing
        .instances
        .iter()
        .map(|instance| format!("{} {}", instance.id(), instance.endpoints.primary().port))
        .collect();
    ensure!(found == ["plain 8080", "spring 8443"], "listed are {found:?}");
    ensure!(listing.instances[1].endpoints.primary().secure, "spring says that it is secure");
    let skipped: Vec<_> = listing.skipped.iter().map(|skipped| &*skipped.id).collect();
    ensure!(skipped == ["odd"], "skipped are {skipped:?}");
    Ok(())
}

async fn empty_list_for_want_of_rights_is_an_error(pool: Pool<Consul>) -> CaseResult {
    let consul = consul(&pool, Options::new(Kind::Dev).with_acls(ROOT)).await?;
    let service = service("orders")?;
    let token = async |name: &str, rules: &str| -> CaseResult<String> {
        let name = format!("{name}-{}", callsign_core::InstanceId::random());
        let policy = json!({"Name": name, "Rules": rules});
        consul.raw()?.put("/v1/acl/policy", &policy).await?;
        let token = json!({"Policies": [{"Name": name}]});
        let made = consul.raw()?.put("/v1/acl/token", &token).await?;
        Ok(made["SecretID"].as_str().unwrap_or_default().to_owned())
    };
    let blind = token("blind", "service_prefix \"\" { policy = \"write\" }").await?;
    let enough = "service_prefix \"\" { policy = \"write\" } node_prefix \"\" { policy = \"read\" }";
    let enough = token("enough", enough).await?;
    let base = ConsulConfig::default().with_address(consul.home()?.url());
    for (what, config) in [("nobody", base.clone()), ("who sees no nodes", base.clone().with_token(blind))] {
        let backend = backend(&config)?;
        let Err(error) = backend.list(&service, Read::Quorum).await else {
            return Err(Stop::failed(format!("{what} was given a list")));
        };
        ensure!(error.kind() == ErrorKind::PermissionDenied, "{what}: {error}");
        ensure!(error.to_string().contains("`node:read`"), "{what}: {error}");
        let refused = backend.register(&record(&service, 60)?).await;
        ensure!(
            refused.as_ref().is_err_and(callsign_core::Error::is_misconfiguration),
            "{what} registers: {refused:?}"
        );
    }
    // Whoever sees no nodes has registered it all the same: another service.
    let (backend, others) = (backend(&base.with_token(enough))?, self::service("orders")?);
    ensure!(backend.list(&others, Read::Quorum).await?.instances.is_empty(), "somebody is there");
    let record = record(&others, 60)?;
    ensure!(backend.register(&record).await?.committed, "a policy that suffices does not");
    backend.renew(&record).await?;
    backend.deregister(&record).await?;
    Ok(())
}

async fn wrong_settings_are_named(pool: Pool<Consul>) -> CaseResult {
    let open = consul(&pool, Options::new(Kind::Dev)).await?;
    let closed = consul(&pool, Options::new(Kind::Dev).with_acls(ROOT)).await?;
    let service = service("orders")?;
    let address = config(&open)?;
    for (config, kind, words) in [
        (address.clone().with_datacenter("dc9"), ErrorKind::ConfigInvalid, "check `datacenter`"),
        (address.clone().with_enterprise(None), ErrorKind::ConfigInvalid, "set `tenancy = \"prefix\"`"),
        (config(&closed)?.with_token("nonsense"), ErrorKind::Unauthorized, "check `token` or `token_file`"),
    ] {
        let Err(error) = backend(&config)?.list(&service, Read::Quorum).await else {
            return Err(Stop::failed(format!("nothing is said of {words}")));
        };
        ensure!(error.kind() == kind && error.to_string().ends_with(words), "another error: {error}");
        ensure!(!format!("{error:?}").contains("nonsense"), "a token is shown: {error:?}");
    }
    Ok(())
}

async fn certificates_are_checked_both_ways(pool: Pool<Consul>) -> CaseResult {
    let consul = consul(&pool, Options::new(Kind::Dev).with_tls()).await?;
    let service = service("orders")?;
    let right = config(&consul)?;
    backend(&right)?.list(&service, Read::Quorum).await?;
    let tls = || right.tls.clone().unwrap_or_default();
    let mut nobody = tls();
    (nobody.cert_file, nobody.key_file) = (None, None);
    let mut stranger = tls();
    stranger.ca_file = None;
    let mut renamed = tls();
    renamed.server_name = Some("server.dc1.consul".to_owned());
    let plain = consul.home()?.url().replace("https", "http");
    for (config, words) in [
        (right.clone().with_tls(nobody), "set `tls.cert_file` and `tls.key_file`"),
        (right.clone().with_tls(stranger), "name whoever has signed it in `tls.ca_file`"),
        (right.clone().with_tls(renamed), "set `tls.server_name` to a name in the agent's certificate"),
        (ConsulConfig::default().with_address(plain), "write the address as `https://`"),
    ] {
        let Err(error) = backend(&config)?.list(&service, Read::Quorum).await else {
            return Err(Stop::failed(format!("nothing is said of {words}")));
        };
        ensure!(error.kind() == ErrorKind::ConfigInvalid, "another kind: {error:?}");
        ensure!(error.to_string().ends_with(words), "another error: {error:?}");
    }
    Ok(())
}

async fn more_watches_than_connections_starve_no_renewal(pool: Pool<Consul>) -> CaseResult {
    const WATCHED: usize = 300;
    let consul = consul(&pool, Options::new(Kind::Dev).with_default_limits()).await?;
    let client = Client::new(std::sync::Arc::new(backend(&config(&consul)?)?))?;
    let place = service("orders")?;
    let services: Vec<_> = (0..WATCHED)
        .map(|n| Ok(ServiceKey::new(format!("orders-{n}"))?.with_namespace(place.namespace.clone())))
        .collect::<CaseResult<_>>()?;
    let views: Vec<_> = services.iter().map(|service| client.service(service.clone())).collect();
    let registrations = services.iter().take(20).map(|service| {
        let instance = Instance::builder(service).id("one").endpoint("http://127.0.0.1:1").build();
        let client = &client;
        async move {
            let options = RegisterOptions::new().with_ttl(Ttl::from_secs(6)?).required();
            client.register(instance?, options).await
        }
    });
    let registrations = try_join_all(registrations).await?;
    let live =
        |view| shows(view, Duration::from_secs(30), "a first answer", |shown| shown.freshness.is_live());
    for shown in join_all(views.iter().map(live)).await {
        shown?;
    }
    let until = Instant::now() + Duration::from_secs(25);
    while Instant::now() < until {
        for registration in &registrations {
            let state = registration.state();
            ensure!(matches!(state, RegistrationState::Registered { .. }), "a registration is {state}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    let stale = views.iter().filter(|view| !view.snapshot().freshness.is_live()).count();
    ensure!(stale == 0, "{stale} of {WATCHED} views are not live");
    let seen = views.iter().take(20).filter(|view| view.snapshot().routable().len() == 1).count();
    ensure!(seen == registrations.len(), "{seen} of {} are seen", registrations.len());
    Ok(())
}
