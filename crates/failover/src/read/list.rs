//! Asking once.

use std::collections::BTreeSet;
use std::sync::Arc;

use callsign_core::{Error, Group, Listing, MemberState, Namespace, Read, Result, ServiceKey, ServiceName};
use futures::future::join_all;

use super::reader::ask;
use super::service::Picture;
use crate::Topology;
use crate::shared::Shared;

/// Lists `key`: at the member that is read, or else at the next; in a union at all of them.
pub(crate) async fn list(shared: &Arc<Shared>, key: &ServiceKey, read: Read) -> Result<Listing> {
    let picture = shared.picture();
    if shared.settings.topology == Topology::Union && !picture.forced {
        return list_all(shared, key, read, &picture).await;
    }
    let mut trouble = Vec::new();
    for member in order(shared, &picture) {
        match ask_list(shared, member, key, read).await {
            Ok(listing) => {
                let picture = shared.picture();
                if shared.settings.topology == Topology::Standby && picture.active != member {
                    return Err(shared.named("list", Error::unavailable("another member is read since")));
                }
                let place = shared.services.place(key, &picture);
                if let Some(listing) = place.answered(member, &listing, &picture) {
                    return Ok(listing);
                }
            }
            Err(error) => trouble.push((member, error)),
        }
    }
    Err(shared.told_by_all("list", &trouble))
}

async fn list_all(shared: &Arc<Shared>, key: &ServiceKey, read: Read, picture: &Picture) -> Result<Listing> {
    let asked = order(shared, picture);
    let asks = asked.iter().map(|&member| ask_list(shared, member, key, read));
    let answers = join_all(asks).await;
    let picture = shared.picture();
    let place = shared.services.place(key, &picture);
    let mut trouble = Vec::new();
    let mut answered = Vec::new();
    for (&member, answer) in asked.iter().zip(answers) {
        match answer {
            Ok(listing) => answered.push((member, Some(listing))),
            Err(error) => {
                answered.push((member, None));
                trouble.push((member, error));
            }
        }
    }
    place.answered_all(&answered, &picture).ok_or_else(|| shared.told_by_all("list", &trouble))
}

/// The names of the services in a place.
pub(crate) async fn services(
    shared: &Arc<Shared>,
    namespace: &Namespace,
    group: &Group,
) -> Result<Vec<ServiceName>> {
    let picture = shared.picture();
    let asked = order(shared, &picture);
    let mut trouble = Vec::new();
    if shared.settings.topology == Topology::Union && !picture.forced {
        let asks = asked.iter().map(|&member| ask_services(shared, member, namespace, group));
        let mut names = None;
        for (&member, answer) in asked.iter().zip(join_all(asks).await) {
            match answer {
                Ok(found) => names.get_or_insert_with(BTreeSet::new).extend(found),
                Err(error) => trouble.push((member, error)),
            }
        }
        return match names {
            Some(names) => Ok(names.into_iter().collect()),
            None => Err(shared.told_by_all("services", &trouble)),
        };
    }
    for member in asked {
        match ask_services(shared, member, namespace, group).await {
            Ok(names) => return Ok(names),
            Err(error) => trouble.push((member, error)),
        }
    }
    Err(shared.told_by_all("services", &trouble))
}

/// Whom to ask, one after the other: who is read, then the others, and those that are down when nobody else is there. Who
/// was chosen by hand is asked alone.
fn order(shared: &Shared, picture: &Picture) -> Vec<usize> {
    // On standby others have nothing, and that somebody is not there means nothing.
    let is_frozen = shared.is_frozen() && shared.settings.topology != Topology::Union;
    if picture.forced || shared.settings.topology == Topology::Standby || is_frozen {
        return vec![picture.active];
    }
    let rank = |member: usize| match picture.members[member].state {
        _ if member == picture.active => 0,
        MemberState::Healthy => 1,
        MemberState::Recovering => 2,
        MemberState::Suspect => 3,
        MemberState::Degraded => 4,
        _ => 5,
    };
    let is_up = |member: &usize| picture.members[*member].state != MemberState::Down;
    let mut all: Vec<_> = (0..picture.members.len()).collect();
    all.sort_by_key(|member| rank(*member));
    let up: Vec<_> = all.iter().copied().filter(is_up).collect();
    if up.is_empty() { all } else { up }
}

async fn ask_list(shared: &Arc<Shared>, member: usize, key: &ServiceKey, read: Read) -> Result<Listing> {
    let key = key.clone();
    ask(shared, member, |backend| async move { backend.list(&key, read).await }).await
}

async fn ask_services(
    shared: &Arc<Shared>,
    member: usize,
    namespace: &Namespace,
    group: &Group,
) -> Result<Vec<ServiceName>> {
    let (namespace, group) = (namespace.clone(), group.clone());
    ask(shared, member, |backend| async move { backend.services(&namespace, &group).await }).await
}
