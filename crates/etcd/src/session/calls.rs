//! Calls that go to whichever member serves.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, Result};
use etcd_client::{ResponseHeader, Txn, TxnResponse};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::Session;
use crate::connection::{Connection, Subject};
use crate::epoch::{Floor, Place};
use crate::error::Failure;

impl Session {
    /// Lets `ask` ask the member that serves. Where the connection turns out to be broken, and it did not take long to
    /// find out, another member is asked: writes are guarded, so that one which has happened is found to have happened.
    pub(crate) async fn ask<T, F>(&self, ask: impl Fn(Arc<Connection>) -> F + Send + Sync) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        self.ask_twice(ask).await.0
    }

    /// As [`ask`](Self::ask), and whether a write that was asked for may be made yet, whatever the answer says: by a
    /// member that has taken it and never answered.
    async fn ask_twice<T, F>(&self, ask: impl Fn(Arc<Connection>) -> F + Send + Sync) -> (Result<T>, bool)
    where
        T: Send,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        let until = Instant::now() + self.settings().op_timeout / 2;
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => return (Err(error), false),
        };
        let error = match ask(connection.clone()).await {
            Ok(answer) => return (Ok(answer), false),
            Err(failure) => connection.judged(failure),
        };
        let doubtful = error.outcome_unknown();
        if !connection.is_lost() || Instant::now() > until {
            return (Err(error), doubtful);
        }
        let Ok(another) = self.connection().await else {
            return (Err(error), doubtful);
        };
        match ask(another.clone()).await.map_err(|failure| another.judged(failure)) {
            Err(error) if doubtful => (Err(error.with_outcome_unknown()), true),
            Err(error) => {
                let doubtful = error.outcome_unknown();
                (Err(error), doubtful)
            }
            answer => (answer, doubtful),
        }
    }

    /// Where the answer to a linearizable request belongs.
    pub(crate) fn place(&self, connection: &Connection, floor: Floor, header: &ResponseHeader) -> Place {
        let place = self.epochs().place(floor, header);
        if place.begins {
            self.shared.reset(connection);
        }
        place
    }

    pub(crate) async fn grant(&self, seconds: u64) -> Result<(i64, Duration)> {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        self.ask(|connection| async move { connection.grant(seconds).await }).await
    }

    pub(crate) async fn keep_alive(&self, lease: i64) -> Result<()> {
        self.ask(|connection| async move { connection.keep_alive(lease).await }).await
    }

    pub(crate) async fn keys_of(&self, lease: i64) -> Result<Vec<Vec<u8>>> {
        self.ask(|connection| async move { connection.keys_of(lease).await }).await
    }

    /// A transaction, and whether it may be made yet, whatever the answer says; `subject` says what it is about.
    pub(crate) async fn txn(&self, subject: Subject<'_>, txn: &Txn) -> (Result<TxnResponse>, bool) {
        self.ask_twice(|connection| async move { connection.txn(subject, txn.clone()).await }).await
    }

    /// Asks the member that serves; where none does, or it does not answer, all of them at the same time, whether or not
    /// they have a quorum: the first answer counts.
    pub(crate) async fn ask_any<T, F>(&self, ask: impl Fn(Arc<Connection>) -> F + Send + Sync) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T, Failure>> + Send,
    {
        if self.is_closed() {
            return Err(super::closed());
        }
        if let Some(connection) = self.serving() {
            match ask(connection.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => drop(connection.judged(failure)),
            }
        }
        let settings = self.settings();
        let ask = &ask;
        let mut answers: FuturesUnordered<_> = settings
            .endpoints
            .iter()
            .map(|endpoint| async move {
                let number = self.shared.next_number();
                let connection = Connection::open(settings, endpoint, number, false).await?;
                ask(Arc::new(connection)).await
            })
            .collect();
        let mut last = Error::unavailable("there is no endpoint");
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(answer) => return Ok(answer),
                Err(failure) => last = failure.error,
            }
        }
        Err(last)
    }
}
