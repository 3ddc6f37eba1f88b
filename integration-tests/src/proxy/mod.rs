//! A TCP proxy with faults: for when the server is well, and the way to it is not.
//!
//! Put one between client and server, and [`set`](Proxy::set) its [`Mode`] while connections are open.

mod connection;
mod lane;
mod listener;
mod mode;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use callsign_core::task::Task;
use callsign_core::{Error, Result};
use futures::future::BoxFuture;
use tokio::sync::watch;

pub use lane::Counts;
use lane::{Counters, Orders};
pub use mode::{Direction, Mode};

use crate::background;

/// Says in which lane a connection from the first address to the second belongs: asked once, when the modes of the
/// lanes are no longer the same. `None` is reset.
pub type Sort = Arc<dyn Fn(SocketAddr, SocketAddr) -> BoxFuture<'static, Option<usize>> + Send + Sync>;

/// One listener, one server behind it. It ends, with all of its connections, when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    upstream: SocketAddr,
    orders: watch::Sender<Orders>,
    /// The version of the orders that is in force.
    in_force: watch::Receiver<u64>,
    counters: Arc<Counters>,
    _task: Task,
}

impl Proxy {
    /// Listens at `address`, and connects to `upstream` for each connection that comes.
    ///
    /// # Errors
    /// `Unexpected` when the address is taken.
    pub fn start(address: SocketAddr, upstream: SocketAddr) -> Result<Self> {
        Self::sorted(address, upstream, 1, Arc::new(|_, _| Box::pin(async { Some(0) })))
    }

    /// A proxy whose connections are sorted into `lanes`, each with a mode of its own. A lane that refuses resets
    /// what comes; the port is closed while all of them do.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn sorted(address: SocketAddr, upstream: SocketAddr, lanes: usize, sort: Sort) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Error::unexpected(format!("a proxy cannot listen at {address}")).with_source(error)
        };
        let listener = std::net::TcpListener::bind(address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (orders, incoming) =
            watch::channel(Orders { modes: vec![Mode::Pass; lanes], cuts: 0, version: 0 });
        let (applied, in_force) = watch::channel(0);
        let counters = Arc::<Counters>::default();
        let listening = listener::Listening {
            address,
            upstream,
            orders: incoming,
            applied,
            counters: counters.clone(),
            sort,
        };
        let task = background::spawner()?.spawn(listening.run(listener));
        Ok(Self { address, upstream, orders, in_force, counters, _task: task })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it connects to.
    #[must_use]
    pub fn upstream(&self) -> SocketAddr {
        self.upstream
    }

    /// Changes the mode, and waits until it is in force for new connections; open ones follow at once.
    ///
    /// # Cancel safety
    /// The mode is changed in any case.
    pub async fn set(&self, mode: Mode) {
        self.order(mode);
        self.settled().await;
    }

    /// As [`set`](Self::set), without waiting.
    pub fn order(&self, mode: Mode) {
        self.change(|orders| orders.modes.fill(mode));
    }

    /// As [`order`](Self::order), for one lane.
    pub fn order_lane(&self, lane: usize, mode: Mode) {
        self.change(|orders| {
            if let Some(current) = orders.modes.get_mut(lane) {
                *current = mode;
            }
        });
    }

    /// Resets the connections that are open. What comes after them is treated as the mode says.
    pub async fn cut(&self) {
        self.change(|orders| orders.cuts += 1);
        self.settled().await;
    }

    /// Waits until everything that was ordered is in force.
    pub async fn settled(&self) {
        let wanted = self.orders.borrow().version;
        // An error would mean that the listening has ended, and with it whatever could be waited for.
        let _ = self.in_force.clone().wait_for(|version| *version >= wanted).await;
    }

    /// How many connections there are, and were.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counters.read()
    }

    fn change(&self, change: impl FnOnce(&mut Orders)) {
        self.orders.send_modify(|orders| {
            orders.version += 1;
            change(orders);
        });
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("upstream", &self.upstream)
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
