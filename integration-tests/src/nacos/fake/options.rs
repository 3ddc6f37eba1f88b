//! How a fake Nacos is set up.

use std::time::Duration;

/// Whom it lets in.
pub const USER: &str = "callsign";
/// The password of [`USER`], until it is changed.
pub const PASSWORD: &str = "00012345";

/// Who has to show what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Servers show a certificate.
    Server,
    /// And clients, too: nobody else is let in.
    Mutual,
    /// Servers do, and that of HTTP is one that somebody else has signed, as behind another proxy than gRPC's.
    StrangeHttp,
}

/// How a fake Nacos is set up: one server of version 3 without logins, unless told.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FakeOptions {
    /// How many servers there are, which know everything of each other at once.
    pub members: usize,
    /// Whether they tell their abilities, as from 2.3 on.
    pub negotiates: bool,
    /// Whether the login is at the path of Nacos 3, and not at that of its predecessors.
    pub v3: bool,
    /// Whether only [`USER`] may do anything; and how long a token is good for.
    pub token_ttl: Option<Duration>,
    /// What it says of a token's time, in seconds, instead of what is so.
    pub told_ttl: Option<u64>,
    /// Whether only the public namespace and these exist.
    pub namespaces: Option<Vec<String>>,
    /// How long after a change subscribers are told.
    pub push_delay: Duration,
    /// How long the head of the stream's answer is held back, as a server does that has nothing to say.
    pub held_back: Duration,
    /// How gRPC and HTTP are encrypted; `None`: not at all.
    pub tls: Option<Encryption>,
}

impl Default for FakeOptions {
    fn default() -> Self {
        Self {
            members: 1,
            negotiates: true,
            v3: true,
            token_ttl: None,
            told_ttl: None,
            namespaces: None,
            push_delay: Duration::from_millis(500),
            held_back: Duration::ZERO,
            tls: None,
        }
    }
}

impl FakeOptions {
    /// Three servers.
    #[must_use]
    pub fn with_cluster(mut self) -> Self {
        self.members = 3;
        self
    }

    /// As Nacos 2.1 and 2.2: no abilities, the older login, and the head of the stream's answer only with the first word.
    #[must_use]
    pub fn older(mut self) -> Self {
        (self.negotiates, self.v3) = (false, false);
        self.held_back = Duration::from_millis(300);
        self
    }

    /// Lets only [`USER`] in, with tokens that are good for `ttl`.
    #[must_use]
    pub fn with_logins(mut self, ttl: Duration) -> Self {
        self.token_ttl = Some(ttl);
        self
    }

    /// Says of every token that it is good for so many seconds, whatever is so.
    #[must_use]
    pub fn with_told_ttl(mut self, seconds: u64) -> Self {
        self.told_ttl = Some(seconds);
        self
    }

    /// Has only the public namespace and these exist.
    #[must_use]
    pub fn with_namespaces(mut self, namespaces: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.namespaces = Some(namespaces.into_iter().map(Into::into).collect());
        self
    }

    /// Encrypts gRPC and HTTP.
    #[must_use]
    pub fn with_tls(mut self) -> Self {
        self.tls = Some(Encryption::Server);
        self
    }

    /// Encrypts both, and lets only clients in that show a certificate.
    #[must_use]
    pub fn with_mutual_tls(mut self) -> Self {
        self.tls = Some(Encryption::Mutual);
        self
    }

    /// Encrypts both, and has HTTP show a certificate that somebody else has signed.
    #[must_use]
    pub fn with_strange_http(mut self) -> Self {
        self.tls = Some(Encryption::StrangeHttp);
        self
    }
}
