//! Instances for this module's tests.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use callsign_core::{Endpoint, Health, Instance, Locality, Metadata, Pair, ServiceKey, Status};
use proptest::collection::{btree_map, hash_map, vec};
use proptest::option;
use proptest::prelude::*;

pub(super) fn service() -> ServiceKey {
    ServiceKey::new("orders").unwrap()
}

/// So many milliseconds after 1970.
pub(super) fn at(millis: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(millis)
}

/// `count` instances of [`service`], with ids that start with `prefix`.
pub(super) fn instances(prefix: &str, count: usize) -> Vec<Arc<Instance>> {
    let instance = |n: usize| {
        Instance::builder(service())
            .id(format!("{prefix}-{n:04}"))
            .endpoint(format!("grpcs://10.0.{}.{}:9000", n / 250, n % 250))
            .version("1.4.0")
            .locality(Locality::unknown().with_region("eu-west-1").with_zone("eu-west-1a"))
            .metadata("colour", "blue")
            .metadata("commit", format!("c{n}"))
            .metadata("quoted", "\"\\\u{1}é")
            .pair(Pair::new(1_700_000_000_000_000, n as u64))
            .registered_at(at(1_700_000_000_000))
            .build()
            .unwrap()
    };
    (0..count).map(instance).map(Arc::new).collect()
}

/// Any set of instances, sorted by id.
pub(super) fn any_instances() -> impl Strategy<Value = Vec<Arc<Instance>>> {
    let endpoint = ("[a-z][a-z0-9.-]{0,6}(\\+tls)?", "[a-z0-9]{1,8}|\\[::1\\]", 1u16..)
        .prop_map(|(protocol, host, port)| Endpoint::new(format!("{protocol}://{host}:{port}")).unwrap());
    let words = (
        prop_oneof![
            Just(Status::Starting),
            Just(Status::Up),
            Just(Status::Draining),
            Just(Status::OutOfService)
        ],
        prop_oneof![
            Just(Health::Unknown),
            Just(Health::Passing),
            Just(Health::Warning),
            Just(Health::Critical)
        ],
    );
    let row = (
        vec(endpoint, 1..4),
        option::of("\\PC{1,20}|v?[0-9]\\.[0-9]\\.[0-9](-rc)?"),
        any::<(u16, u64, u64)>(),
        ("\\PC{0,5}", "\\PC{0,5}"),
        words,
        // Any key and value: a registry may hold what this model would refuse to write.
        hash_map(any::<String>(), any::<String>(), 0..4),
        any::<i32>().prop_flat_map(|seconds| (Just(seconds), 0u32..1_000_000_000)),
    );
    btree_map("\\PC{1,30}", row, 0..6).prop_map(|rows| {
        rows.into_iter()
            .map(|(id, (endpoints, version, numbers, place, words, metadata, (seconds, nanos)))| {
                let (weight, incarnation, seq) = numbers;
                let distance = Duration::new(seconds.unsigned_abs().into(), nanos);
                let mut builder = Instance::builder(service())
                    .id(id)
                    .endpoints(endpoints)
                    .weight(weight)
                    .locality(Locality::unknown().with_region(place.0).with_zone(place.1))
                    .status(words.0)
                    .health(words.1)
                    .all_metadata(Metadata::from_remote(metadata))
                    .pair(Pair::new(incarnation, seq))
                    .registered_at(if seconds < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance });
                if let Some(version) = version {
                    builder = builder.version(version);
                }
                Arc::new(builder.build().unwrap())
            })
            .collect()
    })
}
