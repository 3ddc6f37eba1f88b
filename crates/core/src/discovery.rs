//! The read side of a backend.

use std::fmt::Debug;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::{Group, Listing, Namespace, Read, Result, ServiceKey, ServiceName, WatchEvent};

/// What [`Discovery::watch`] returns.
pub type WatchStream = BoxStream<'static, Result<WatchEvent>>;

/// Reads whole listings from one registry. A contract between a backend and the views above it.
///
/// Three answers are possible: here (it is in the listing), gone (it is not, and the listing has
/// [authority](crate::Authority)), and don't know (an error). A backend never turns an error into an empty listing.
/// A service that nobody has ever registered has an empty listing; that is not an error.
///
/// For a record that has not changed a backend hands over the same `Arc<Instance>` as before.
#[async_trait]
pub trait Discovery: Debug + Send + Sync + 'static {
    /// Lists a service once.
    ///
    /// A record that cannot be decoded goes into [`Listing::skipped`]; it never fails the listing.
    ///
    /// # Errors
    /// Whatever stands in the way; `Unavailable` at once while disconnected.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn list(&self, service: &ServiceKey, read: Read) -> Result<Listing>;

    /// Follows a service for ever. Makes no call until it is polled, and ends only when the backend is closed, after
    /// one `Closed`.
    ///
    /// The first item is a listing, or the error that stands in the way. Errors are items, not the end: the stream
    /// mends itself, and its next item after an error is a whole listing again. On a quiet watch there is
    /// [`WatchEvent::Progress`] at least every 10 s, proven on the path on which changes would come. What is ready
    /// at the same time is drained first and handed over as one listing.
    ///
    /// [`core::watch`](crate::watch) drives such a stream from the two or three calls that a protocol needs.
    fn watch(&self, service: &ServiceKey) -> WatchStream;

    /// The names of the services in `group` of `namespace` that have at least one record, sorted.
    ///
    /// # Errors
    /// `Unsupported` where [`Capabilities::services`](crate::Capabilities::services) is not set.
    ///
    /// # Cancel safety
    /// Cancel safe.
    async fn services(&self, namespace: &Namespace, group: &Group) -> Result<Vec<ServiceName>>;
}
