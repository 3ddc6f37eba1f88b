//! Waiting for what a view, a registration or an event shows, and holding all of it against a rule: for these cases,
//! and for those of your own.

use std::panic::Location;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use callsign_client::{
    ClientEvent, Freshness, Protection, Registration, RegistrationState, ServiceView, Snapshot,
};
use callsign_core::Health;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::suite::{CaseResult, Stop, chain};

/// Waits until the view shows what `accept` is content with.
#[track_caller]
pub fn shows<'a>(
    view: &'a ServiceView,
    bound: Duration,
    what: &'a str,
    accept: impl FnMut(&Snapshot) -> bool + Send + 'a,
) -> impl Future<Output = CaseResult<Arc<Snapshot>>> + Send + 'a {
    let at = Location::caller();
    async move {
        view.wait_for(bound, accept).await.map_err(|_| {
            let shown = brief(&view.snapshot());
            Stop::failed_at(at, format!("after {bound:?} the view does not show {what}: {shown}"))
        })
    }
}

/// Waits until the registration is as `accept` wants it.
#[track_caller]
pub fn reaches<'a>(
    registration: &'a Registration,
    bound: Duration,
    what: &'a str,
    accept: impl FnMut(&RegistrationState) -> bool + Send + 'a,
) -> impl Future<Output = CaseResult<RegistrationState>> + Send + 'a {
    let at = Location::caller();
    async move {
        match timeout(bound, registration.wait_for(accept)).await {
            Ok(Some(state)) => Ok(state),
            Ok(None) => Err(Stop::failed_at(at, format!("the registration ended instead of being {what}"))),
            Err(_) => {
                let state = registration.state();
                Err(Stop::failed_at(at, format!("after {bound:?} the registration is not {what}: {state}")))
            }
        }
    }
}

/// Waits until the registration is registered.
#[track_caller]
pub fn is_registered(
    registration: &Registration,
    bound: Duration,
) -> impl Future<Output = CaseResult<RegistrationState>> + Send + '_ {
    reaches(registration, bound, "registered", |state| matches!(state, RegistrationState::Registered { .. }))
}

/// Does `meanwhile`, and holds every snapshot that the view shows from here to its end against `rule`.
#[track_caller]
pub fn always<'a, T: Send>(
    view: &'a ServiceView,
    what: &'a str,
    rule: impl Fn(&Snapshot) -> bool + Send + 'a,
    meanwhile: impl Future<Output = CaseResult<T>> + Send + 'a,
) -> impl Future<Output = CaseResult<T>> + Send + 'a {
    let at = Location::caller();
    async move {
        let mut view = view.clone();
        let mut meanwhile = pin!(meanwhile);
        let mut snapshot = view.snapshot();
        loop {
            if !rule(&snapshot) {
                return Err(Stop::failed_at(at, format!("{what}: the view shows {}", brief(&snapshot))));
            }
            tokio::select! {
                biased;
                changed = view.changed() => snapshot = changed,
                done = &mut meanwhile => return done,
            }
        }
    }
}

/// Waits for an event.
#[track_caller]
pub fn tells<'a>(
    events: &'a mut BoxStream<'static, Arc<ClientEvent>>,
    bound: Duration,
    what: &'a str,
    mut accept: impl FnMut(&ClientEvent) -> bool + Send + 'a,
) -> impl Future<Output = CaseResult<Arc<ClientEvent>>> + Send + 'a {
    let at = Location::caller();
    let deadline = Instant::now() + bound;
    async move {
        loop {
            match timeout_at(deadline, events.next()).await {
                Ok(Some(event)) if accept(&event) => return Ok(event),
                Ok(Some(_)) => {}
                Ok(None) => return Err(Stop::failed_at(at, format!("the events ended before {what}"))),
                Err(_) => {
                    return Err(Stop::failed_at(at, format!("after {bound:?} no event tells of {what}")));
                }
            }
        }
    }
}

/// The events up to now.
pub fn told(events: &mut BoxStream<'static, Arc<ClientEvent>>) -> Vec<Arc<ClientEvent>> {
    std::iter::from_fn(|| events.next().now_or_never().flatten()).collect()
}

/// The names of the states that `events` tell of, without repetitions.
#[must_use]
pub fn states(events: &[Arc<ClientEvent>]) -> Vec<&'static str> {
    let mut states: Vec<_> = events
        .iter()
        .filter_map(|event| match &**event {
            ClientEvent::Registration { state, .. } => Some(state.as_str()),
            _ => None,
        })
        .collect();
    states.dedup();
    states
}

/// Whether the view shows exactly these, routable, and none of them only because it is held. Who is critical does not count:
/// some registries list the expired like that for a while.
#[must_use]
pub fn is_exactly(snapshot: &Snapshot, ids: &[&str]) -> bool {
    snapshot.protection == Protection::None
        && snapshot.instances.iter().filter(|shown| shown.health != Health::Critical).count() == ids.len()
        && ids.iter().all(|id| is_routable(snapshot, id))
}

/// As [`is_exactly`], and the registry stands behind it.
#[must_use]
pub fn is_live(snapshot: &Snapshot, ids: &[&str]) -> bool {
    snapshot.freshness.is_live() && is_exactly(snapshot, ids)
}

/// Whether the view shows an instance that may get traffic under this id.
#[must_use]
pub fn is_routable(snapshot: &Snapshot, id: &str) -> bool {
    snapshot.get(id).is_some_and(|instance| instance.routable())
}

/// Whether the view shows instances that the registry does not list, or lists as critical.
#[must_use]
pub fn is_held(snapshot: &Snapshot) -> bool {
    matches!(snapshot.protection, Protection::Held { .. })
}

/// Whether the registry is in trouble, as far as the view can tell.
#[must_use]
pub fn is_stale(snapshot: &Snapshot) -> bool {
    matches!(snapshot.freshness, Freshness::Stale { .. })
}

/// A snapshot in one line, for failures.
#[must_use]
pub fn brief(snapshot: &Snapshot) -> String {
    let shown: Vec<_> = snapshot
        .instances
        .iter()
        .take(12)
        .map(|instance| {
            let held = if snapshot.is_held(instance.id().as_str()) { " held" } else { "" };
            format!("{} {} {}{held}", instance.id(), instance.pair(), instance.status)
        })
        .collect();
    let cause = snapshot.freshness.cause().map(chain).unwrap_or_default();
    format!(
        "{} instances [{}], {} skipped, {} {cause}",
        snapshot.instances.len(),
        shown.join(", "),
        snapshot.skipped.len(),
        snapshot.freshness.as_str(),
    )
}
