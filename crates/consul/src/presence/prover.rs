//! Asks the servers what they have of records. Who asks for records of one service at the same time is answered together:
//! a server goes through the whole service for each question.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use callsign_core::{Error, Result};
use tokio::sync::oneshot;

use crate::agent::{Agents, Request, encoded};
use crate::codec::{Place, Registration};
use crate::reader::scoped;
use crate::signs::Proof;
use crate::wire::CatalogEntry;

/// For so few ids the server picks out their entries; for more, all of the service is quicker read than picked from.
const PICKED: usize = 3;
/// Desks that nobody is at are cleared away when there are more than this.
const DESKS: usize = 256;

type Answer = Result<Vec<CatalogEntry>>;

#[derive(Debug)]
pub(super) struct Prover {
    agents: Arc<Agents>,
    desks: Mutex<HashMap<Place, Arc<Desk>>>,
}

/// Where those wait who ask for records of one service.
#[derive(Debug, Default)]
struct Desk {
    /// Held by whoever asks for all who wait.
    turn: tokio::sync::Mutex<()>,
    waiting: Mutex<Vec<(String, oneshot::Sender<Answer>)>>,
}

impl Prover {
    pub(super) fn new(agents: Arc<Agents>) -> Self {
        Self { agents, desks: Mutex::default() }
    }

    /// The entries with the id of `registration`.
    pub(super) async fn look(&self, registration: &Registration) -> Answer {
        let place = Place { name: registration.name.clone(), namespace: registration.namespace.clone() };
        self.look_at(&place, &registration.id).await
    }

    /// The entries with this id, asked for after the call.
    ///
    /// # Cancel safety
    /// Cancel safe: whoever waits for an answer that was given up asks anew.
    pub(super) async fn look_at(&self, place: &Place, id: &str) -> Answer {
        let desk = self.desk(place);
        loop {
            let (sender, mut answer) = oneshot::channel();
            desk.waiting().push((id.to_owned(), sender));
            tokio::select! {
                biased;
                answer = &mut answer => if let Ok(answer) = answer {
                    return answer;
                },
                turn = desk.turn.lock() => {
                    if let Ok(answer) = answer.try_recv() {
                        return answer;
                    }
                    self.answer_all(place, &desk).await;
                    drop(turn);
                    if let Ok(answer) = answer.try_recv() {
                        return answer;
                    }
                }
            }
        }
    }

    /// One question for all who wait.
    async fn answer_all(&self, place: &Place, desk: &Desk) {
        let waiting = std::mem::take(&mut *desk.waiting());
        let mut ids: Vec<&str> = waiting.iter().map(|(id, _)| id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        let answer = self.ask(place, &ids).await;
        let mut by_id: HashMap<String, Vec<CatalogEntry>> = HashMap::new();
        let error = match answer {
            Ok(entries) => {
                for entry in entries {
                    by_id.entry(entry.id.clone()).or_default().push(entry);
                }
                None
            }
            Err(error) => Some(error),
        };
        for (id, sender) in waiting {
            let answer = match &error {
                Some(error) => Err(error.clone()),
                None => Ok(by_id.get(&id).cloned().unwrap_or_default()),
            };
            // Who has given up needs no answer.
            let _ = sender.send(answer);
        }
    }

    /// Entries of a service, those with these ids among them.
    async fn ask(&self, place: &Place, ids: &[&str]) -> Answer {
        let subject = match ids {
            [id] => format!("prove {id}"),
            _ => format!("prove {} records of {}", ids.len(), place.name),
        };
        let request = Request::get(format!("/v1/catalog/service/{}", encoded(&place.name)), subject);
        let mut request = scoped(self.agents.settings(), request, place.namespace.as_deref());
        if ids.len() <= PICKED {
            // Nothing in an id has to be quoted.
            let filter: Vec<_> = ids.iter().map(|id| format!("ServiceID == \"{id}\"")).collect();
            request = request.with("filter", &filter.join(" or "));
        }
        let (_, answer) =
            self.agents.ask_any(&request, Proof::Server).await.map_err(|failure| failure.error)?;
        serde_json::from_slice(&answer.body).map_err(|error| {
            Error::unexpected(format!(
                "cannot {}: the answer is no list; is this the HTTP port of a consul agent?",
                request.subject()
            ))
            .with_source(error)
        })
    }

    fn desk(&self, place: &Place) -> Arc<Desk> {
        let mut desks = self.desks.lock().unwrap_or_else(PoisonError::into_inner);
        if desks.len() >= DESKS {
            desks.retain(|_, desk| Arc::strong_count(desk) > 1);
        }
        desks.entry(place.clone()).or_default().clone()
    }
}

impl Desk {
    fn waiting(&self) -> MutexGuard<'_, Vec<(String, oneshot::Sender<Answer>)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
