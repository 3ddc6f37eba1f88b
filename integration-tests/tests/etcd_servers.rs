//! The etcd that tests run on does what they ask of it: it starts in every set-up, is hurt, and heals.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use callsign_core::{Authority, Backend, Capabilities, Error, Result, async_trait};
use callsign_integration_tests::etcd::{Etcd, NAMESPACES, Options, PREFIX, Tls, Tokens, Version};
use callsign_integration_tests::proxy::{Direction, Mode};
use callsign_testkit::suite::{CaseResult, Stop};
use callsign_testkit::{Harness, Subject, run_with_threads};
use etcd_client::{Client, ConnectOptions, GetOptions, PutOptions};
use tokio::time::{Instant, sleep, timeout};

/// The cases start what they need.
struct NoHarness;

#[async_trait]
impl Harness for NoHarness {
    async fn client(&self) -> Result<Arc<dyn Backend>> {
        Err(Error::unsupported("the cases start what they need"))
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::all(Authority::Quorum)
    }
}

/// Several of them, on a machine that has a lot to do.
const ELECTIONS: Duration = Duration::from_secs(30);
const SIMPLE: Tokens = Tokens::Simple { ttl: Duration::from_secs(300) };
const JWT: Tokens = Tokens::Jwt { ttl: Duration::from_secs(300) };

async fn started(options: Options) -> CaseResult<Arc<Etcd>> {
    options.version.program().map_err(Stop::Missing)?;
    Ok(Etcd::start(options).await?)
}

#[track_caller]
fn ensure(condition: bool, complaint: impl FnOnce() -> String) -> CaseResult {
    if condition { Ok(()) } else { Err(Stop::failed(complaint())) }
}

async fn put(client: &mut Client, key: &str, value: &str) -> CaseResult<i64> {
    let put = client.put(key, value, None).await.map_err(|error| Stop::failed(error.to_string()))?;
    Ok(put.header().map_or(0, etcd_client::ResponseHeader::revision))
}

/// What a quorum says of `key`. An election may be on its way, where all is slow.
async fn holds(client: &mut Client, key: &str, expected: Option<&str>) -> CaseResult {
    let until = Instant::now() + ELECTIONS;
    let got = loop {
        match client.get(key, None).await {
            Ok(got) => break got,
            Err(error) if Instant::now() >= until => return Err(Stop::failed(format!("`{key}`: {error}"))),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    };
    let found = got.kvs().first().map(|kv| String::from_utf8_lossy(kv.value()).into_owned());
    ensure(found.as_deref() == expected, || format!("`{key}` is {found:?} instead of {expected:?}"))
}

/// A single member: stopped, frozen, wiped.
async fn single(version: Version) -> CaseResult {
    let etcd = started(Options::new(version)).await?;
    let mut client = etcd.raw().await?;
    put(&mut client, "/a", "1").await?;

    let outage = etcd.kill_all().await?;
    ensure(client.get("/a", None).await.is_err(), || "a killed server answers".to_owned())?;
    outage.heal().await?;
    holds(&mut client, "/a", Some("1")).await?;

    let freeze = etcd.freeze_all().await?;
    let answer = timeout(Duration::from_secs(1), client.get("/a", None)).await;
    ensure(answer.is_err(), || format!("a frozen server answers: {answer:?}"))?;
    freeze.heal().await?;
    holds(&mut client, "/a", Some("1")).await?;

    etcd.wipe().await?;
    holds(&mut client, "/a", None).await
}

/// Three members: whoever is missing, a majority goes on.
async fn cluster(version: Version) -> CaseResult {
    let etcd = started(Options::new(version).with_cluster()).await?;
    put(&mut etcd.raw().await?, "/a", "1").await?;
    let leader = etcd.leader().await?;

    let outage = etcd.kill([leader]).await?;
    let mut other = etcd.raw_at((leader + 1) % 3).await?;
    put_within(&mut other, "/a", "2", ELECTIONS).await?;
    let successor = etcd.leader().await?;
    ensure(successor != leader, || "a killed member leads".to_owned())?;
    outage.heal().await?;
    holds(&mut etcd.raw_at(leader).await?, "/a", Some("2")).await?;

    let outage = etcd.lose_quorum().await?;
    let left = etcd.raw_at(successor).await;
    ensure(!serves(&mut left?).await, || "one of three answers for all".to_owned())?;
    outage.heal().await?;

    let freeze = etcd.freeze([0]).await?;
    put_within(&mut etcd.raw_at(1).await?, "/a", "3", ELECTIONS).await?;
    freeze.heal().await?;
    holds(&mut etcd.raw_at(0).await?, "/a", Some("3")).await?;

    etcd.rolling_restart().await?;
    holds(&mut etcd.raw_at(2).await?, "/a", Some("3")).await?;
    etcd.wipe().await?;
    holds(&mut etcd.raw_at(1).await?, "/a", None).await
}

/// A member that is cut off is alone, both ways, and the others are not; leader or follower.
async fn isolation(version: Version) -> CaseResult {
    let etcd = started(Options::new(version).with_cluster()).await?;
    let leader = etcd.leader().await?;
    for alone in [leader, (leader + 1) % 3] {
        let isolation = etcd.isolate(alone).await?;
        let cut_off = etcd.raw_at(alone).await?;
        let (first, second) = ((alone + 1) % 3, (alone + 2) % 3);
        let text = format!("without {alone}");
        put_within(&mut etcd.raw_at(first).await?, "/a", &text, ELECTIONS).await?;
        holds(&mut etcd.raw_at(second).await?, "/a", Some(&text)).await?;
        // Longer than an election takes, and with several connections of each kind tried anew.
        for _ in 0..3 {
            ensure(!serves(&mut cut_off.clone()).await, || {
                format!("member {alone} still hears of the others")
            })?;
            holds(&mut etcd.raw_at(second).await?, "/a", Some(&text)).await?;
        }
        let stale = GetOptions::new().with_serializable();
        let got = cut_off.clone().get("/a", Some(stale)).await;
        let got = got.map_err(|error| Stop::failed(format!("it does not serve what it knows: {error}")))?;
        let known = got.kvs().first().map(|kv| kv.value() == text.as_bytes());
        ensure(known != Some(true), || "it knows what was written without it".to_owned())?;
        isolation.heal().await?;
        holds(&mut etcd.raw_at(alone).await?, "/a", Some(&text)).await?;
    }
    let numbers: Vec<_> =
        etcd.members().iter().map(|member| member.server().running().map(|p| p.id())).collect();
    ensure(numbers.iter().all(std::result::Result::is_ok), || "a member has died".to_owned())
}

async fn serves(client: &mut Client) -> bool {
    matches!(timeout(Duration::from_secs(2), client.get("/a", None)).await, Ok(Ok(_)))
}

/// Elections take their time.
async fn put_within(client: &mut Client, key: &str, value: &str, within: Duration) -> CaseResult {
    let until = Instant::now() + within;
    loop {
        match put(client, key, value).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() >= until => return Err(error),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// With TLS nobody gets in without the right authority, and with mutual TLS nobody without a certificate.
async fn tls(version: Version) -> CaseResult {
    for kind in [Tls::Server, Tls::Mutual] {
        let etcd = started(Options::new(version).with_tls(kind)).await?;
        put(&mut etcd.raw().await?, "/a", "1").await?;
        let stranger = Etcd::start(Options::new(version).with_tls(Tls::Server)).await?;
        let endpoint = etcd.endpoints().concat();
        ensure(endpoint.starts_with("https://"), || endpoint.clone())?;
        let trust = |of: &Etcd| {
            let material = of.tls().unwrap_or_default().load()?;
            let ca = etcd_client::Certificate::from_pem(material.ca.unwrap_or_default());
            Ok::<_, Error>(etcd_client::TlsOptions::new().ca_certificate(ca))
        };
        for (options, gets_in) in [(trust(&etcd)?, kind == Tls::Server), (trust(&stranger)?, false)] {
            let options = ConnectOptions::new().with_tls(options).with_timeout(Duration::from_secs(2));
            let client = Client::connect([&endpoint], Some(options)).await;
            let mut client = client.map_err(|error| Stop::failed(error.to_string()))?;
            let answer = client.get("/a", None).await;
            ensure(answer.is_ok() == gets_in, || format!("{kind:?}: {answer:?} instead of {gets_in}"))?;
        }
        let outage = etcd.kill_all().await?;
        outage.heal().await?;
        holds(&mut etcd.raw().await?, "/a", Some("1")).await?;
    }
    Ok(())
}

/// The tenant has its own keys and no others, whatever its tokens are, also after a wipe.
async fn auth(version: Version, tokens: Tokens) -> CaseResult {
    let etcd = started(Options::new(version).with_auth(tokens)).await?;
    for wiped in [false, true] {
        if wiped {
            etcd.wipe().await?;
        }
        let Some(login) = etcd.tenant() else { return Err(Stop::failed("nobody logs in")) };
        let options = ConnectOptions::new().with_user(&login.user, &login.password);
        let client = Client::connect(etcd.endpoints(), Some(options)).await;
        let mut client = client.map_err(|error| Stop::failed(error.to_string()))?;
        let own = format!("{PREFIX}/{NAMESPACES}1/i/default/orders/one");
        put(&mut client, &own, "1").await?;
        holds(&mut client, &own, Some("1")).await?;
        let foreign = client.put(format!("{PREFIX}/live/i/default/orders/one"), "1", None).await;
        ensure(foreign.is_err(), || "the tenant writes what is not its own".to_owned())?;
        let nobody = Client::connect(etcd.endpoints(), None).await;
        let nobody = nobody.map_err(|error| Stop::failed(error.to_string()))?.get(own, None).await;
        ensure(nobody.is_err(), || "nobody has to log in".to_owned())?;
        put(&mut etcd.raw().await?, "/a", "1").await?;
    }
    let outage = etcd.kill_all().await?;
    outage.heal().await?;
    holds(&mut etcd.raw().await?, "/a", Some("1")).await
}

/// A simple token ends in time.
async fn tokens_end(version: Version) -> CaseResult {
    let ttl = Duration::from_secs(1);
    let etcd = started(Options::new(version).with_auth(Tokens::Simple { ttl })).await?;
    let mut client = etcd.raw().await?;
    put(&mut client, "/a", "1").await?;
    // Every use extends it, so the pauses grow.
    let mut pause = ttl;
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        sleep(pause).await;
        match client.get("/a", None).await {
            Err(error) if error.to_string().contains("invalid auth token") => return Ok(()),
            other => ensure(Instant::now() < until, || format!("a token does not end: {other:?}"))?,
        }
        pause += ttl;
    }
}

/// What is full says so.
async fn quota(version: Version) -> CaseResult {
    let etcd = started(Options::new(version).with_quota(4 * 1024 * 1024)).await?;
    let mut client = etcd.raw().await?;
    let large = "x".repeat(512 * 1024);
    for number in 0..40 {
        if let Err(error) = client.put(format!("/{number}"), large.as_str(), None::<PutOptions>).await {
            let error = error.to_string();
            return ensure(error.contains("database space exceeded"), || error.clone());
        }
    }
    Err(Stop::failed("20 MiB fit into 4"))
}

/// The way of clients can be closed and delayed, and the plain client does not take it.
async fn client_proxies(version: Version) -> CaseResult {
    let etcd = started(Options::new(version).with_client_proxies()).await?;
    let proxy = etcd.member(0)?.clients().ok_or_else(|| Stop::failed("there is no proxy"))?;
    let options = ConnectOptions::new().with_timeout(Duration::from_secs(1));
    let client = Client::connect(etcd.endpoints(), Some(options)).await;
    let mut client = client.map_err(|error| Stop::failed(error.to_string()))?;
    put(&mut client, "/a", "1").await?;
    ensure(proxy.counts().live == 1, || format!("{:?}", proxy.counts()))?;
    for mode in [Mode::Refuse, Mode::HalfOpen, Mode::Stall, Mode::Drop(Direction::ToClient)] {
        proxy.set(mode).await;
        let answer = client.put("/a", "2", None).await;
        ensure(answer.is_err(), || format!("{mode:?} lets an answer through"))?;
        put(&mut etcd.raw().await?, "/b", "1").await?;
        proxy.set(Mode::Pass).await;
        put_within(&mut client, "/a", "3", Duration::from_secs(5)).await?;
    }
    Ok(())
}

fn subject(version: Version) -> Subject {
    Subject::fresh(version.name(), || NoHarness)
        .proves("servers", "single", "A single member is stopped, frozen and wiped.", move || single(version))
        .proves("servers", "cluster", "A majority of three goes on.", move || cluster(version))
        .proves("servers", "isolation", "A member that is cut off is alone.", move || isolation(version))
        .proves("servers", "tls", "TLS lets in who has the right certificates.", move || tls(version))
        .proves("servers", "auth", "A tenant has its own keys.", move || auth(version, SIMPLE))
        .proves("servers", "jwt", "A tenant has its own keys, with signed tokens.", move || {
            auth(version, JWT)
        })
        .proves("servers", "tokens_end", "A token ends in time.", move || tokens_end(version))
        .proves("servers", "quota", "A full server says so.", move || quota(version))
        .proves("servers", "client_proxies", "The way of clients is ours.", move || client_proxies(version))
}

fn main() -> ExitCode {
    run_with_threads(4, [Version::V3_4, Version::V3_5, Version::Sid].map(subject))
}
