//! Asking an instance itself whether it is there.

use std::fmt::Debug;
use std::io::ErrorKind;
use std::time::Duration;

use callsign_core::{Endpoint, Instance, async_trait};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Probed {
    /// Somebody answers.
    Answering,
    /// Nobody answers.
    Silent,
    /// It cannot be found out from here.
    Impossible,
}

/// Probes instances that a registry no longer lists; see [`ClientBuilder::prober`](crate::ClientBuilder::prober).
#[async_trait]
pub trait Prober: Debug + Send + Sync + 'static {
    /// Asks `instance`. Bounded in time by itself.
    async fn probe(&self, instance: &Instance) -> Probed;
}

/// Connects to an instance's endpoints by TCP: one that accepts is enough.
#[derive(Debug, Clone)]
pub struct TcpProber {
    timeout: Duration,
}

/// Protocols whose endpoints do not listen on TCP.
const NOT_TCP: [&str; 4] = ["udp", "quic", "h3", "dtls"];

impl TcpProber {
    /// Waits for `timeout` at the most; 500 ms by default.
    #[must_use]
    pub fn new(timeout: Duration) -> Self {
        Self { timeout }
    }

    async fn connect(&self, endpoint: &Endpoint) -> Probed {
        match timeout(self.timeout, TcpStream::connect((&*endpoint.host, endpoint.port.get()))).await {
            Ok(Ok(_)) => Probed::Answering,
            Err(_) => Probed::Silent,
            Ok(Err(error)) => match error.kind() {
                ErrorKind::ConnectionRefused
                | ErrorKind::ConnectionReset
                | ErrorKind::TimedOut
                | ErrorKind::HostUnreachable => Probed::Silent,
                // Our own trouble: no route, no name service, no file descriptors left.
                _ => Probed::Impossible,
            },
        }
    }
}

impl Default for TcpProber {
    fn default() -> Self {
        Self::new(Duration::from_millis(500))
    }
}

#[async_trait]
impl Prober for TcpProber {
    async fn probe(&self, instance: &Instance) -> Probed {
        let on_tcp = instance.endpoints.iter().filter(|endpoint| !NOT_TCP.contains(&&*endpoint.protocol));
        let mut probes: FuturesUnordered<_> = on_tcp.map(|endpoint| self.connect(endpoint)).collect();
        let mut found = Probed::Impossible;
        while let Some(probed) = probes.next().await {
            match probed {
                Probed::Answering => return Probed::Answering,
                Probed::Silent => found = Probed::Silent,
                Probed::Impossible => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn instance(endpoints: &[&str]) -> Instance {
        let builder = Instance::builder("orders");
        endpoints.iter().fold(builder, |builder, endpoint| builder.endpoint(*endpoint)).build().unwrap()
    }

    #[tokio::test]
    async fn one_endpoint_that_accepts_is_enough_and_udp_cannot_be_probed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = format!("http://{}", listener.local_addr().unwrap());
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            format!("http://{}", listener.local_addr().unwrap())
        };
        let prober = TcpProber::default();
        assert_eq!(prober.probe(&instance(&[&closed, &open])).await, Probed::Answering);
        assert_eq!(prober.probe(&instance(&[&closed])).await, Probed::Silent);
        assert_eq!(prober.probe(&instance(&["udp://127.0.0.1:9"])).await, Probed::Impossible);
    }
}
