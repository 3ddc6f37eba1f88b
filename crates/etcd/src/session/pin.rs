//! Choosing a member.

use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, EventKind, Result};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::sleep;

use super::Shared;
use crate::connection::Connection;
use crate::error::Failure;

/// How long a member may take before the next one is asked, too: a member that hangs answers nobody, and one that is
/// merely slow still gets its chance.
const HEAD_START: Duration = Duration::from_millis(300);

impl Shared {
    /// A connection to a member that proves a quorum, and its place among the endpoints. The one at `after` has just
    /// failed, and is asked last.
    ///
    /// A member of another cluster than before is taken only when no member of the former one is left: a cluster may be
    /// replaced, but two of them are never mixed.
    pub(super) async fn pin(&self, after: Option<usize>) -> Result<(usize, Arc<Connection>)> {
        let count = self.settings.endpoints.len();
        // Each process begins with another member.
        let first = after.map_or_else(|| fastrand::usize(..count.max(1)), |place| place + 1);
        let mut places = (first..first + count).map(|place| place % count);
        let mut attempts = FuturesUnordered::new();
        let mut failures = Vec::new();
        let mut foreign = None;
        attempts.extend(places.next().map(|place| self.attempt(place)));
        loop {
            tokio::select! {
                Some((place, result)) = attempts.next() => match result {
                    Ok((connection, true)) => {
                        foreign.get_or_insert((place, connection));
                    }
                    Ok((connection, false)) => return Ok((place, connection)),
                    Err(failure) => failures.push(failure.error),
                },
                () = sleep(HEAD_START), if !attempts.is_empty() && places.len() > 0 => {}
                else => {}
            }
            match places.next() {
                Some(place) => attempts.push(self.attempt(place)),
                None if attempts.is_empty() => break,
                None => {}
            }
        }
        let Some((place, connection)) = foreign else {
            return Err(summary(&failures));
        };
        Ok((place, connection))
    }

    /// Connects, and asks for a proof of a quorum. Whether the member belongs to another cluster than the last one.
    async fn attempt(&self, place: usize) -> (usize, Result<(Arc<Connection>, bool), Failure>) {
        let connect = async {
            let endpoint = &self.settings.endpoints[place];
            let connection = Connection::open(&self.settings, endpoint, self.next_number(), true).await?;
            let floor = self.epochs.floor();
            let header = connection.prove(&self.home()).await?;
            let foreign = header.as_ref().is_some_and(|header| self.epochs.is_foreign(header.cluster_id()));
            if let Some(header) = header.filter(|_| !foreign)
                && self.epochs.place(floor, &header).begins
            {
                self.reset(&connection);
            }
            Ok((Arc::new(connection), foreign))
        };
        (place, connect.await)
    }

    /// Tells that a new epoch has begun.
    pub(super) fn reset(&self, connection: &Connection) {
        let cause = Error::unexpected(format!(
            "{}: the registry was wiped, restored or replaced by another cluster",
            connection.endpoint()
        ));
        self.events.publish(EventKind::Reset, Some(cause));
    }
}

/// What stands in the way, when no member will do: first of all what a person has to mend.
fn summary(failures: &[Error]) -> Error {
    let worst = failures.iter().find(|error| error.is_misconfiguration()).or(failures.last());
    match (worst, failures.len()) {
        (None, _) => Error::unavailable("there is no endpoint"),
        (Some(only), 1) => only.clone(),
        (Some(worst), count) => {
            let mut error =
                Error::new(worst.kind(), format!("none of {count} members will do; {}", worst.context()))
                    .with_retry(worst.retry());
            if let Some(source) = std::error::Error::source(worst) {
                error = error.with_source(std::io::Error::other(source.to_string()));
            }
            error
        }
    }
}
