//! The one task of a proxy: it accepts, and carries all connections.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;

use super::Sort;
use super::connection::serve;
use super::lane::{Counted, Counters, Orders, View};
use super::mode::Mode;

/// Before a port that could not be taken back is tried again.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Listening {
    pub(super) address: SocketAddr,
    pub(super) upstream: SocketAddr,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) applied: watch::Sender<u64>,
    pub(super) counters: Arc<Counters>,
    pub(super) sort: Sort,
}

impl Listening {
    /// Never ends: the proxy's handle aborts it, and with it all connections.
    pub(super) async fn run(mut self, first: std::net::TcpListener) {
        let mut connections = FuturesUnordered::new();
        let mut listener = adopt(first).ok();
        loop {
            let orders = self.orders.borrow_and_update().clone();
            if orders.modes.iter().all(|mode| *mode == Mode::Refuse) {
                listener = None;
            } else if listener.is_none() {
                listener = std::net::TcpListener::bind(self.address).and_then(adopt).ok();
                if listener.is_none() {
                    sleep(PAUSE).await;
                    continue;
                }
            }
            self.applied.send_replace(orders.version);
            tokio::select! {
                changed = self.orders.changed() => if changed.is_err() { return },
                accepted = accept(listener.as_ref()) => match accepted {
                    Ok((client, from)) => connections.push(self.connection(client, from)),
                    // Too many open files, or who has connected is gone already.
                    Err(_) => sleep(PAUSE).await,
                },
                Some(()) = connections.next() => {}
            }
        }
    }

    fn connection(&self, client: TcpStream, from: SocketAddr) -> impl Future<Output = ()> + Send + use<> {
        let (address, upstream, sort) = (self.address, self.upstream, self.sort.clone());
        // Seen before it is sorted: a cut meanwhile concerns it, too.
        let (view, counted) = (View::new(self.orders.clone()), self.counters.clone().count());
        async move {
            let _counted: Counted = counted;
            match sort(from, address).await {
                Some(lane) => serve(client, upstream, view.in_lane(lane)).await,
                None => drop(client.set_zero_linger()),
            }
        }
    }
}

/// Waits for a connection; for ever where the port is closed.
async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
