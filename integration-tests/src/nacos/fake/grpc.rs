//! The two calls of Nacos' gRPC, served over connections that are known by their TCP.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use callsign_core::task::Spawner;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{interval, sleep};
use tonic::body::Body;
use tonic::codegen::http;
use tonic::server::{Grpc, StreamingService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::Ice;
use super::keys::Keys;
use super::state::State;
use super::wire::Payload;

/// The largest message either way.
const MESSAGE: usize = 10 * 1024 * 1024;
const OUTGOING: usize = 4096;
const TICK: Duration = Duration::from_millis(20);

type Shared = Arc<Mutex<State>>;

fn lock(state: &Shared) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves until the runtime ends.
pub(super) async fn serve(listener: std::net::TcpListener, state: Shared, ice: Arc<Ice>, keys: Option<Keys>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    let accepting = state.clone();
    let incoming = futures::stream::unfold((listener, accepting), |(listener, state)| async move {
        let accepted = listener.accept().await.map(|(stream, _)| {
            let _ = stream.set_nodelay(true);
            let id = lock(&state).connect();
            Line { stream, known: Known(id), _end: Arc::new(End(id, state.clone())) }
        });
        Some((accepted, (listener, state)))
    });
    let mut server =
        Server::builder().initial_stream_window_size(4 << 20).initial_connection_window_size(8 << 20);
    if let Some(keys) = keys {
        match keys.grpc().map(|config| server.tls_config(config)) {
            Ok(Ok(encrypted)) => server = encrypted,
            _ => return,
        }
    }
    let _ = server.serve_with_incoming(Calls { state, ice }, incoming).await;
}

/// Pushes what is due, until the runtime ends.
pub(super) async fn push(state: Shared, ice: Arc<Ice>) {
    let mut ticks = interval(TICK);
    loop {
        ticks.tick().await;
        ice.melt();
        for (outgoing, payload) in lock(&state).due() {
            // Who does not read is told again.
            let _ = outgoing.try_send(payload);
        }
    }
}

/// Which TCP connection a call has come over.
#[derive(Debug, Clone, Copy)]
struct Known(u64);

/// Tells when a TCP connection is over.
struct End(u64, Shared);

impl Drop for End {
    fn drop(&mut self) {
        lock(&self.1).disconnect(self.0);
    }
}

struct Line {
    stream: TcpStream,
    known: Known,
    _end: Arc<End>,
}

impl Connected for Line {
    type ConnectInfo = Known;

    fn connect_info(&self) -> Known {
        self.known
    }
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[derive(Clone)]
struct Calls {
    state: Shared,
    ice: Arc<Ice>,
}

impl tower::Service<http::Request<Body>> for Calls {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let calls = self.clone();
        async move {
            calls.ice.melt();
            if let Some(status) = lock(&calls.state).instead {
                let mut response = http::Response::new(Body::empty());
                *response.status_mut() = status;
                return Ok(response);
            }
            let codec: ProstCodec<Payload, Payload> = ProstCodec::default();
            let mut grpc =
                Grpc::new(codec).max_decoding_message_size(MESSAGE).max_encoding_message_size(MESSAGE);
            Ok(match request.uri().path() {
                "/Request/request" => grpc.unary(calls, request).await,
                "/BiRequestStream/requestBiStream" => grpc.streaming(calls, request).await,
                _ => Status::unimplemented("").into_http(),
            })
        }
        .boxed()
    }
}

fn known<T>(request: &Request<T>) -> u64 {
    let extensions = request.extensions();
    let encrypted = extensions.get::<tonic::transport::server::TlsConnectInfo<Known>>();
    let plain = extensions.get::<Known>().copied();
    encrypted.map(|info| *info.get_ref()).or(plain).map_or(0, |known| known.0)
}

impl UnaryService<Payload> for Calls {
    type Response = Payload;
    type Future = Ready<Result<Response<Payload>, Status>>;

    fn call(&mut self, request: Request<Payload>) -> Self::Future {
        let id = known(&request);
        let (kind, json) = lock(&self.state).answer(id, &request.into_inner());
        ready(Ok(Response::new(Payload::new(&kind, &json))))
    }
}

impl StreamingService<Payload> for Calls {
    type Response = Payload;
    type ResponseStream = futures::stream::BoxStream<'static, Result<Payload, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Payload>>) -> Self::Future {
        let (id, state) = (known(&request), self.state.clone());
        let mut incoming = request.into_inner();
        let (outgoing, queued) = mpsc::channel(OUTGOING);
        let held_back = lock(&state).options().held_back;
        let listening = async move {
            while let Some(Ok(payload)) = incoming.next().await {
                let json = payload.json();
                match payload.kind() {
                    "ConnectionSetupRequest" => lock(&state).set_up(id, &json, outgoing.clone()),
                    kind => lock(&state).heard(id, kind, &json),
                }
            }
        };
        let listening = Spawner::current().map(|spawner| spawner.spawn(listening));
        async move {
            sleep(held_back).await;
            // The task ends with the stream.
            let answers =
                futures::stream::unfold((queued, listening), |(mut queued, listening)| async move {
                    Some((Ok(queued.recv().await?), (queued, listening)))
                });
            Ok(Response::new(answers.boxed()))
        }
        .boxed()
    }
}
