//! Whether two listings say the same.

use std::sync::Arc;

use callsign_core::{Instance, Listing, Skipped};

pub(super) fn same_content(one: &Listing, other: &Listing) -> bool {
    let same = |a: &Arc<Instance>, b: &Arc<Instance>| Arc::ptr_eq(a, b) || a == b;
    one.source == other.source
        && one.authority == other.authority
        && same_skipped(&one.skipped, &other.skipped)
        && (Arc::ptr_eq(&one.instances, &other.instances)
            || (one.instances.len() == other.instances.len()
                && one.instances.iter().zip(other.instances.iter()).all(|(a, b)| same(a, b))))
}

fn same_skipped(one: &Arc<[Skipped]>, other: &Arc<[Skipped]>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}
