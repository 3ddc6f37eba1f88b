//! The task that keeps the session: connects, listens to the server, and connects anew when that is over.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use callsign_core::{Backoff, Error, Result};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::greeting::Line;
use super::{Live, Shared, State, closed, pulse};
use crate::config::Server;
use crate::message::{Asked, Notification};
use crate::wire::Payload;

/// The shortest and the longest pause between two rounds over all servers: a server that is back is found soon, and one
/// attempt every 2 s costs nothing.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// A connection that ends sooner has been no success.
const LONG_ENOUGH: Duration = Duration::from_secs(5);
/// How long a connection is kept that the server wants to be rid of, until everything is published on the next one.
const HAND_OVER: Duration = Duration::from_secs(5);

/// How the time of a connection was over.
enum Over {
    /// By the session's owner.
    Closed,
    Lost(Error),
    /// The server asks for another one, at this address if it is one of ours.
    Reset(Option<String>),
}

pub(super) async fn supervise(shared: Arc<Shared>) {
    let mut servers: VecDeque<Server> = shared.settings.servers.iter().cloned().collect();
    // A fleet does not begin with the first one of the list.
    servers.rotate_left(fastrand::usize(..servers.len().max(1)));
    let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
    loop {
        let opened = tokio::select! {
            biased;
            () = shared.closed() => return,
            opened = round(&shared, &mut servers) => opened,
        };
        match opened {
            Ok(line) => {
                let begun = Instant::now();
                let over = serve(&shared, line, &mut servers).await;
                if begun.elapsed() >= LONG_ENOUGH {
                    backoff.reset();
                }
                let Some(cause) = over else { return };
                shared.signs.suspect(cause.clone());
                shared.become_state(State::Away(cause));
                if backoff.attempt() == 0 {
                    // At once, the first time.
                    let _ = backoff.next_delay();
                    continue;
                }
            }
            Err(cause) => {
                shared.signs.lost(cause.clone());
                shared.become_state(State::Away(cause));
            }
        }
        tokio::select! {
            () = shared.closed() => return,
            () = sleep(backoff.next_delay()) => {}
        }
    }
}

/// Tries each of the servers once, from the first on; who is tried goes to the end.
async fn round(shared: &Shared, servers: &mut VecDeque<Server>) -> Result<Line> {
    let mut first: Option<Error> = None;
    for _ in 0..servers.len() {
        let Some(server) = servers.front().cloned() else { break };
        servers.rotate_left(1);
        match open(shared, &server).await {
            Ok(line) => return Ok(line),
            Err(error) => {
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| Error::config("`addresses`: there is none")))
}

async fn open(shared: &Shared, server: &Server) -> Result<Line> {
    let generation = shared.generations.fetch_add(1, Ordering::Relaxed) + 1;
    Line::open(&shared.settings, server, generation, &shared.tokens).await
}

/// Serves connection after connection for as long as one is handed over to the next. The cause with which the last one was
/// lost; `None` when the session was closed.
async fn serve(shared: &Shared, mut line: Line, servers: &mut VecDeque<Server>) -> Option<Error> {
    let mut former: Option<Line> = None;
    let mut backoff = Backoff::new(PAUSE.0, PAUSE.1);
    loop {
        let begun = Instant::now();
        let now =
            Live { connection: Arc::downgrade(&line.connection), generation: line.connection.generation };
        shared.become_state(State::Live(now));
        shared.signs.ready();
        let target = match follow(shared, &mut line, &mut former).await {
            Over::Closed => return None,
            Over::Lost(cause) => return Some(cause),
            Over::Reset(target) => target,
        };
        if let Some(wanted) =
            target.and_then(|target| servers.iter().position(|server| is_at(server, &target)))
        {
            servers.rotate_left(wanted);
        }
        if begun.elapsed() >= LONG_ENOUGH {
            backoff.reset();
        }
        // A server that wants to be rid of every connection is not besieged.
        let is_first = backoff.attempt() == 0;
        let pause = backoff.next_delay();
        let next = async {
            sleep(if is_first { Duration::ZERO } else { pause }).await;
            round(shared, servers).await
        };
        tokio::pin!(next);
        // Meanwhile this one is served: pushes come, and the server may ask whether anybody is here.
        let next = loop {
            tokio::select! {
                biased;
                over = follow(shared, &mut line, &mut former) => match over {
                    Over::Closed => return None,
                    Over::Lost(cause) => return Some(cause),
                    Over::Reset(_) => {}
                },
                next = &mut next => break next,
            }
        };
        // Where no other one is to be had, this one goes on until the server ends it.
        if let Ok(next) = next {
            let this = std::mem::replace(&mut line, next);
            // The one before it, if it is here yet, is the one that everything is published on.
            if former.is_some() {
                leave(Some(this));
            } else {
                former = Some(this);
            }
        }
    }
}

/// Listens to the server until the connection is over.
async fn follow(shared: &Shared, line: &mut Line, former: &mut Option<Line>) -> Over {
    let connection = line.connection.clone();
    let pulse = pulse::watch_over(&connection, &shared.signs);
    let login = connection.tokens().keep(&connection.server, |failure| match failure {
        Some(cause) if cause.is_misconfiguration() => shared.signs.refused(cause),
        Some(_) => {}
        None => shared.signs.accepted(),
    });
    tokio::pin!(pulse, login);
    let leave_at = Instant::now() + HAND_OVER;
    let mut replayed = shared.replayed.subscribe();
    loop {
        tokio::select! {
            biased;
            () = shared.closed() => {
                // Whoever is in the middle of a call holds the connection.
                connection.fail(closed());
                return Over::Closed;
            }
            cause = connection.is_over() => return Over::Lost(cause),
            message = line.incoming.next() => {
                let handled = match message {
                    Ok(message) => handle(shared, line, message).await,
                    Err(cause) => Err(cause),
                };
                match handled {
                    Ok(None) => {}
                    Ok(Some(over)) => return over,
                    Err(cause) => return lose(&connection, cause),
                }
            }
            cause = &mut pulse => return lose(&connection, cause),
            () = &mut login => {}
            // Not before everything is published here: nobody is missing in between.
            () = is_replayed(&mut replayed, connection.generation), if former.is_some() => leave(former.take()),
            () = sleep_until(leave_at), if former.is_some() => leave(former.take()),
        }
    }
}

/// Whoever waits for an answer there need not wait any longer.
fn leave(line: Option<Line>) {
    if let Some(line) = line {
        line.connection.fail(Error::unavailable("the server wanted to be rid of the connection"));
    }
}

async fn is_replayed(replayed: &mut watch::Receiver<u64>, generation: u64) {
    if replayed.wait_for(|latest| *latest >= generation).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn lose(connection: &super::Connection, cause: Error) -> Over {
    connection.fail(cause.clone());
    Over::Lost(cause)
}

/// Does what the server asks for; how the connection is over, if it is.
async fn handle(shared: &Shared, line: &mut Line, message: Payload) -> Result<Option<Over>> {
    line.connection.hear();
    let kind = message.kind().to_owned();
    // What cannot be read is acknowledged all the same: a server that gets no answer gives the connection up.
    match kind.as_str() {
        "NotifySubscriberRequest" => {
            let told: Notification = serde_json::from_slice(message.json()).unwrap_or_default();
            let request_id = told.request_id.clone();
            shared.subscriptions.pushed(line.connection.generation, &told, &message.into_json());
            line.acknowledge(&kind, request_id).await.map(|()| None)
        }
        "ClientDetectionRequest" => {
            let asked: Asked = serde_json::from_slice(message.json()).unwrap_or_default();
            line.acknowledge(&kind, asked.request_id).await.map(|()| None)
        }
        "ConnectResetRequest" => {
            let asked: Asked = serde_json::from_slice(message.json()).unwrap_or_default();
            line.acknowledge(&kind, asked.request_id).await?;
            let port = asked.server_port.map(|port| port.to_string());
            let target = asked.server_ip.zip(port).map(|(ip, port)| format!("{ip}:{port}"));
            Ok(Some(Over::Reset(target)))
        }
        _ => Ok(None),
    }
}

/// Whether `server` is the one that is called `target`: servers call each other by HTTP.
fn is_at(server: &Server, target: &str) -> bool {
    let at = |url: String| url.split_once("://").is_some_and(|(_, address)| address == target);
    at(server.http.url()) || at(server.grpc.url())
}
