//! Looking at nodes: many at a time, as renewals of many records come together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use callsign_core::{Error, Result};
use tokio::sync::{Mutex as Turn, oneshot};
use zookeeper_client as zk;

use super::ledger::{Found, Path};
use super::nodes::Node;
use crate::error::{Call, judge};
use crate::session::Session;

/// So many nodes go into one request. More are not read faster, and make the others wait.
const BATCH: usize = 200;

/// Questions that wait for the next request. There are no more than callers wait.
#[derive(Debug, Default)]
pub(super) struct Prover {
    waiting: Mutex<Vec<Question>>,
    turn: Turn<()>,
}

#[derive(Debug)]
struct Question {
    path: Path,
    answer: oneshot::Sender<Result<Option<Found>>>,
}

impl Prover {
    /// What stands at `path`, seen after this was called.
    pub(super) async fn look(&self, session: &Session, path: &Path) -> Result<Option<Found>> {
        loop {
            let (answer, mut answered) = oneshot::channel();
            self.waiting().push(Question { path: path.clone(), answer });
            // One of those who wait asks for all of them; whoever gives up meanwhile leaves the others to ask again.
            let turn = tokio::select! {
                biased;
                given = &mut answered => match given {
                    Ok(given) => return given,
                    Err(_) => continue,
                },
                turn = self.turn.lock() => turn,
            };
            self.ask(session).await;
            drop(turn);
            if let Ok(given) = answered.await {
                return given;
            }
        }
    }

    /// Asks until nobody waits who has asked before this.
    async fn ask(&self, session: &Session) {
        let waiting = std::mem::take(&mut *self.waiting());
        let mut waiting: Vec<_> =
            waiting.into_iter().filter(|question| !question.answer.is_closed()).collect();
        let live = match session.live().await {
            Ok(live) => live,
            Err(error) => return fail(waiting, &error),
        };
        while !waiting.is_empty() {
            let batch: Vec<_> = waiting.drain(..waiting.len().min(BATCH)).collect();
            let subject = format!("look at {}", batch.first().map_or("", |question| &*question.path));
            let paths: Vec<_> = batch.iter().map(|question| &*question.path).collect();
            let limit = session.settings().op_timeout;
            let client = match live.client() {
                Ok(client) => client,
                Err(error) => return fail(batch.into_iter().chain(waiting), &error),
            };
            match session.run(&live, limit, Call::read(&subject), read(&client, &paths)).await {
                Ok(found) => batch.into_iter().zip(found).for_each(|(question, found)| {
                    let call = Call::read(&subject);
                    // An error means that nobody waits for it any more.
                    let _ = question.answer.send(found.map_err(|error| judge(error, call)));
                }),
                Err(error) => return fail(batch.into_iter().chain(waiting), &error),
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Question>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Read = Result<Option<Found>, zk::Error>;

async fn read(client: &zk::Client, paths: &[&str]) -> Result<Vec<Read>, zk::Error> {
    let mut reader = client.new_multi_reader();
    for path in paths {
        reader.add_get_data(path)?;
    }
    let results = reader.commit().await?;
    if results.len() != paths.len() {
        return Err(zk::Error::UnexpectedError("another number of answers than questions".to_owned()));
    }
    let read = |result| match result {
        zk::MultiReadResult::Data { data, stat } => Ok(Some(Found { data, node: Node::of(&stat) })),
        zk::MultiReadResult::Error { err: zk::Error::NoNode } => Ok(None),
        zk::MultiReadResult::Error { err } => Err(err),
        other => Err(zk::Error::UnexpectedError(format!("an answer to another question: {other:?}"))),
    };
    Ok(results.into_iter().map(read).collect())
}

fn fail(questions: impl IntoIterator<Item = Question>, error: &Error) {
    for question in questions {
        // An error means that nobody waits for it any more.
        let _ = question.answer.send(Err(error.clone()));
    }
}
