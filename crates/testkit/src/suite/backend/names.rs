//! Names are kept apart and kept whole.

use std::sync::Arc;

use callsign_core::{Backend, ErrorKind, Group, Record, ServiceKey};

use crate::suite::outcome::{chain, ensure, fail};
use crate::suite::{CaseResult, Ctx};

/// Registers one instance in each of the services and finds in each only its own.
async fn do_not_mix(ctx: &Ctx, services: &[ServiceKey]) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let records: Vec<Record> = services
        .iter()
        .enumerate()
        // The same id everywhere: only the service tells the records apart. The weight proves which one was found.
        .map(|(n, service)| ctx.record_of(ctx.instance(service, "one").weight(u16::try_from(n).unwrap_or(0))))
        .collect::<CaseResult<_>>()?;
    let mut watches: Vec<_> = services.iter().map(|service| ctx.watch(&reader, service)).collect();
    for record in &records {
        writer.register(record).await?;
    }
    for (service, record) in services.iter().zip(&records) {
        ctx.lists_exactly(&reader, service, &[record]).await?;
    }
    for (watch, record) in watches.iter_mut().zip(&records) {
        watch
            .until("its own record", |listing| {
                listing.instances.iter().any(|found| found.weight == record.instance.weight)
            })
            .await?;
    }
    for (n, record) in records.iter().enumerate() {
        writer.deregister(record).await?;
        ctx.lists_exactly(&reader, &record.key().service, &[]).await?;
        for neighbour in &records[n + 1..] {
            ctx.lists_exactly(&reader, &neighbour.key().service, &[neighbour]).await?;
        }
    }
    Ok(())
}

pub(super) async fn services_do_not_mix(ctx: &Ctx) -> CaseResult {
    do_not_mix(ctx, &[ctx.service("orders")?, ctx.service("billing")?]).await
}

pub(super) async fn prefix_names_do_not_mix(ctx: &Ctx) -> CaseResult {
    let names = ["order", "orders", "orders/eu", "orders-eu", "o"];
    do_not_mix(ctx, &names.map(|name| ctx.service(name)).into_iter().collect::<CaseResult<Vec<_>>>()?).await
}

pub(super) async fn groups_do_not_mix(ctx: &Ctx) -> CaseResult {
    let service = ctx.service("orders")?;
    let blue = service.clone().with_group(Group::new("blue")?);
    let bluer = service.clone().with_group(Group::new("bluer")?);
    do_not_mix(ctx, &[service, blue, bluer]).await
}

pub(super) async fn namespaces_do_not_mix(ctx: &Ctx) -> CaseResult {
    let service = ctx.service("orders")?;
    let other = service.clone().with_namespace(ctx.namespace());
    do_not_mix(ctx, &[service, other]).await
}

/// Names that a careless encoding bends, cuts, or takes for one another.
const ODD: &[&str] = &[
    "a/b",
    "a%2Fb",
    "a%252Fb",
    "a_b",
    "a b",
    "a+b",
    "100%",
    "%",
    "*",
    "订单服务",
    "Ünïcødé",
    "a@@b",
    "a#b?c=d",
    "..",
    ".",
    "a\\b",
    "a:b",
    "a,b",
    "\"q\"",
    "UPPER",
    "upper",
    "-",
    "~",
    "'",
    "{}",
    "$x",
];

pub(super) async fn odd_names_are_kept_or_refused(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let long = "x".repeat(255);
    let mut kept = Vec::new();
    for name in ODD.iter().copied().chain([&long[ctx.prefix_len()..]]) {
        let service = ctx.service(name)?;
        let record = ctx.record(&service, name)?;
        if is_kept(&writer, &record).await? {
            kept.push(record);
        }
    }
    ensure!(!kept.is_empty(), "every name was refused");
    for record in &kept {
        ctx.lists_exactly(&reader, &record.key().service, &[record]).await?;
    }
    if ctx.capabilities().services {
        let place = &kept[0].key().service;
        let listed = reader.services(&place.namespace, &place.group).await?;
        for record in &kept {
            let name = &record.key().service.name;
            ensure!(listed.contains(name), "`{name}` is not among the services {listed:?}");
        }
    }
    for record in &kept {
        writer.deregister(record).await?;
        ctx.lists_exactly(&reader, &record.key().service, &[]).await?;
    }
    Ok(())
}

pub(super) async fn odd_ids_are_kept_or_refused(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let long = "x".repeat(255);
    let mut kept = Vec::new();
    for id in ODD.iter().copied().chain([long.as_str()]) {
        let record = ctx.record(&service, id)?;
        if is_kept(&writer, &record).await? {
            kept.push(record);
        }
    }
    ensure!(!kept.is_empty(), "every id was refused");
    ctx.lists_exactly(&reader, &service, &kept.iter().collect::<Vec<_>>()).await?;
    while let Some(record) = kept.pop() {
        writer.deregister(&record).await?;
        ctx.lists_exactly(&reader, &service, &kept.iter().collect::<Vec<_>>()).await?;
    }
    Ok(())
}

/// Whether the record was taken. A refusal must be a plain one.
async fn is_kept(writer: &Arc<dyn Backend>, record: &Record) -> CaseResult<bool> {
    match writer.register(record).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::LimitExceeded | ErrorKind::Unsupported) => Ok(false),
        Err(error) => fail!("`{}` is refused otherwise: {}", record.key(), chain(&error)),
    }
}
