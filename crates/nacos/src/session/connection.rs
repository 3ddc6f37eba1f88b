//! One connection: what is asked over it, until it is over.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::config::Secret;
use callsign_core::{Error, ErrorKind};
use http::uri::PathAndQuery;
use prost::bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use super::hangup::Over;
use super::transport::MESSAGE;
use crate::config::{Flavour, Server};
use crate::error::{Call, Failure, Verdict, judge, judge_status, strange, timed_out};
use crate::login::Tokens;
use crate::message::{HealthCheckRequest, Outcome, Request};
use crate::wire::{Payload, REQUEST};

/// Who has heard something so recently need not ask.
const FRESH: Duration = Duration::from_secs(1);

/// Whether the server lets us do anything. That it is there anybody may ask.
#[derive(Debug, Default)]
enum Refusal {
    #[default]
    Unknown,
    /// It has let us do something.
    None,
    Of(Error),
}

/// A connection that the server knows. It ends when its owner drops it.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Another one for each: what belongs to one connection is never used on another.
    pub(crate) generation: u64,
    pub(crate) server: Server,
    /// Never `Auto`.
    pub(crate) flavour: Flavour,
    channel: Channel,
    tokens: Arc<Tokens>,
    pub(crate) limit: Duration,
    heard_at: Mutex<Instant>,
    /// Somebody got no answer.
    doubt: Notify,
    /// Why nothing is allowed here, as far as anything was asked for.
    refusal: Mutex<Refusal>,
    /// One asks whether the server is there, and all who wonder wait for it.
    asking: tokio::sync::Mutex<()>,
    over: Over,
}

impl Connection {
    pub(super) fn new(
        generation: u64,
        server: Server,
        flavour: Flavour,
        channel: Channel,
        tokens: Arc<Tokens>,
        limit: Duration,
        over: Over,
    ) -> Self {
        Self {
            generation,
            server,
            flavour,
            channel,
            tokens,
            limit,
            heard_at: Mutex::new(Instant::now()),
            doubt: Notify::new(),
            refusal: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            over,
        }
    }

    /// Asks the server. A login that is refused is tried again once.
    pub(crate) async fn ask<R: Request>(&self, request: &R, call: Call<'_>) -> Result<R::Answer, Failure> {
        let json = serde_json::to_vec(request).map_err(|error| strange(&error, call))?;
        if json.len() > MESSAGE {
            let context =
                format!("cannot {}: it takes {} bytes, and servers take {MESSAGE}", call.subject, json.len());
            return Err(Failure { error: Error::limit_exceeded(context), verdict: Verdict::Answer });
        }
        let (json, token) = (Bytes::from(json), self.tokens.current());
        let answer = match self.send::<R>(&json, token.as_ref(), call).await {
            Err(failure) if failure.verdict == Verdict::Denied => {
                match self.tokens.after(token.as_ref(), &self.server).await {
                    Some(newer) => self.send::<R>(&json, Some(&newer), call).await,
                    // Why there is no better token says more than that this one is refused.
                    None => Err(Failure { error: self.tokens.failure().unwrap_or(failure.error), ..failure }),
                }
            }
            answer => answer,
        };
        match &answer {
            Ok(_) if R::TYPE != HealthCheckRequest::TYPE => *self.refusal() = Refusal::None,
            Err(failure) if failure.verdict == Verdict::Denied => self.denied(&failure.error),
            _ => {}
        }
        answer
    }

    /// What is refused to somebody who may do other things is about those; a login is about everything.
    fn denied(&self, cause: &Error) {
        let mut refusal = self.refusal();
        if cause.kind() == ErrorKind::Unauthorized || !matches!(*refusal, Refusal::None) {
            *refusal = Refusal::Of(cause.clone());
        }
    }

    /// Whether the server lets us do anything, as far as it was asked.
    pub(crate) fn entitled(&self) -> Result<(), Error> {
        match &*self.refusal() {
            Refusal::Of(cause) => Err(cause.clone()),
            Refusal::Unknown | Refusal::None => Ok(()),
        }
    }

    fn refusal(&self) -> MutexGuard<'_, Refusal> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send<R: Request>(
        &self,
        json: &Bytes,
        token: Option<&Secret>,
        call: Call<'_>,
    ) -> Result<R::Answer, Failure> {
        let payload = Payload::new(R::TYPE, json.to_vec(), token.map(Secret::expose));
        let answered = tokio::select! {
            biased;
            answered = exchange(&self.channel, payload, self.limit, call) => answered,
            cause = self.is_over() => Err(Failure { error: lost(&cause, call), verdict: Verdict::Silence }),
        };
        match answered {
            Ok(answer) => {
                self.hear();
                read::<R>(&answer, call).inspect_err(|failure| {
                    if failure.verdict == Verdict::Unknown {
                        self.fail(failure.error.clone());
                    }
                })
            }
            Err(failure) => {
                if failure.verdict == Verdict::Silence {
                    self.doubt.notify_one();
                }
                Err(failure)
            }
        }
    }

    /// Asks whether the server is there and knows us.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        self.ask(&HealthCheckRequest {}, Call::read("reach the server")).await.map(drop)
    }

    /// Since when it is proven that the server is there and knows us: now, or a moment ago.
    pub(crate) async fn proven(&self) -> Result<Instant, Failure> {
        let wanted = Instant::now();
        // Who has the turn may have been left alone in the middle of it: a watch goes on only while somebody polls it.
        let _turn = timeout(self.limit, self.asking.lock()).await;
        let heard = self.heard_at();
        if heard + FRESH >= wanted {
            return Ok(heard);
        }
        let asked = Instant::now();
        self.check().await?;
        Ok(asked)
    }

    /// Gives the connection up. Only the first cause counts.
    pub(super) fn fail(&self, cause: Error) {
        self.over.set(cause);
    }

    /// Resolves with the cause when it is given up.
    pub(super) async fn is_over(&self) -> Error {
        self.over.wait().await
    }

    /// Why it is given up, or broken, if it is.
    pub(super) fn why_over(&self) -> Option<Error> {
        self.over.get()
    }

    /// Resolves when somebody got no answer.
    pub(super) async fn is_doubted(&self) {
        self.doubt.notified().await;
    }

    /// Something has come from the server.
    pub(super) fn hear(&self) {
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn heard_at(&self) -> Instant {
        *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The token's keeper.
    pub(super) fn tokens(&self) -> &Tokens {
        &self.tokens
    }
}

fn lost(cause: &Error, call: Call<'_>) -> Error {
    let error =
        Error::unavailable(format!("cannot {}: the connection is lost: {}", call.subject, cause.context()));
    if call.write { error.with_outcome_unknown() } else { error }
}

/// One question to whoever is there, and the answer.
pub(super) async fn exchange(
    channel: &Channel,
    payload: Payload,
    limit: Duration,
    call: Call<'_>,
) -> Result<Payload, Failure> {
    let mut grpc =
        Grpc::new(channel.clone()).max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE);
    let asking = async {
        grpc.ready().await.map_err(|error| tonic::Status::from_error(Box::new(error)))?;
        let path = PathAndQuery::from_static(REQUEST);
        let codec: ProstCodec<Payload, Payload> = ProstCodec::default();
        grpc.unary(tonic::Request::new(payload), path, codec).await
    };
    match timeout_at(Instant::now() + limit, asking).await {
        Ok(Ok(answer)) => Ok(answer.into_inner()),
        Ok(Err(status)) => Err(judge_status(status, call)),
        Err(_) => Err(timed_out(limit, call)),
    }
}

/// What an answer says.
pub(super) fn read<R: Request>(answer: &Payload, call: Call<'_>) -> Result<R::Answer, Failure> {
    let outcome: Outcome = serde_json::from_slice(answer.json()).map_err(|error| strange(&error, call))?;
    if outcome.result_code != 200 || answer.kind() == "ErrorResponse" {
        return Err(judge(&outcome, call));
    }
    serde_json::from_slice(answer.json()).map_err(|error| strange(&error, call))
}
