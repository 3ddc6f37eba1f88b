//! Walking two listings side by side.

use std::cmp::Ordering;
use std::sync::Arc;

use callsign_core::Instance;

/// What two listings say of one id.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pairing<'a> {
    /// Both hold the very same record.
    Same(&'a Arc<Instance>),
    /// Both hold one.
    Both(&'a Arc<Instance>, &'a Arc<Instance>),
    /// Only the first.
    Left(&'a Arc<Instance>),
    /// Only the second.
    Right(&'a Arc<Instance>),
}

/// Pairs up two slices that are sorted by id. An unchanged record is the same `Arc` in both, which costs one
/// comparison of pointers; ids are compared only where the pointers differ.
pub(crate) fn pair_up<'a>(
    mut left: &'a [Arc<Instance>],
    mut right: &'a [Arc<Instance>],
) -> impl Iterator<Item = Pairing<'a>> {
    std::iter::from_fn(move || {
        let order = match (left.first(), right.first()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) if Arc::ptr_eq(old, new) => {
                (left, right) = (&left[1..], &right[1..]);
                return Some(Pairing::Same(old));
            }
            (Some(old), Some(new)) => old.id().cmp(new.id()),
        };
        let old = left.first();
        let new = right.first();
        if order.is_le() {
            left = &left[1..];
        }
        if order.is_ge() {
            right = &right[1..];
        }
        Some(match (order, old, new) {
            (Ordering::Equal, Some(old), Some(new)) => Pairing::Both(old, new),
            (Ordering::Less, Some(old), _) => Pairing::Left(old),
            (_, _, Some(new)) => Pairing::Right(new),
            // `order` was computed from the heads that are there.
            _ => return None,
        })
    })
}
