//! Registries that get into trouble, for one client or for all.

mod through;
mod trouble;
mod watching;

pub(crate) use through::Through;
pub(crate) use trouble::{Trouble, Way};
