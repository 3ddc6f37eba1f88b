//! Whether an instance may get traffic: what its owner, its agent, an operator and the clock say.

use std::time::Duration;

use callsign_consul::{CheckConfig, CheckKind, Consul as Backend};
use callsign_core::{ErrorKind, Health, Instance, Record, Registry, Status};
use callsign_integration_tests::Pool;
use callsign_integration_tests::consul::{Consul, Kind, Options};
use callsign_testkit::suite::{CaseResult, Stop};
use serde_json::Value;

use crate::ensure;
use crate::stage::{
    SOON, Stage, backend, becomes, changed, instance, is_critical, is_passing, listener, others_see, pair,
    record,
};

/// Consul's least time before it removes who is critical, the pause between its looks at them, and how long those take.
const REMOVED: Duration = Duration::from_secs(60 + 30 + 10);

pub(crate) async fn expired_record_is_critical_and_gets_no_traffic(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev)).await?;
    let backend = stage.backend()?;
    let record = record(&stage.service("orders")?, 2)?;
    let service = &record.key().service;
    backend.register(&record).await?;
    becomes(&backend, service, SOON, "passing", is_passing).await?;
    becomes(&backend, service, Duration::from_secs(6), "critical", is_critical).await?;
    is_lost(&backend, &record).await?;
    // A check that is critical stays so when its service is registered again, unless somebody has it pass.
    backend.register(&record).await?;
    becomes(&backend, service, SOON, "passing again", is_passing).await
}

pub(crate) async fn who_stays_away_is_removed_by_consul_and_can_come_back(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev)).await?;
    let minute = CheckConfig::default().with_deregister_after(Duration::from_secs(60));
    let backend = backend(&stage.config()?.with_check(minute))?;
    let record = record(&stage.service("orders")?, 2)?;
    let service = &record.key().service;
    backend.register(&record).await?;
    becomes(&backend, service, SOON, "critical", is_critical).await?;
    becomes(&backend, service, REMOVED, "removed", |found| found.is_none()).await?;
    is_lost(&backend, &record).await?;
    backend.register(&record).await?;
    becomes(&backend, service, SOON, "back", is_passing).await
}

async fn is_lost(backend: &Backend, record: &Record) -> CaseResult {
    match backend.renew(record).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => Err(Stop::failed(format!("a record that is lost was renewed: {other:?}"))),
    }
}

pub(crate) async fn status_is_shown_to_others_as_maintenance(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev)).await?;
    let backend = stage.backend()?;
    let up = record(&stage.service("orders")?, 60)?;
    let service = &up.key().service;
    for (seq, status, others) in
        [(1, Status::Up, 1), (2, Status::OutOfService, 0), (3, Status::Draining, 0), (4, Status::Up, 1)]
    {
        backend.register(&changed(&up, seq, |instance| instance.status(status))?).await?;
        others_see(&stage, service, others, status.as_str()).await?;
        let is = |found: Option<&Instance>| {
            found.is_some_and(|found| found.status == status && found.health == Health::Passing)
        };
        becomes(&backend, service, SOON, status.as_str(), is).await?;
    }
    Ok(())
}

pub(crate) async fn operators_maintenance_outlives_updates_and_renewals(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev)).await?;
    let backend = stage.backend()?;
    let first = record(&stage.service("orders")?, 60)?;
    let service = &first.key().service;
    backend.register(&first).await?;
    let id = callsign_consul::instance_id(first.key());
    let maintenance = async |query: &str| {
        stage.put(&format!("/v1/agent/service/maintenance/{id}?{query}"), &Value::Null).await
    };
    maintenance("enable=true&reason=disk").await?;
    becomes(&backend, service, SOON, "taken out", is_critical).await?;
    let second = changed(&first, 2, |instance| instance.weight(7))?;
    backend.register(&second).await?;
    backend.renew(&second).await?;
    let is = |found: Option<&Instance>| is_critical(found) && found.is_some_and(|it| it.pair() == pair(2));
    becomes(&backend, service, SOON, "changed, and still taken out", is).await?;
    others_see(&stage, service, 0, "after an update").await?;
    maintenance("enable=false").await?;
    becomes(&backend, service, SOON, "put back", is_passing).await
}

pub(crate) async fn agent_asks_instances_itself_where_it_is_told_to(pool: Pool<Consul>) -> CaseResult {
    let stage = Stage::take(&pool, Options::new(Kind::Dev)).await?;
    let (seconds, millis) = (Duration::from_secs(1), Duration::from_millis(500));
    for (kind, protocol) in [(CheckKind::Tcp, "tcp"), (CheckKind::Http, "http"), (CheckKind::Grpc, "grpc")] {
        let check = CheckConfig::default().with_kind(kind).with_interval(seconds, millis);
        let backend = backend(&stage.config()?.with_check(check))?;
        let service = stage.service(protocol)?;
        let (process, address) = listener()?;
        let own = Instance::builder(&service).id("one").endpoint(format!("{protocol}://{address}"));
        let record = Record::new(own.pair(pair(1)).build()?, record(&service, 60)?.ttl);
        backend.register(&record).await?;
        becomes(&backend, &service, SOON, "registered", |found| found.is_some()).await?;
        if kind == CheckKind::Tcp {
            becomes(&backend, &service, SOON, "passing", is_passing).await?;
        }
        // Who takes connections and says nothing is as good as nobody for the other two.
        drop(process);
        becomes(&backend, &service, SOON * 2, "critical", is_critical).await?;
        ensure!(backend.renew(&record).await.is_ok(), "{protocol}: a record that its owner renews is lost");
        // Without that check again, nothing speaks against it.
        let plain = stage.backend()?;
        let endpoint = instance(&service).pair(pair(2)).build()?;
        plain.register(&Record::new(endpoint, record.ttl)).await?;
        becomes(&plain, &service, SOON, "passing without the agent's check", is_passing).await?;
    }
    Ok(())
}
