//! One member of the cluster, for as long as it serves.
//!
//! Each member gets a client of its own: over a list of endpoints the crate goes on picking the dead ones (grpc-rust#2839).
//! All time-outs are ours: the crate's own do not cover what comes on a stream.

use std::fmt;
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use callsign_core::config::TlsMaterial;
use callsign_core::{Error, ErrorKind, Result};
use etcd_client::{
    Certificate, Client, ConnectOptions, GetOptions, GetResponse, Identity, KvClient, LeaseClient,
    LeaseTimeToLiveOptions, ResponseHeader, TlsOptions, Txn, TxnResponse,
};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::config::Settings;
use crate::error::{Call, Failure, Verdict, judge, judge_first, timed_out};
use crate::login::Login;
use crate::watch::Watches;

/// Listings of many large values come in one message; the crate takes 4 MiB unless told.
const MESSAGE_SIZE: usize = 64 * 1024 * 1024;
const QUIET: Duration = Duration::from_secs(1);

pub(crate) struct Connection {
    /// Each connection of a session has another one.
    number: u64,
    endpoint: String,
    login: Login,
    kv: KvClient,
    lease: LeaseClient,
    watches: Watches,
    op_timeout: Duration,
    lost: watch::Sender<Option<Error>>,
    /// When it last answered.
    heard_at: Mutex<Instant>,
}

/// What a call is about, for errors.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    text: &'a str,
    write: bool,
    /// Whether nothing was asked over this connection before.
    first: bool,
    /// The prefix that a role needs rights on; empty where that is not known.
    rights: &'a str,
}

impl<'a> Subject<'a> {
    pub(crate) const fn read(text: &'a str) -> Self {
        Self { text, write: false, first: false, rights: "" }
    }

    /// The first question.
    const CONNECT: Subject<'static> = Subject { text: "connect", write: false, first: true, rights: "" };

    pub(crate) const fn write(text: &'a str) -> Self {
        Self { text, write: true, first: false, rights: "" }
    }

    /// With the prefix that a role needs rights on.
    pub(crate) const fn within(mut self, rights: &'a str) -> Self {
        self.rights = rights;
        self
    }
}

impl Connection {
    /// Connects to `endpoint` and logs in, where there is a login. With `require_leader` the member refuses whatever
    /// it is asked while it is cut off from its peers, and ends its streams.
    pub(crate) async fn open(
        settings: &Settings,
        endpoint: &str,
        number: u64,
        require_leader: bool,
    ) -> Result<Self, Failure> {
        let call = Call { endpoint, subject: "connect", write: false, rights: "" };
        let misconfigured = |error| Failure { error, verdict: Verdict::Misconfigured };
        let options = options(settings, require_leader).map_err(misconfigured)?;
        let has_login = settings.login().map_err(misconfigured)?.is_some();
        // Hashing a password keeps a server busy for some 100 ms, and longer when many log in at a time.
        let limit = settings.op_timeout;
        let client = match timeout(limit, Client::connect([endpoint], Some(options))).await {
            Ok(connected) => connected.map_err(|error| judge_first(error, &call))?,
            Err(_) => return Err(timed_out(limit, &call)),
        };
        let lost = watch::Sender::new(None);
        let login = Login::new(client.clone(), has_login);
        let watch = client.watch_client().max_decoding_message_size(MESSAGE_SIZE);
        let watches = Watches::new(watch, login.clone(), endpoint.to_owned(), settings, lost.clone());
        Ok(Self {
            number,
            endpoint: endpoint.to_owned(),
            kv: client.kv_client().max_decoding_message_size(MESSAGE_SIZE),
            lease: client.lease_client(),
            login,
            watches,
            op_timeout: limit,
            lost,
            heard_at: Mutex::new(Instant::now()),
        })
    }

    pub(crate) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub(crate) fn watches(&self) -> &Watches {
        &self.watches
    }

    /// Gives the connection up. Only the first cause counts.
    pub(crate) fn fail(&self, cause: Error) {
        self.lost.send_if_modified(|held| held.is_none() && held.replace(cause).is_none());
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    /// The error of a call, which ends the connection where it speaks against it.
    pub(crate) fn judged(&self, Failure { error, verdict }: Failure) -> Error {
        if matches!(verdict, Verdict::Rotate | Verdict::NoQuorum | Verdict::Misconfigured) {
            self.fail(error.clone());
        }
        error
    }

    /// An answer that makes no sense.
    pub(crate) fn strange(&self, what: &str) -> Failure {
        Failure { error: Error::unexpected(format!("{}: {what}", self.endpoint)), verdict: Verdict::Rotate }
    }

    /// Waits until the connection is given up.
    pub(crate) async fn lost(&self) -> Error {
        let mut lost = self.lost.subscribe();
        // The sender lives as long as `self`.
        let cause = lost.wait_for(Option::is_some).await.ok().and_then(|cause| cause.clone());
        cause.unwrap_or_else(|| Error::unavailable("the connection was given up"))
    }

    /// Lets `send` ask, within `limit`, and once more after another login where the last one has run out.
    async fn ask<T, F>(
        &self,
        subject: Subject<'_>,
        limit: Duration,
        send: impl Fn() -> F + Send + Sync,
    ) -> Result<T, Failure>
    where
        T: Send,
        F: Future<Output = Result<T, etcd_client::Error>> + Send,
    {
        let Subject { text, write, first, rights } = subject;
        let call = Call { endpoint: &self.endpoint, subject: text, write, rights };
        let once = || async {
            match timeout(limit, send()).await {
                Ok(answer) if first => answer.map_err(|error| judge_first(error, &call)),
                Ok(answer) => answer.map_err(|error| judge(error, &call)),
                Err(_) => Err(timed_out(limit, &call)),
            }
        };
        let logins = self.login.count();
        let answer = match once().await {
            Err(failure) if failure.verdict == Verdict::RefreshToken => {
                self.login.again(logins, failure, &call, self.op_timeout).await?;
                once().await
            }
            answer => answer,
        };
        if answer.is_ok() {
            *self.heard_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        }
        answer
    }

    /// Whether the member has not answered lately. What may take long is then asked only after something short.
    pub(crate) fn is_quiet(&self) -> bool {
        self.heard_at.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > QUIET
    }

    pub(crate) async fn get(
        &self,
        subject: Subject<'_>,
        limit: Duration,
        key: &[u8],
        options: GetOptions,
    ) -> Result<GetResponse, Failure> {
        self.ask(subject, limit, || {
            let (mut kv, options) = (self.kv.clone(), options.clone());
            async move { kv.get(key, Some(options)).await }
        })
        .await
    }

    pub(crate) async fn txn(&self, subject: Subject<'_>, txn: Txn) -> Result<TxnResponse, Failure> {
        self.ask(subject, self.op_timeout, || {
            let (mut kv, txn) = (self.kv.clone(), txn.clone());
            async move { kv.txn(txn).await }
        })
        .await
    }

    /// A lease, and the ttl that was granted.
    pub(crate) async fn grant(&self, seconds: i64) -> Result<(i64, Duration), Failure> {
        let granted = self.ask(Subject::write("grant a lease"), self.op_timeout, || {
            let mut lease = self.lease.clone();
            async move { lease.grant(seconds, None).await }
        });
        let granted = granted.await?;
        Ok((granted.id(), seconds_of(granted.ttl())))
    }

    /// Renews a lease: one stream for each time. It costs what a call costs, and never carries a login that has run out
    /// meanwhile (etcd 3.5.28 and newer look at it with each renewal).
    pub(crate) async fn keep_alive(&self, id: i64) -> Result<(), Failure> {
        let renewed = self.ask(Subject::write("renew the lease"), self.op_timeout, || {
            let mut lease = self.lease.clone();
            async move { lease.keep_alive(id).await }
        });
        renewed.await.map(drop)
    }

    /// The keys that are attached to a lease.
    pub(crate) async fn keys_of(&self, id: i64) -> Result<Vec<Vec<u8>>, Failure> {
        let response = self.ask(Subject::read("look at the lease"), self.op_timeout, || {
            let mut lease = self.lease.clone();
            async move { lease.time_to_live(id, Some(LeaseTimeToLiveOptions::new().with_keys())).await }
        });
        Ok(response.await?.0.keys)
    }

    /// Asks for any answer, proven or not.
    pub(crate) async fn reach(&self, prefix: &[u8], limit: Duration) -> Result<(), Failure> {
        let options = GetOptions::new().with_prefix().with_keys_only().with_limit(1).with_serializable();
        match self.get(Subject::CONNECT, limit, prefix, options).await {
            Err(failure) if !is_denied(&failure) => Err(failure),
            _ => Ok(()),
        }
    }

    /// Asks for a proof of a quorum: a linearizable read of nothing much below `prefix`. The header of the answer, unless
    /// the login may not read there, which is an answer, too.
    pub(crate) async fn prove(&self, prefix: &[u8]) -> Result<Option<ResponseHeader>, Failure> {
        let options = GetOptions::new().with_prefix().with_keys_only().with_limit(1);
        match self.get(Subject::CONNECT, self.op_timeout, prefix, options).await {
            Ok(mut response) => Ok(response.take_header()),
            Err(failure) if is_denied(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("number", &self.number)
            .field("endpoint", &self.endpoint)
            .field("lost", &self.is_lost())
            .finish_non_exhaustive()
    }
}

fn is_denied(failure: &Failure) -> bool {
    failure.error.kind() == ErrorKind::PermissionDenied
}

fn seconds_of(ttl: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl).unwrap_or_default())
}

fn options(settings: &Settings, require_leader: bool) -> Result<ConnectOptions> {
    // No pings while idle: servers count them as abuse (etcd-client#42).
    let mut options = ConnectOptions::new()
        .with_keep_alive(settings.keep_alive_interval, settings.keep_alive_timeout)
        .with_keep_alive_while_idle(false)
        .with_connect_timeout(settings.connect_timeout)
        .with_require_leader(require_leader);
    if let Some((user, password)) = settings.login()? {
        options = options.with_user(user, password.expose());
    }
    if let Some(material) = settings.tls()? {
        options = options.with_tls(tls(&material));
    }
    Ok(options)
}

fn tls(material: &TlsMaterial) -> TlsOptions {
    let mut tls = match &material.ca {
        Some(ca) => TlsOptions::new().ca_certificate(Certificate::from_pem(ca)),
        None => TlsOptions::new().with_native_roots(),
    };
    if let Some(identity) = &material.identity {
        tls = tls.identity(Identity::from_pem(&identity.cert, identity.key.expose()));
    }
    if let Some(name) = &material.server_name {
        tls = tls.domain_name(name);
    }
    tls
}
