//! Instances with names, hosts and metadata of the lengths that real ones have.

use std::sync::Arc;

use callsign_core::{Instance, Interner, Locality, Pair, Result, ServiceKey};

/// The service that they are instances of.
///
/// # Errors
/// None: the name is a good one.
pub fn service() -> Result<ServiceKey> {
    ServiceKey::new("orders")
}

/// One of them, with three entries of metadata. Its strings are its own, as when a backend has just decoded it; the
/// service is shared. Ids sort by number.
///
/// # Errors
/// None: every part follows the rules.
pub fn instance(service: &ServiceKey, number: usize) -> Result<Instance> {
    let [high, low] = [number / 256 % 256, number % 256];
    Instance::builder(service)
        .id(format!("orders-7d9f8c6b5d-{number:05}"))
        .endpoint(format!("http://ip-10-23-{high}-{low}.eu-central-1.compute.internal:8080"))
        .version("1.14.2")
        .locality(Locality::unknown().with_region("eu-central-1").with_zone("eu-central-1a"))
        .metadata("build", "2026-03-14.7f3a9c1")
        .metadata("shard", (number % 64).to_string())
        .metadata("team", "payments")
        .pair(Pair::new(1_773_480_000_000_000, 1))
        .build()
}

/// The first `count` of them, sorted by id, as a codec hands them over: with the texts that they share kept once.
///
/// # Errors
/// As [`instance`].
pub fn instances(service: &ServiceKey, count: usize) -> Result<Vec<Arc<Instance>>> {
    let mut interner = Interner::new();
    let decode = |number| {
        let mut instance = instance(service, number)?;
        interner.share(&mut instance);
        Ok(Arc::new(instance))
    };
    (0..count).map(decode).collect()
}
