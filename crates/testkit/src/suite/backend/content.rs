//! What is written is what is read.

use std::fmt::Write;

use callsign_core::{Endpoint, ErrorKind, Locality, Metadata, Pair, Status, Weight};

use crate::suite::outcome::{chain, ensure_eq, fail};
use crate::suite::{CaseResult, Ctx};

pub(super) async fn all_fields_round_trip(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let full = ctx
        .instance(&service, "full")
        .endpoints([
            Endpoint::new("grpcs://[2001:db8::1]:9000")?,
            Endpoint::new("http://10.0.0.5:8080")?,
            Endpoint::new("thrift+tls://host-1.example:65535")?,
        ])
        .version("v1.4.0-rc.1+build 7")
        .weight(Weight::ZERO)
        .locality(Locality::unknown().with_region("eu-west-1").with_zone("eu-west-1a"))
        .status(Status::OutOfService)
        .metadata("colour", "blue")
        .pair(Pair::new(1_700_000_000_000_000, 3));
    let mut records = vec![ctx.record_of(full)?];
    for status in [Status::Starting, Status::Up, Status::Draining] {
        records.push(ctx.record_of(ctx.instance(&service, status.as_str()).status(status))?);
    }
    let zone = Locality::unknown().with_zone("b");
    records.push(ctx.record_of(ctx.instance(&service, "heavy").weight(u16::MAX).locality(zone))?);
    for record in &records {
        writer.register(record).await?;
    }
    ctx.lists_exactly(&reader, &service, &records.iter().collect::<Vec<_>>()).await?;
    Ok(())
}

pub(super) async fn metadata_round_trips(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let metadata = Metadata::from_entries([
        ("颜色", "蓝 🟦"),
        ("empty", ""),
        ("path/with=signs&more", "a=b&c=d;e,f"),
        ("quotes", "\"'\\`"),
        ("white space", " \t\n "),
        ("json", "{\"a\":[1,2]}"),
        ("Case", "upper"),
        ("case", "lower"),
    ])?;
    let record = ctx.record_of(ctx.instance(&service, "one").all_metadata(metadata))?;
    match writer.register(&record).await {
        Ok(_) => {
            ctx.lists_exactly(&reader, &service, &[&record]).await?;
        }
        // A registry may be unable to hold some of it: then it says so, and holds nothing.
        Err(error) => {
            let refused = matches!(error.kind(), ErrorKind::LimitExceeded | ErrorKind::Unsupported);
            ensure_eq!(refused, true, "the refusal is another: {}", chain(&error));
            ctx.lists_exactly(&reader, &service, &[]).await?;
        }
    }
    // Plain metadata has to be possible everywhere.
    let plain =
        ctx.record_of(ctx.instance(&service, "two").metadata("colour", "blue").metadata("team", "a"))?;
    writer.register(&plain).await?;
    ctx.lists(&reader, &service, "plain metadata survives", |listing| {
        listing
            .instances
            .iter()
            .any(|found| found.key == *plain.key() && found.metadata == plain.instance.metadata)
    })
    .await?;
    Ok(())
}

pub(super) async fn metadata_limit_is_reported(ctx: &Ctx) -> CaseResult {
    let (writer, reader) = ctx.clients().await?;
    let service = ctx.service("orders")?;
    let Some(limit) = ctx.capabilities().max_metadata_bytes else {
        fail!("the case is void: there is no limit");
    };
    let too_much = ctx.record_of(ctx.instance(&service, "much").all_metadata(metadata_of(limit + 1)?))?;
    let Err(error) = writer.register(&too_much).await else {
        fail!("metadata of {} bytes was taken, the limit is {limit}", limit + 1);
    };
    ensure_eq!(error.kind(), ErrorKind::LimitExceeded, "the refusal is another: {}", chain(&error));
    ctx.lists_exactly(&reader, &service, &[]).await?;

    let just_enough = ctx.record_of(ctx.instance(&service, "enough").all_metadata(metadata_of(limit)?))?;
    writer.register(&just_enough).await?;
    ctx.lists_exactly(&reader, &service, &[&just_enough]).await?;
    Ok(())
}

/// Metadata of exactly `bytes` bytes, in values of at most 200.
fn metadata_of(bytes: usize) -> CaseResult<Metadata> {
    const KEY: usize = 8;
    const VALUE: usize = 200;
    let mut entries = Vec::new();
    let mut left = bytes;
    while left > 0 {
        let mut key = String::new();
        if left <= KEY {
            // The rest is too short for a key and a value: a short key without a value.
            key = "z".repeat(left);
            left = 0;
            entries.push((key, String::new()));
            continue;
        }
        let value = VALUE.min(left - KEY);
        // Writing into a `String` cannot fail.
        let _ = write!(key, "k{:07}", entries.len());
        entries.push((key, "v".repeat(value)));
        left -= KEY + value;
    }
    Ok(Metadata::from_entries(entries)?)
}
