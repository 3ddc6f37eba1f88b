//! Each mode of the proxy does to a connection what its name says, and no more.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use callsign_core::task::{Spawner, Task};
use callsign_integration_tests::proxy::{Direction, Mode, Proxy};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

const SOON: Duration = Duration::from_secs(5);
/// For what should not happen: long enough to see it if it did.
const QUIET: Duration = Duration::from_millis(200);
const NOBODY: &str = "127.0.0.1:0";

/// A server that answers with what it hears, and tells the test what that was.
struct Echo {
    address: SocketAddr,
    heard: mpsc::UnboundedReceiver<Vec<u8>>,
    _task: Task,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind(NOBODY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, heard) = mpsc::unbounded_channel();
        let serve = async move {
            let mut connections = FuturesUnordered::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => connections.push(echo(accepted.unwrap().0, tell.clone())),
                    Some(()) = connections.next() => {}
                }
            }
        };
        Self { address, heard, _task: Spawner::current().unwrap().spawn(serve) }
    }

    async fn hears(&mut self) -> Vec<u8> {
        timeout(SOON, self.heard.recv()).await.unwrap().unwrap()
    }

    async fn hears_nothing(&mut self) {
        assert_eq!(timeout(QUIET, self.heard.recv()).await.ok(), None);
    }
}

async fn echo(mut stream: TcpStream, tell: mpsc::UnboundedSender<Vec<u8>>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        if tell.send(buffer[..read].to_vec()).is_err() || stream.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn setup() -> (Echo, Proxy) {
    let echo = Echo::start().await;
    let proxy = Proxy::start(NOBODY.parse().unwrap(), echo.address).unwrap();
    (echo, proxy)
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn hears(stream: &mut TcpStream, expected: &[u8]) {
    let mut buffer = vec![0; expected.len()];
    timeout(SOON, stream.read_exact(&mut buffer)).await.unwrap().unwrap();
    assert_eq!(buffer, expected);
}

async fn hears_nothing(stream: &mut TcpStream) {
    assert!(timeout(QUIET, stream.read(&mut [0; 1])).await.is_err());
}

/// Says `words` and waits until they come back.
async fn talks(stream: &mut TcpStream, words: &[u8]) {
    stream.write_all(words).await.unwrap();
    hears(stream, words).await;
}

async fn is_reset(stream: &mut TcpStream) {
    let error = timeout(SOON, stream.read(&mut [0; 1])).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

async fn has_live(proxy: &Proxy, live: usize) {
    let until = Instant::now() + SOON;
    while proxy.counts().live != live {
        assert!(Instant::now() < until, "{:?}", proxy.counts());
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_passes_passes_whole_and_ends_as_it_ended() {
    let (_echo, proxy) = setup().await;
    let mut stream = connect(&proxy).await;
    let words: Vec<u8> = (0..1_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let (mut reads, mut writes) = stream.split();
    let mut back = Vec::new();
    let say = async {
        writes.write_all(&words).await.unwrap();
        writes.shutdown().await.unwrap();
    };
    let hear = async {
        reads.read_to_end(&mut back).await.unwrap();
    };
    timeout(SOON, async { tokio::join!(say, hear) }).await.unwrap();
    assert!(back == words);
    drop(stream);
    has_live(&proxy, 0).await;
    assert_eq!(proxy.counts().accepted, 1);
}

#[tokio::test]
async fn connections_do_not_wait_for_each_other() {
    let (_echo, proxy) = setup().await;
    let mut streams = Vec::new();
    for _ in 0..50 {
        streams.push(connect(&proxy).await);
    }
    for stream in streams.iter_mut().rev() {
        talks(stream, b"hello").await;
    }
    assert_eq!((proxy.counts().live, proxy.counts().accepted), (50, 50));
}

#[tokio::test]
async fn a_dead_server_is_a_reset() {
    let nobody = TcpListener::bind(NOBODY).await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start(NOBODY.parse().unwrap(), nobody).unwrap();
    // The reset may be there before the connection is.
    match TcpStream::connect(proxy.address()).await {
        Ok(mut stream) => is_reset(&mut stream).await,
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[tokio::test]
async fn delay_comes_later_each_way_and_does_not_add_up() {
    let (_echo, proxy) = setup().await;
    let mut stream = connect(&proxy).await;
    talks(&mut stream, b"before").await;
    proxy.set(Mode::Delay(Duration::from_millis(100))).await;
    let began = Instant::now();
    for _ in 0..20 {
        stream.write_all(b"x").await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    hears(&mut stream, &[b'x'; 20]).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn refuse_resets_and_closes_the_port_and_comes_back_on_it() {
    let (_echo, proxy) = setup().await;
    let mut stream = connect(&proxy).await;
    talks(&mut stream, b"before").await;
    proxy.set(Mode::Refuse).await;
    is_reset(&mut stream).await;
    let refused = TcpStream::connect(proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    proxy.set(Mode::Pass).await;
    talks(&mut connect(&proxy).await, b"after").await;
}

#[tokio::test]
async fn cut_resets_what_is_open_and_takes_what_comes() {
    let (_echo, proxy) = setup().await;
    let mut stream = connect(&proxy).await;
    talks(&mut stream, b"before").await;
    proxy.cut().await;
    is_reset(&mut stream).await;
    talks(&mut connect(&proxy).await, b"after").await;
    has_live(&proxy, 0).await;
}

#[tokio::test]
async fn half_open_accepts_and_says_nothing_until_it_is_over() {
    let (mut echo, proxy) = setup().await;
    let mut open = connect(&proxy).await;
    talks(&mut open, b"before").await;
    assert_eq!(echo.hears().await, b"before");
    proxy.set(Mode::HalfOpen).await;
    let mut new = connect(&proxy).await;
    for stream in [&mut open, &mut new] {
        stream.write_all(b"swallowed").await.unwrap();
        hears_nothing(stream).await;
    }
    echo.hears_nothing().await;
    proxy.set(Mode::Pass).await;
    is_reset(&mut open).await;
    is_reset(&mut new).await;
    talks(&mut connect(&proxy).await, b"after").await;
}

#[tokio::test]
async fn stall_builds_up_pressure_and_loses_nothing() {
    let (mut echo, proxy) = setup().await;
    let mut stream = connect(&proxy).await;
    talks(&mut stream, b"before").await;
    assert_eq!(echo.hears().await, b"before");
    proxy.set(Mode::Stall).await;
    // Nobody reads, so the sender is stopped after what the two ends of the first leg hold.
    let block = vec![7; 64 * 1024];
    let mut said = 0;
    while let Ok(wrote) = timeout(QUIET, stream.write(&block)).await {
        said += wrote.unwrap();
        assert!(said < 64 * 1024 * 1024, "the sender feels nothing");
    }
    echo.hears_nothing().await;
    proxy.set(Mode::Pass).await;
    let mut back = 0;
    let mut buffer = vec![0; 64 * 1024];
    while back < said {
        back += timeout(SOON, stream.read(&mut buffer)).await.unwrap().unwrap();
    }
    assert_eq!(back, said);
}

#[tokio::test]
async fn what_is_dropped_on_its_way_to_the_server_is_never_heard() {
    let (mut echo, proxy) = setup().await;
    let mut stream = connect(&proxy).await;
    talks(&mut stream, b"before").await;
    assert_eq!(echo.hears().await, b"before");
    proxy.set(Mode::Drop(Direction::ToServer)).await;
    stream.write_all(b"lost").await.unwrap();
    echo.hears_nothing().await;
    hears_nothing(&mut stream).await;
    proxy.set(Mode::Pass).await;
    is_reset(&mut stream).await;
}

#[tokio::test]
async fn what_is_dropped_on_its_way_to_the_client_was_done_all_the_same() {
    let (mut echo, proxy) = setup().await;
    let mut stream = connect(&proxy).await;
    proxy.set(Mode::Drop(Direction::ToClient)).await;
    stream.write_all(b"done").await.unwrap();
    assert_eq!(echo.hears().await, b"done");
    hears_nothing(&mut stream).await;
    proxy.set(Mode::Pass).await;
    is_reset(&mut stream).await;
}

#[tokio::test]
async fn a_proxy_that_is_dropped_takes_its_connections_along() {
    let (_echo, proxy) = setup().await;
    let mut stream = connect(&proxy).await;
    talks(&mut stream, b"before").await;
    let address = proxy.address();
    drop(proxy);
    let end = timeout(SOON, stream.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    let until = Instant::now() + SOON;
    while TcpStream::connect(address).await.is_ok() {
        assert!(Instant::now() < until, "the port is still open");
        sleep(Duration::from_millis(5)).await;
    }
}
