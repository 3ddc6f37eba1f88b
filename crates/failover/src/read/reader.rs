//! The task that asks one member. Whoever stops waiting for an answer ends nothing: the question ends here.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use callsign_core::{Backend, Error, Result};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::group::Evidence;
use crate::shared::{Shared, evidence_of};

/// How many questions may be under way to one member, and how many more may wait.
const AT_ONCE: usize = 256;

/// A question, which gives its answer to whoever has asked it.
pub(crate) type Question = BoxFuture<'static, ()>;

/// Where the questions for one member go, and where they come from.
pub(crate) fn channel() -> (mpsc::Sender<Question>, mpsc::Receiver<Question>) {
    mpsc::channel(AT_ONCE)
}

/// Asks one member for ever.
pub(crate) async fn ask_for(mut questions: mpsc::Receiver<Question>) {
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            Some(()) = running.next() => {}
            question = questions.recv(), if running.len() < AT_ONCE => match question {
                Some(question) => running.push(question),
                None => return,
            },
        }
    }
}

/// Asks one member, waits for as long as it has, and learns from the answer, also from one that comes too late.
pub(super) async fn ask<T, F>(
    shared: &Arc<Shared>,
    member: usize,
    call: impl FnOnce(Arc<dyn Backend>) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let call = AssertUnwindSafe(call(shared.members[member].backend.clone())).catch_unwind();
    let (teller, told) = oneshot::channel();
    let learner = shared.clone();
    let question = async move {
        let answer = call.await.unwrap_or_else(|_| Err(Error::unexpected("the backend panicked")));
        learner.learn(
            member,
            match &answer {
                Ok(_) => Evidence::Answer,
                Err(error) => evidence_of(error),
            },
        );
        // Whoever does not wait any more needs no answer.
        let _ = teller.send(answer);
    };
    let limit = shared.settings.read_timeout;
    let answer = timeout(limit, async {
        let asked = shared.members[member].questions.send(question.boxed()).await;
        match (asked, told.await) {
            (Ok(()), Ok(answer)) => answer,
            _ => Err(Error::closed("the backend was closed")),
        }
    });
    match answer.await {
        Ok(answer) => answer,
        Err(_) => {
            let error = Error::timeout(format!("no answer within {limit:?}"));
            shared.learn(member, Evidence::Trouble(error.clone()));
            Err(error)
        }
    }
}
