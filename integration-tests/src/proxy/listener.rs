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

/// The lane of a connection of which nobody knows whose it is.
const NOWHERE: usize = usize::MAX;

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
            if orders.common() == Some(Mode::Refuse) {
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
        let counted = self.counters.clone().count();
        let mut orders = self.orders.clone();
        let (lane, known) = watch::channel(None);
        let view = View::new(orders.clone(), known);
        // Sorting takes a while, so it is left until it matters.
        let sorting = async move {
            if orders.wait_for(|orders| orders.common().is_none()).await.is_ok() {
                lane.send_replace(Some(sort(from, address).await.unwrap_or(NOWHERE)));
            }
            std::future::pending::<()>().await;
        };
        async move {
            let _counted: Counted = counted;
            tokio::select! {
                () = serve(client, upstream, view) => {}
                () = sorting => {}
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
