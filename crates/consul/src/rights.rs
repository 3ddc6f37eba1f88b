//! Tells "nobody is there" from "you may not see who is there": Consul answers both with an empty list.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use callsign_core::Result;
use serde::Deserialize;
use tokio::time::Instant;

use crate::agent::{Agents, Lane, Marks, Request, Verb};
use crate::codec::Place;
use crate::error::filtered;
use crate::signs::Proof;

/// How long it counts that a service may be seen. Policies change seldom; the question costs two calls.
const VALID: Duration = Duration::from_secs(60);
const AT_MOST: usize = 4096;

/// Which services were proven to be visible.
#[derive(Debug, Default)]
pub(crate) struct Rights(Mutex<HashMap<Place, Instant>>);

impl Rights {
    /// Whether an answer about `place` with these marks is the whole truth.
    ///
    /// # Errors
    /// `PermissionDenied` where the token may not see what was asked for.
    pub(crate) async fn check(
        &self,
        agents: &Agents,
        agent: usize,
        place: &Place,
        marks: Marks,
        empty: bool,
        subject: &str,
    ) -> Result<()> {
        if marks.filtered == Some(true) {
            agents.read_token_again();
            return Err(filtered(subject));
        }
        if !empty || marks.allows_by_default() || self.is_known(place) {
            return Ok(());
        }
        if !may_read_service(agents, agent, place).await || !sees_nodes(agents, agent).await {
            agents.read_token_again();
            return Err(filtered(subject));
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= AT_MOST {
            known.clear();
        }
        known.insert(place.clone(), Instant::now());
        Ok(())
    }

    fn is_known(&self, place: &Place) -> bool {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(place).is_some_and(|at| at.elapsed() < VALID)
    }
}

/// What the agent says to the very question, where it knows it and has ACLs at all.
async fn may_read_service(agents: &Agents, agent: usize, place: &Place) -> bool {
    #[derive(Deserialize)]
    struct Decision {
        #[serde(rename = "Allow")]
        allow: bool,
    }

    let question = serde_json::json!([{"Resource": "service", "Segment": place.name, "Access": "read"}]);
    let request = Request::new(Verb::Post, "/v1/internal/acl/authorize", "look at the rights of the token")
        .with_body(question.to_string().into_bytes());
    let Ok(answer) = agents.inquire(agent, &request).await else { return true };
    let decisions: Result<Vec<Decision>, _> = serde_json::from_slice(&answer.body);
    decisions.ok().and_then(|decisions| decisions.first().map(|decision| decision.allow)).unwrap_or(true)
}

/// Every registry has a node: who sees none may see none.
async fn sees_nodes(agents: &Agents, agent: usize) -> bool {
    let request = Request::get("/v1/catalog/nodes", "look for nodes").of_any_server();
    let answer = agents.ask(agent, &request, Lane::Control, Proof::Agent).await;
    answer.map_or(true, |answer| answer.body.contains(&b'{'))
}
