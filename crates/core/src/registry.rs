//! The write side of a backend.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{Receipt, Record, Result};

/// Writes records into one registry. A contract between a backend and the registrar that drives it.
///
/// A backend keeps no desired state and registers nothing by itself: it answers `NotFound`, or fires
/// [`Receipt::lost`], and the registrar decides. All methods may be called at the same time from several tasks.
///
/// While it is disconnected a backend answers `Unavailable` at once and queues nothing.
///
/// # Cancel safety
/// Dropping a method's future leaves the write's outcome unknown, and nothing running that would outlive it by
/// more than the backend's own time-out.
#[async_trait]
pub trait Registry: Debug + Send + Sync + 'static {
    /// Creates or replaces the record together with its lease, in one step, so that no record ever lives without
    /// an end. Never overwrites a record with a higher pair.
    ///
    /// # Errors
    /// `Conflict` with the holder's pair ([`Error::holder`](crate::Error::holder)); `LimitExceeded` or
    /// `Unsupported` before anything is sent, when the registry cannot hold the record; otherwise whatever stands
    /// in the way, with [`outcome_unknown`](crate::Error::outcome_unknown) where the write may have happened.
    async fn register(&self, record: &Record) -> Result<Receipt>;

    /// Extends the record's lease. Proves at least every three ttls that the record is there and is what it
    /// should be.
    ///
    /// # Errors
    /// `NotFound` when the record is lost or no longer this one: register again. Otherwise as
    /// [`register`](Self::register).
    async fn renew(&self, record: &Record) -> Result<Receipt>;

    /// Removes the record if its pair is not higher than this one's. Removing what is not there is a success.
    ///
    /// # Errors
    /// `Conflict` when the registry holds a higher pair; otherwise as [`register`](Self::register).
    async fn deregister(&self, record: &Record) -> Result<Receipt>;
}
