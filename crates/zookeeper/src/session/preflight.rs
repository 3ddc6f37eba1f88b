//! Why there is no session: a look at each server of our own.
//!
//! The client library says `NoHosts` or `Timeout`, whatever the reason, and keeps the reason to its log.

use std::io;
use std::time::Duration;

use callsign_core::{Error, ErrorKind};
use futures::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use zookeeper_client as zk;

use super::tls::connector;
use crate::config::{Server, Settings};

/// A connection, a handshake and an answer each take no longer.
const STEP: Duration = Duration::from_secs(1);
/// The command that every server answers, unless it was told not to; with as many bytes as a TLS server needs to see that
/// it is none of its own.
const COMMAND: &[u8] = b"srvr\n";
/// More of an answer is of no use.
const ANSWER: usize = 512;

/// What was found at a server.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    says: String,
    /// Nobody but a person will mend it.
    misconfigured: bool,
}

impl Finding {
    fn trouble(says: impl Into<String>) -> Self {
        Self { says: says.into(), misconfigured: false }
    }

    fn misconfigured(says: impl Into<String>) -> Self {
        Self { says: says.into(), misconfigured: true }
    }
}

/// What `refusal` of the library means.
pub(super) async fn explain(settings: &Settings, refusal: zk::Error) -> Error {
    if refusal == zk::Error::AuthFailed {
        return Error::new(
            ErrorKind::Unauthorized,
            "the servers refuse the login: check `login`, `username` and `password`",
        )
        .with_source(refusal);
    }
    let tls = match settings.tls().and_then(|material| material.as_ref().map(connector).transpose()) {
        Ok(tls) => tls,
        Err(error) => return error,
    };
    let findings = join_all(settings.servers.iter().map(|server| look(server, tls.as_ref()))).await;
    let says: Vec<_> = settings
        .servers
        .iter()
        .zip(&findings)
        .map(|(server, finding)| format!("{server}: {}", finding.says))
        .collect();
    let context = format!("no server gives a session: {}", says.join("; "));
    let error = if findings.iter().all(|finding| finding.misconfigured) {
        Error::config(context)
    } else {
        Error::unavailable(context)
    };
    error.with_source(refusal)
}

async fn look(server: &Server, tls: Option<&TlsConnector>) -> Finding {
    let addresses = match timeout(STEP, lookup_host((server.host.as_str(), server.port))).await {
        Ok(Ok(addresses)) => addresses.collect::<Vec<_>>(),
        Ok(Err(_)) => return Finding::trouble("the host is not known by this name"),
        Err(_) => return Finding::trouble(format!("the host's name is not resolved within {STEP:?}")),
    };
    let stream = match timeout(STEP, TcpStream::connect(addresses.as_slice())).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Finding::trouble("connection refused, does ZooKeeper listen there?");
        }
        Ok(Err(error)) => return Finding::trouble(format!("cannot connect, {error}")),
        Err(_) => return Finding::trouble(format!("no connection within {STEP:?}")),
    };
    let Some(tls) = tls else { return ask(stream, false).await };
    let Ok(name) = ServerName::try_from(server.host.clone()) else {
        return Finding::misconfigured("no certificate can be for such a host");
    };
    match timeout(STEP, tls.connect(name, stream)).await {
        Ok(Ok(stream)) => ask(stream, true).await,
        Ok(Err(error)) => handshake(&error),
        Err(_) => Finding::trouble(format!("no TLS handshake within {STEP:?}, does it speak TLS?")),
    }
}

/// Asks for a word in clear.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, encrypted: bool) -> Finding {
    let mut said = Vec::new();
    let answer = timeout(STEP, async {
        stream.write_all(COMMAND).await?;
        stream.flush().await?;
        stream.take(ANSWER as u64).read_to_end(&mut said).await
    })
    .await;
    match answer {
        Ok(Err(error)) if encrypted && said.is_empty() => return handshake(&error),
        Err(_) if said.is_empty() => return Finding::trouble(format!("it is silent for {STEP:?}")),
        _ => {}
    }
    heard(&said, encrypted)
}

fn heard(said: &[u8], encrypted: bool) -> Finding {
    /// What a TLS server begins an alert with.
    const ALERT: u8 = 0x15;
    let text = String::from_utf8_lossy(said);
    if text.contains("not currently serving requests") || text.contains("Mode: read-only") {
        Finding::trouble("it has no quorum, is a majority of the servers there?")
    } else if text.contains("ookeeper version") || text.contains("not in the whitelist") {
        Finding::trouble("it answers, and gave no session in time")
    } else if !encrypted && said.first().is_none_or(|first| *first == ALERT) {
        Finding::trouble("it hangs up, if it speaks TLS only, add the table `tls`")
    } else if said.is_empty() {
        Finding::trouble("it hangs up")
    } else {
        Finding::misconfigured("what answers there is no ZooKeeper, is the port right?")
    }
}

/// What an error of TLS means. By its words: the reasons are an open list.
fn handshake(error: &io::Error) -> Finding {
    let text = error.to_string();
    for (word, says) in [
        ("not valid for name", "its certificate is for another host: name it as its certificate does"),
        ("NotValidForName", "its certificate is for another host: name it as its certificate does"),
        ("UnknownIssuer", "its certificate is signed by somebody else: name whoever has in `tls.ca_file`"),
        ("BadSignature", "its certificate is signed by somebody else: name whoever has in `tls.ca_file`"),
        ("certificate expired", "its certificate has expired: renew it"),
        ("invalid peer certificate", "its certificate is not valid"),
        (
            "received fatal alert",
            "it refuses this client: if it asks for a certificate, set `tls.cert_file` and `tls.key_file`",
        ),
        ("received corrupt message", "it speaks no TLS: leave the table `tls` out, or name its port for TLS"),
    ] {
        if text.contains(word) {
            return Finding::misconfigured(says);
        }
    }
    if text.contains("handshake eof") {
        return Finding::trouble("it hangs up, if it speaks no TLS, leave the table `tls` out");
    }
    Finding::trouble(format!("the TLS handshake fails, {text}: does it speak TLS?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_what_stands_there() {
        let says = |said: &[u8], encrypted| heard(said, encrypted).says;
        assert!(says(b"Zookeeper version: 3.8.0\nMode: standalone\n", false).contains("gave no session"));
        assert!(says(b"Zookeeper version: 3.8.0\nMode: read-only\n", false).contains("no quorum"));
        assert!(
            says(b"This ZooKeeper instance is not currently serving requests\n", true).contains("no quorum")
        );
        assert!(
            says(b"srvr is not executed because it is not in the whitelist.\n", false).contains("gave no")
        );
        assert!(says(b"", false).contains("`tls`") && says(&[0x15, 3, 3], false).contains("`tls`"));
        assert_eq!(says(b"", true), "it hangs up");
        assert_eq!(
            heard(b"HTTP/1.1 400 Bad Request\r\n", false),
            Finding::misconfigured("what answers there is no ZooKeeper, is the port right?")
        );
    }

    #[tokio::test]
    async fn what_keeps_from_each_server_is_told_of_each() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let servers = [free.to_string(), "no-such-host.invalid:1".to_owned()];
        let settings = crate::ZooKeeperConfig::default().with_servers(servers).settings().unwrap();
        let error = explain(&settings, zk::Error::NoHosts).await;
        assert_eq!(
            error.to_string(),
            format!(
                "unavailable: no server gives a session: {free}: connection refused, does ZooKeeper listen there?; \
                 no-such-host.invalid:1: the host is not known by this name"
            )
        );
    }
}
