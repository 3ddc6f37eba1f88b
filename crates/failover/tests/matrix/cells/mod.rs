//! What happens in each cell, by what it is about.

pub(super) mod authority;
pub(super) mod availability;
pub(super) mod content;
pub(super) mod disk;
pub(super) mod owners;
pub(super) mod refusals;
pub(super) mod split;
pub(super) mod watching;
