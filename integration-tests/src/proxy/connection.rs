//! One connection: both of its directions, and how it ends.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::{Instant, sleep_until};

use super::lane::View;
use super::mode::{Direction, Flow, Mode};

/// The most that a direction keeps of what it has read and not yet written; then it stops reading.
const KEPT: usize = 256 * 1024;
const CHUNK: usize = 16 * 1024;

/// Why a direction came to its end without having said so to the other side.
struct Broken;

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// Serves `client` until both directions have ended, or one is broken: then both sides are reset.
pub(super) async fn serve(mut client: TcpStream, upstream: SocketAddr, mut view: View) {
    if carry(&mut client, upstream, &mut view).await.is_err() {
        reset(&client);
    }
}

async fn carry(client: &mut TcpStream, upstream: SocketAddr, view: &mut View) -> Result<(), Broken> {
    view.decided().await;
    match view.mode() {
        Mode::HalfOpen => return swallow(client, view).await,
        Mode::Refuse => return Err(Broken),
        _ => {}
    }
    let mut server = TcpStream::connect(upstream).await?;
    let result = exchange(client, &mut server, view).await;
    if result.is_err() {
        reset(&server);
    }
    result
}

async fn exchange(client: &mut TcpStream, server: &mut TcpStream, view: &View) -> Result<(), Broken> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
    let ask = Pump::new(Direction::ToServer, view.clone()).run(from_client, to_server);
    let answer = Pump::new(Direction::ToClient, view.clone()).run(from_server, to_client);
    tokio::try_join!(ask, answer).map(|_| ())
}

/// Listens and says nothing. What was said is lost, so when the silence ends the connection does too.
async fn swallow(client: &mut TcpStream, view: &mut View) -> Result<(), Broken> {
    let mut buffer = vec![0; CHUNK];
    while view.mode() == Mode::HalfOpen {
        tokio::select! {
            biased;
            () = view.changed() => {}
            read = client.read(&mut buffer) => if read? == 0 { return Ok(()) },
        }
    }
    Err(Broken)
}

/// Has the end of the connection be a reset.
fn reset(stream: &TcpStream) {
    // A socket that is already dead cannot be made more so.
    let _ = stream.set_zero_linger();
}

/// One direction of a connection.
struct Pump {
    direction: Direction,
    view: View,
    /// What was read, with the time from which it may be written.
    kept: VecDeque<(Instant, Vec<u8>)>,
    kept_bytes: usize,
    /// Bytes were swallowed: what follows them would make no sense.
    torn: bool,
    /// The sender has said all.
    ended: bool,
}

impl Pump {
    fn new(direction: Direction, view: View) -> Self {
        Self { direction, view, kept: VecDeque::new(), kept_bytes: 0, torn: false, ended: false }
    }

    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Broken> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let flow = self.view.flow(self.direction);
            let passes = matches!(flow, Flow::Pass { .. });
            if flow == Flow::Reset || (passes && self.torn) {
                return Err(Broken);
            }
            if passes && self.ended && self.kept.is_empty() {
                to.shutdown().await?;
                return Ok(());
            }
            let reads = !self.ended && (flow == Flow::Swallow || (passes && self.kept_bytes < KEPT));
            let writes = passes && !self.kept.is_empty();
            // In this order: what is said after a change is treated as the change says.
            tokio::select! {
                biased;
                () = self.view.changed() => {}
                written = write_when_due(&mut to, self.kept.front()), if writes => self.written(written?),
                read = from.read(&mut buffer), if reads => self.read(&buffer[..read?], flow),
            }
        }
    }

    fn read(&mut self, bytes: &[u8], flow: Flow) {
        match flow {
            _ if bytes.is_empty() => self.ended = true,
            Flow::Pass { later } => self.keep(bytes, later),
            _ => self.torn = true,
        }
    }

    fn keep(&mut self, bytes: &[u8], later: Duration) {
        self.kept_bytes += bytes.len();
        self.kept.push_back((Instant::now() + later, bytes.to_vec()));
    }

    fn written(&mut self, bytes: usize) {
        self.kept_bytes -= bytes;
        if let Some((_, chunk)) = self.kept.front_mut() {
            chunk.drain(..bytes);
            if chunk.is_empty() {
                self.kept.pop_front();
            }
        }
    }
}

async fn write_when_due(to: &mut WriteHalf<'_>, next: Option<&(Instant, Vec<u8>)>) -> io::Result<usize> {
    let Some((due, chunk)) = next else { return Ok(0) };
    sleep_until(*due).await;
    match to.write(chunk).await? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        written => Ok(written),
    }
}
