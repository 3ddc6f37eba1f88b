//! How a connection begins: who is there, the stream, and the first words on it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Error, Result};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use super::connection::{Connection, exchange, read};
use super::hangup::Over;
use super::transport::{self, MESSAGE};
use crate::config::{Flavour, Server, Settings};
use crate::error::{CLIENT_CERTIFICATE, Call, Verdict, judge_status};
use crate::login::Tokens;
use crate::message::{
    Acknowledgement, ConnectionSetupRequest, HealthCheckRequest, Request, ServerCheckRequest,
};
use crate::wire::{Payload, STREAM};

/// Answers that wait to be sent. A server that does not read them is given up.
const OUTGOING: usize = 64;
/// A server that has begun to negotiate and does not go on is taken as it is after this.
const NEGOTIATION: Duration = Duration::from_secs(5);
/// Between two questions whether the server knows the connection yet: one or two are enough.
const POLL: Duration = Duration::from_millis(10);
/// How long an answer may wait to be sent.
const SENDING: Duration = Duration::from_secs(1);

/// A connection and its stream, in the hands of their owner.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) connection: Arc<Connection>,
    pub(super) incoming: Incoming,
    outgoing: mpsc::Sender<Payload>,
}

type Opening = BoxFuture<'static, Result<tonic::Streaming<Payload>, tonic::Status>>;

/// What comes on the stream. A server may send even its first word only when there is something to say.
pub(super) enum Incoming {
    Opening(Opening),
    Open(Box<tonic::Streaming<Payload>>),
}

impl Line {
    /// Connects to `server`, so that it knows us.
    pub(super) async fn open(
        settings: &Settings,
        server: &Server,
        generation: u64,
        tokens: &Arc<Tokens>,
    ) -> Result<Self> {
        let over = Over::not_yet();
        let channel = transport::open(settings, server, &over).await?;
        let call = Call::read("connect");
        let hello = Payload::new(ServerCheckRequest::TYPE, b"{}".to_vec(), None);
        let answer = exchange(&channel, hello, settings.request_timeout, call)
            .await
            .map_err(|failure| nobody(server, failure.error))?;
        let there = read::<ServerCheckRequest>(&answer, call).map_err(|failure| failure.error)?;
        let id = there.connection_id.unwrap_or_default();
        let flavour = match settings.flavour {
            Flavour::Auto => detect(&id, there.support_ability_negotiation),
            told => told,
        };
        let (outgoing, queued) = mpsc::channel(OUTGOING);
        let mut incoming = Incoming::Opening(stream(channel.clone(), queued));
        let setup = serde_json::to_vec(&setup())
            .map_err(|error| Error::unexpected("the first message cannot be written").with_source(error))?;
        let silent = |_| Error::unavailable("the stream ended before it began");
        outgoing.send(Payload::new("ConnectionSetupRequest", setup, None)).await.map_err(silent)?;
        if there.support_ability_negotiation == Some(true) {
            negotiated(&mut incoming).await?;
        }
        known(&channel, &mut incoming, settings.request_timeout).await?;
        tokens.begin(server).await;
        let connection = Connection::new(
            generation,
            server.clone(),
            flavour,
            channel,
            tokens.clone(),
            settings.request_timeout,
            over,
        );
        Ok(Self { connection: Arc::new(connection), incoming, outgoing })
    }

    /// Answers what the server has asked on the stream.
    pub(super) async fn acknowledge(&mut self, kind: &str, request_id: Option<String>) -> Result<()> {
        let answer = Acknowledgement { result_code: 200, request_id: request_id.unwrap_or_default() };
        let json = serde_json::to_vec(&answer)
            .map_err(|error| Error::unexpected("an answer cannot be written").with_source(error))?;
        let kind = kind.strip_suffix("Request").unwrap_or(kind);
        let payload = Payload::new(&format!("{kind}Response"), json, None);
        match timeout_at(Instant::now() + SENDING, self.outgoing.send(payload)).await {
            Ok(Ok(())) => Ok(()),
            _ => Err(Error::unavailable("the server does not read what it has asked for")),
        }
    }
}

impl Incoming {
    /// The next message; the error with which the stream is over.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Payload> {
        let call = Call::read("follow the server");
        loop {
            match self {
                Self::Opening(opening) => {
                    let stream = opening.await.map_err(|status| judge_status(status, call).error)?;
                    *self = Self::Open(Box::new(stream));
                }
                Self::Open(stream) => {
                    return match stream.next().await {
                        Some(Ok(payload)) => Ok(payload),
                        Some(Err(status)) => Err(judge_status(status, call).error),
                        None => Err(Error::unavailable("the server has ended the connection")),
                    };
                }
            }
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Opening(_) => "Opening",
            Self::Open(_) => "Open",
        })
    }
}

/// Who was never heard of may be anything, or want to see who we are.
fn nobody(server: &Server, error: Error) -> Error {
    if error.is_misconfiguration() {
        return error;
    }
    let (kind, said, at) = (error.kind(), error.context().to_owned(), server.grpc.url());
    let wanted = if server.grpc.encrypted { format!(" {CLIENT_CERTIFICATE}") } else { String::new() };
    Error::new(kind, format!("{said}; is {at} the gRPC port of a nacos server?{wanted}")).with_source(error)
}

fn stream(channel: Channel, queued: mpsc::Receiver<Payload>) -> Opening {
    let outgoing = futures::stream::unfold(queued, |mut queued| async move {
        let payload = queued.recv().await?;
        Some((payload, queued))
    });
    async move {
        let mut grpc =
            Grpc::new(channel).max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE);
        grpc.ready().await.map_err(|error| tonic::Status::from_error(Box::new(error)))?;
        let codec: ProstCodec<Payload, Payload> = ProstCodec::default();
        let path = PathAndQuery::from_static(STREAM);
        Ok(grpc.streaming(tonic::Request::new(outgoing), path, codec).await?.into_inner())
    }
    .boxed()
}

fn setup() -> ConnectionSetupRequest {
    ConnectionSetupRequest {
        client_version: concat!("callsign:", env!("CARGO_PKG_VERSION")),
        tenant: "",
        labels: BTreeMap::from([("source", "sdk"), ("module", "naming"), ("AppName", "callsign")]),
        ability_table: BTreeMap::from([("fuzzyWatch", false), ("supportPersistentInstanceByGrpc", false)]),
    }
}

/// What the server is: r-nacos says nothing of abilities, and its connections are called `1_127.0.0.1:40000`, where those
/// of Nacos begin with the time in milliseconds and have two more parts.
fn detect(id: &str, negotiates: Option<bool>) -> Flavour {
    let mut parts = id.split('_');
    let node = parts
        .next()
        .is_some_and(|node| !node.is_empty() && node.len() < 13 && node.bytes().all(|b| b.is_ascii_digit()));
    let address = parts.next().is_some_and(|address| address.contains(':'));
    if negotiates.is_none() && node && address && parts.next().is_none() {
        Flavour::RNacos
    } else {
        Flavour::Nacos
    }
}

/// Waits for the server's word on its abilities.
async fn negotiated(incoming: &mut Incoming) -> Result<()> {
    let until = Instant::now() + NEGOTIATION;
    // Whatever else comes now belongs to nobody.
    while let Ok(message) = timeout_at(until, incoming.next()).await {
        if message?.kind() == "SetupAckRequest" {
            break;
        }
    }
    Ok(())
}

/// Waits until the server knows the connection.
async fn known(channel: &Channel, incoming: &mut Incoming, limit: Duration) -> Result<()> {
    let call = Call::read("connect");
    let asking = async {
        loop {
            let question = Payload::new(HealthCheckRequest::TYPE, b"{}".to_vec(), None);
            let answer = exchange(channel, question, limit, call).await;
            match answer.and_then(|answer| read::<HealthCheckRequest>(&answer, call)) {
                Ok(_) => return Ok(()),
                Err(failure) if failure.verdict == Verdict::Unknown => sleep(POLL).await,
                Err(failure) => return Err(failure.error),
            }
        }
    };
    let listening = async {
        loop {
            if let Err(error) = incoming.next().await {
                return error;
            }
        }
    };
    tokio::select! {
        biased;
        asked = timeout_at(Instant::now() + limit, asking) => asked.unwrap_or_else(|_| {
            Err(Error::timeout("cannot connect: the server does not take note of the connection"))
        }),
        error = listening => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_told_apart_by_what_they_call_a_connection() {
        for (id, negotiates, flavour) in [
            ("1_127.0.0.1:40000", None, Flavour::RNacos),
            ("12_[::1]:40000", None, Flavour::RNacos),
            ("1_127.0.0.1:40000", Some(false), Flavour::Nacos),
            ("1700000000000_127.0.0.1_40000", Some(true), Flavour::Nacos),
            ("1700000000000_127.0.0.1_40000", None, Flavour::Nacos),
            ("1700000000000_0:0:0:0:0:0:0:1_40000", None, Flavour::Nacos),
            ("", None, Flavour::Nacos),
        ] {
            assert_eq!(detect(id, negotiates), flavour, "{id}");
        }
    }
}
