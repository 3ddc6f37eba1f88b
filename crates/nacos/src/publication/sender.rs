//! Carrying out a plan, on the connection that it was made for.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::set::{Action, Plan};
use crate::codec::Place;
use crate::error::{Call, Failure};
use crate::message::{BatchInstanceRequest, Host, InstanceRequest, Verb};
use crate::session::Connection;

/// So many instances of one service are told to r-nacos at a time.
const REQUESTS: usize = 32;

pub(super) async fn send(plan: &Plan, connection: &Connection) -> Result<(), Failure> {
    let place = &plan.place;
    match &plan.action {
        Action::One(host) => one(place, Verb::Register, host, connection).await,
        Action::Nothing(host) => one(place, Verb::Deregister, host, connection).await,
        Action::Batch(hosts) => batch(place, hosts, connection).await,
        Action::Each { put, removed } => {
            let removals = removed.iter().map(|host| (Verb::Deregister, host));
            let requests: Vec<_> = removals.chain(put.iter().map(|host| (Verb::Register, host))).collect();
            let mut outcome = Ok(());
            for some in requests.chunks(REQUESTS) {
                let mut answers = FuturesUnordered::new();
                for (verb, host) in some {
                    answers.push(one(place, *verb, host, connection));
                }
                // One that fails does not keep the others from being told.
                while let Some(answer) = answers.next().await {
                    outcome = outcome.and(answer);
                }
            }
            outcome
        }
    }
}

async fn one(place: &Place, verb: Verb, host: &Host, connection: &Connection) -> Result<(), Failure> {
    let what = if verb == Verb::Deregister { "withdraw" } else { "publish" };
    let subject = format!("{what} {}", place.service);
    let request = InstanceRequest {
        namespace: &place.namespace,
        group_name: &place.group,
        service_name: &place.service,
        r#type: verb,
        instance: host,
    };
    connection.ask(&request, Call::write(&subject)).await.map(drop)
}

async fn batch(place: &Place, hosts: &[Arc<Host>], connection: &Connection) -> Result<(), Failure> {
    let subject = format!("publish {} instances of {}", hosts.len(), place.service);
    let request = BatchInstanceRequest {
        namespace: &place.namespace,
        group_name: &place.group,
        service_name: &place.service,
        r#type: Verb::Batch,
        instances: hosts.iter().map(|host| &**host).collect(),
    };
    connection.ask(&request, Call::write(&subject)).await.map(drop)
}
