//! A Nacos of our own, as strict as the real one.
//!
//! r-nacos is a real server, and differs from Nacos in just what matters: it keeps every instance of a connection, where
//! Nacos keeps what was published last; it removes one instance, where Nacos removes all of a connection; it adds to a
//! batch, where Nacos replaces it; it has neither abilities nor acknowledgements, nor resets. What passes there may fail
//! in production, so all of that is here, as the source of Nacos 2.1 to 3.0 has it.
//!
//! Each one runs on a thread of its own. Freezing it blocks the thread, as `SIGSTOP` does; killing it drops its runtime, and
//! with it every connection.

mod control;
mod grpc;
mod http;
mod instances;
mod keys;
mod options;
mod state;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use axum::http::StatusCode;
use callsign_core::config::Tls;
use callsign_core::task::{Spawner, Task};
use callsign_core::{Error, Result, async_trait};
use callsign_testkit::Guard;
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::folder::temporary;
use crate::pki::Authority;
use crate::{Address, Pooled};

use keys::Keys;
pub use options::{Encryption, FakeOptions, PASSWORD, USER};
pub use state::Seen;
use state::State;

/// Nacos' own ports.
const HTTP: u16 = 8848;
const GRPC: u16 = 9848;
/// How long starting may take, on a machine that has a lot to do.
const START: Duration = Duration::from_secs(20);

/// A Nacos of our own. Dropping it ends it.
#[derive(Debug)]
pub struct Fake {
    options: FakeOptions,
    addresses: Vec<Address>,
    keys: Option<Keys>,
    state: Arc<Mutex<State>>,
    ice: Arc<Ice>,
    running: Mutex<Option<Running>>,
    _folder: TempDir,
}

/// Blocks the thread for as long as it is frozen.
#[derive(Debug, Default)]
pub(crate) struct Ice {
    frozen: Mutex<bool>,
    thawed: Condvar,
}

#[derive(Debug)]
struct Running {
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

impl Fake {
    /// Starts one.
    ///
    /// # Errors
    /// `Unexpected` when it cannot be started.
    pub fn start(options: FakeOptions) -> Result<Arc<Self>> {
        let folder = temporary("fake-nacos")?;
        let addresses: Vec<Address> =
            std::iter::repeat_with(Address::reserve).take(options.members).collect::<Result<_>>()?;
        let keys = options.tls.map(|how| Keys::create(folder.path(), &addresses, how)).transpose()?;
        let fake = Self {
            state: Arc::new(Mutex::new(State::new(options.clone()))),
            options,
            addresses,
            keys,
            ice: Arc::default(),
            running: Mutex::default(),
            _folder: folder,
        };
        fake.run()?;
        Ok(Arc::new(fake))
    }

    /// How it was set up.
    #[must_use]
    pub fn options(&self) -> &FakeOptions {
        &self.options
    }

    /// What clients are configured with, one for each member.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        let scheme = if self.keys.is_some() { "https" } else { "http" };
        self.addresses.iter().map(|address| format!("{scheme}://{}", address.at(HTTP))).collect()
    }

    /// Where a member serves gRPC.
    #[must_use]
    pub fn grpc(&self, member: usize) -> Option<SocketAddr> {
        self.addresses.get(member).map(|address| address.at(GRPC))
    }

    /// Where a member serves HTTP.
    #[must_use]
    pub fn http(&self, member: usize) -> Option<SocketAddr> {
        self.addresses.get(member).map(|address| address.at(HTTP))
    }

    /// What clients need for TLS.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        self.keys.as_ref().map(Keys::tls)
    }

    /// Who has signed its certificate, if it has one.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        self.keys.as_ref().map(|keys| &*keys.authority)
    }

    /// What it has seen, and what it has.
    #[must_use]
    pub fn seen(&self) -> Seen {
        self.state().seen()
    }

    /// Has the servers ask every client to connect elsewhere: to that address, if one is named.
    pub fn reset_connections(&self, target: Option<SocketAddr>) {
        self.state().reset(target);
    }

    /// Has the servers ask every client for a sign of life.
    pub fn detect(&self) {
        self.state().detect();
    }

    /// Has no push be sent any more.
    pub fn push_nothing(&self) {
        self.state().pushes_nothing = true;
    }

    /// Has every call be answered with this by somebody on the way, on connections that are open, too: or by nobody, again.
    pub fn answer_instead(&self, status: Option<StatusCode>) {
        self.state().instead = status;
    }

    /// Makes every token worthless that was given out.
    pub fn revoke_tokens(&self) {
        self.state().tokens.clear();
    }

    /// Has the password be another one from now on.
    pub fn change_password(&self, password: &str) {
        password.clone_into(&mut self.state().password);
    }

    /// Has `service` (`namespace@@group@@name`) be one of persistent instances.
    pub fn make_persistent(&self, service: &str) {
        self.state().persistent.insert(service.to_owned());
    }

    /// Refuses every set that holds the instance that callsign knows as `id`.
    pub fn refuse(&self, id: &str) {
        self.state().refused.insert(id.to_owned());
    }

    /// Overwrites, or removes, what is kept of the instance that callsign knows as `id`: as a fault of the server's
    /// memory would.
    pub fn tamper(&self, id: &str, garbage: Option<&[(&str, &str)]>) {
        self.state().tamper(id, garbage);
    }

    /// As an operator's change of an instance, which lies over what its owner has published.
    pub fn operate(&self, id: &str, change: &[(&str, serde_json::Value)]) {
        self.state().operate(id, change);
    }

    /// Publishes an instance (as JSON) of other software in the public namespace and the default group, over a connection
    /// of its own.
    pub fn publish(&self, service: &str, instance: serde_json::Value) {
        self.state().publish_foreign(service, instance);
    }

    /// Ends every connection, and forgets everything that lives by one. Healing starts it again.
    ///
    /// # Errors
    /// `Timeout` when the thread does not end.
    pub async fn kill(self: &Arc<Self>) -> Result<Guard> {
        self.stop().await?;
        let (starting, waiting) = (self.clone(), self.clone());
        let guard = Guard::new(move || {
            // What cannot be started does not serve, and that is waited for.
            let _ = starting.run();
        });
        Ok(guard.with_settled(async move { waiting.serves().await }))
    }

    /// Freezes it: connections stay, and nothing answers.
    pub fn freeze(self: &Arc<Self>) -> Guard {
        self.ice.freeze();
        let (ice, waiting) = (self.ice.clone(), self.clone());
        Guard::new(move || ice.thaw()).with_settled(async move { waiting.serves().await })
    }

    /// A restart.
    ///
    /// # Errors
    /// As [`kill`](Self::kill).
    pub async fn restart(self: &Arc<Self>) -> Result<()> {
        self.kill().await?.heal().await
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// `Unavailable` when it does not.
    pub async fn serves(&self) -> Result<()> {
        for address in &self.addresses {
            for port in [HTTP, GRPC] {
                let at = address.at(port);
                let connecting = async {
                    while tokio::net::TcpStream::connect(at).await.is_err() {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                };
                tokio::time::timeout(START, connecting)
                    .await
                    .map_err(|_| Error::unavailable(format!("the fake does not serve at {at}")))?;
            }
        }
        Ok(())
    }

    fn run(&self) -> Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.is_some() {
            return Ok(());
        }
        self.state().forget();
        let failed =
            |error: std::io::Error| Error::unexpected("the fake cannot be started").with_source(error);
        let listen = |port| self.addresses.iter().map(move |address| bind(address.at(port)));
        let grpc: Vec<_> = listen(GRPC).collect::<std::io::Result<_>>().map_err(failed)?;
        let http: Vec<_> = listen(HTTP).collect::<std::io::Result<_>>().map_err(failed)?;
        let (stop, stopped) = watch::channel(false);
        let (state, ice, keys) = (self.state.clone(), self.ice.clone(), self.keys.clone());
        let (begun, has_begun) = mpsc::channel();
        let thread = std::thread::Builder::new().name("fake-nacos".to_owned()).spawn(move || {
            let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                let Ok(spawner) = Spawner::current() else { return };
                let serving_http = http.into_iter().map(|listener| {
                    spawner.spawn(http::serve(listener, state.clone(), ice.clone(), keys.clone()))
                });
                let mut tasks: Vec<Task> = serving_http.collect();
                for listener in grpc {
                    let serving = grpc::serve(listener, state.clone(), ice.clone(), keys.clone());
                    tasks.push(spawner.spawn(serving));
                }
                tasks.push(spawner.spawn(grpc::push(state.clone(), ice.clone())));
                let _ = begun.send(());
                let mut stopped = stopped;
                let _ = stopped.wait_for(|stopped| *stopped).await;
            });
            runtime.shutdown_background();
        });
        let thread = thread.map_err(failed)?;
        let _ = has_begun.recv_timeout(START);
        *running = Some(Running { stop, thread });
        Ok(())
    }

    async fn stop(&self) -> Result<()> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Running { stop, thread }) = running else { return Ok(()) };
        self.ice.thaw();
        stop.send_replace(true);
        let joined = tokio::task::spawn_blocking(move || thread.join().is_ok());
        tokio::time::timeout(START, joined).await.map_err(|_| Error::timeout("the fake does not end"))?.ok();
        self.state().forget();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A port that was closed a moment ago may be opened again.
fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Ice {
    fn freeze(&self) {
        *self.frozen.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }

    fn thaw(&self) {
        *self.frozen.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.thawed.notify_all();
    }

    /// Holds the whole thread up: called wherever the server would do something.
    pub(crate) fn melt(&self) {
        let mut frozen = self.frozen.lock().unwrap_or_else(PoisonError::into_inner);
        while *frozen {
            frozen = self.thawed.wait(frozen).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.ice.thaw();
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, thread }) = running {
            stop.send_replace(true);
            // It ends by itself in a moment.
            drop(thread);
        }
    }
}

#[async_trait]
impl Pooled for Fake {
    type Setup = FakeOptions;

    async fn start(setup: FakeOptions) -> Result<Arc<Self>> {
        Self::start(setup)
    }

    fn setup(&self) -> &FakeOptions {
        &self.options
    }

    async fn serves(&self) -> Result<()> {
        self.serves().await
    }
}
