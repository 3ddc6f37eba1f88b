//! What happens in a client, as it happens: one stream, the same as log lines and metrics.

use std::sync::Arc;

use callsign_core::{Error, InstanceId, InstanceKey, ServiceKey};
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::sync::broadcast;

use crate::{Freshness, HoldKind, RegistrationState};

/// Something that happened to a registration or a view.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A registration has a new state.
    Registration {
        /// Which.
        key: InstanceKey,
        /// The state.
        state: RegistrationState,
    },
    /// A view has become live, stale, or has stopped to be either.
    Freshness {
        /// Which.
        service: ServiceKey,
        /// What it is now.
        freshness: Freshness,
    },
    /// Protection holds instances that a listing has left out.
    Held {
        /// In which view.
        service: ServiceKey,
        /// Why.
        kind: HoldKind,
        /// How many more than before.
        count: usize,
    },
    /// Protection has let go of instances.
    Released {
        /// In which view.
        service: ServiceKey,
        /// How many are gone, or shown as critical.
        removed: usize,
        /// How many are listed again, and not as critical.
        returned: usize,
    },
    /// A registry brought back an instance that had left, and the view did not show it.
    GhostSuppressed {
        /// In which view.
        service: ServiceKey,
        /// Which instance.
        id: InstanceId,
    },
    /// The store on disk could not be read or written. Views go on without it.
    DiskTrouble {
        /// Whose file.
        service: ServiceKey,
        /// What happened.
        cause: Error,
    },
}

/// How many events a slow reader may be behind before it misses the oldest.
const BACKLOG: usize = 256;

/// Where events are published.
#[derive(Debug, Clone)]
pub(crate) struct ClientEvents(broadcast::Sender<Arc<ClientEvent>>);

impl ClientEvents {
    pub(crate) fn new() -> Self {
        Self(broadcast::channel(BACKLOG).0)
    }

    pub(crate) fn publish(&self, event: ClientEvent) {
        record(&event);
        // An error only means that nobody listens.
        let _ = self.0.send(Arc::new(event));
    }

    pub(crate) fn subscribe(&self) -> BoxStream<'static, Arc<ClientEvent>> {
        futures::stream::unfold(self.0.subscribe(), |mut receiver| async move {
            loop {
                match receiver.recv().await {
                    Ok(event) => return Some((event, receiver)),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return None,
                }
            }
        })
        .boxed()
    }
}

/// The event as a log line and as metrics.
fn record(event: &ClientEvent) {
    match event {
        ClientEvent::Registration { key, state } => {
            let labels = [("service", key.service.to_string()), ("state", state.as_str().to_owned())];
            metrics::counter!("callsign_registration_state_total", &labels).increment(1);
            match state.cause() {
                Some(cause) => {
                    tracing::warn!(instance = %key, state = state.as_str(), %cause, "registration");
                }
                None => tracing::info!(instance = %key, state = state.as_str(), "registration"),
            }
        }
        ClientEvent::Freshness { service, freshness } => {
            let labels = [("service", service.to_string()), ("freshness", freshness.as_str().to_owned())];
            metrics::counter!("callsign_view_freshness_total", &labels).increment(1);
            match freshness.cause() {
                Some(cause) => tracing::warn!(%service, freshness = freshness.as_str(), %cause, "view"),
                None => tracing::info!(%service, freshness = freshness.as_str(), "view"),
            }
        }
        ClientEvent::Held { service, kind, count } => {
            metrics::counter!("callsign_shrink_held_total", "service" => service.to_string())
                .increment(*count as u64);
            tracing::warn!(%service, %kind, count, "removals are held");
        }
        ClientEvent::Released { service, removed, returned } => {
            metrics::counter!("callsign_shrink_released_total", "service" => service.to_string())
                .increment((removed + returned) as u64);
            tracing::info!(%service, removed, returned, "held instances are released");
        }
        ClientEvent::GhostSuppressed { service, id } => {
            metrics::counter!("callsign_ghost_suppressed_total", "service" => service.to_string())
                .increment(1);
            tracing::warn!(%service, instance = %id, "an instance that had left is not shown again");
        }
        ClientEvent::DiskTrouble { service, cause } => {
            metrics::counter!("callsign_disk_trouble_total", "service" => service.to_string()).increment(1);
            tracing::warn!(%service, %cause, "the store on disk");
        }
    }
}
