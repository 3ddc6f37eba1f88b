//! What the two programs of this package share: `callsign-benches` measures time, `heap` measures memory. They are
//! two because the allocator that counts is slow.

pub mod fleet;
pub mod scripted;
