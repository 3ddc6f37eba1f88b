//! What a person may have got wrong, and what is no etcd: each refusal says what, where, and what to do.

use std::net::SocketAddr;
use std::time::Duration;

use callsign_core::ErrorKind::{PermissionDenied, Timeout, Unauthorized, Unavailable, Unexpected};
use callsign_core::task::{Spawner, Task};
use callsign_integration_tests::Address;
use callsign_integration_tests::etcd::{NAMESPACES, PREFIX, Tokens};
use callsign_testkit::suite::client::observe::is_registered;
use callsign_testkit::suite::{CaseResult, Stop};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::program::Configured;
use crate::setup::Setup;
use crate::stage::{SOON, nothing_was_lost};

/// Who listens where an etcd should.
#[derive(Debug, Clone, Copy)]
enum Stranger {
    WebServer,
    Silent,
    HangsUp,
}

impl Stranger {
    async fn listen(self) -> CaseResult<(SocketAddr, Task)> {
        let failed = |error: std::io::Error| Stop::failed(format!("a stranger cannot listen: {error}"));
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let listening = async move {
            let mut open = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.extend(self.answer(stream).await);
            }
        };
        Ok((address, Spawner::current()?.spawn(listening)))
    }

    /// What stays open.
    async fn answer(self, mut stream: TcpStream) -> Option<TcpStream> {
        match self {
            Self::Silent => Some(stream),
            Self::HangsUp => None,
            Self::WebServer => {
                // Whatever becomes of it is what a web server does to who does not speak its language.
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
                Some(stream)
            }
        }
    }
}

pub(crate) async fn what_is_no_etcd_is_told_in_time(_: Setup) -> CaseResult {
    let nobody = Address::reserve()?;
    let endpoint = format!("http://{}", nobody.at(2379));
    let refused = ["connect", &endpoint, "Connection refused", "does etcd listen there?"];
    Configured::new([&endpoint]).is_refused(&[Unavailable], &refused).await?;
    for (stranger, kinds, says) in [
        // What it says is not understood, or its connection is found closed.
        (Stranger::WebServer, [Unexpected, Unavailable].as_slice(), "is this etcd"),
        (Stranger::Silent, &[Timeout], "no answer within 3s"),
        (Stranger::HangsUp, &[Unavailable], "`https://`"),
    ] {
        let (address, _task) = stranger.listen().await?;
        let endpoint = format!("http://{address}");
        Configured::new([&endpoint]).is_refused(kinds, &["connect", &endpoint, says]).await?;
    }
    Ok(())
}

pub(crate) async fn logins_that_do_not_fit_are_told_and_disturb_nobody(setup: Setup) -> CaseResult {
    let tokens = Tokens::Simple { ttl: Duration::from_secs(300) };
    let stage = setup.with(|options| options.with_auth(tokens)).stage().await?;
    let client = stage.client()?;
    let mut events = client.events();
    let owner = stage.owner(&client, &stage.service("orders")?, "one", Duration::from_secs(4)).await?;
    let right = Configured::like(&stage.config()).within(stage.namespace().as_str());
    let endpoint = stage.etcd().endpoints().concat();
    right.works().await?;
    let advice = ["connect", &endpoint, "authentication failed", "`username` and `password`"];
    let wrong = "guessed 4711";
    right.clone().with("password", wrong).is_refused(&[Unauthorized], &advice).await?;
    right.clone().with("username", "nobody").is_refused(&[Unauthorized], &advice).await?;
    let nobody = Configured::new([&endpoint]).within(stage.namespace().as_str());
    nobody.is_refused(&[Unauthorized], &["connect", &endpoint, "set `username` and `password`"]).await?;
    let elsewhere = format!("not-{NAMESPACES}");
    let prefix = format!("on the prefix {PREFIX}/{elsewhere}/");
    let denied = right.clone().within(elsewhere);
    denied.is_refused(&[PermissionDenied], &[&endpoint, "permission denied", "grant", &prefix]).await?;
    // Who was there before has not heard of any of it.
    is_registered(&owner.registration, SOON).await?;
    nothing_was_lost(&mut events)?;
    right.works().await
}

pub(crate) async fn login_that_nobody_asked_for_is_told(setup: Setup) -> CaseResult {
    let stage = setup.stage().await?;
    let endpoint = stage.etcd().endpoints().concat();
    let advice = ["connect", &endpoint, "authentication is not enabled", "`username`"];
    let configured = Configured::new([&endpoint]).with("username", "somebody").with("password", "something");
    configured.is_refused(&[callsign_core::ErrorKind::ConfigInvalid], &advice).await
}
