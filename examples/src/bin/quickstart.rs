//! The first thing to run: three instances of a service stop, crash and come back, while a client calls them fifty
//! times a second and never sees a call fail.
//!
//! ```text
//! cargo run --bin quickstart
//! ```
//!
//! It needs no server: with nothing configured, callsign uses its embedded registry. The same program runs on any
//! other: say which in `callsign.toml` or in `CALLSIGN_REGISTRY`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use callsign::{Callsign, Instance, RegisterOptions, RoundRobin, ServiceName, ServiceView, Snapshot, Ttl};
use callsign_examples::{Column, Process, Table, end, say};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

const GREETERS: [&str; 3] = ["greeter-1", "greeter-2", "greeter-3"];
/// How long a dead greeter stays listed at the most; the shortest there is, so that nobody has to wait for it here.
const TTL: Duration = Duration::from_secs(2);
/// How long a greeter that is told to stop goes on serving those who have not heard of it yet.
const NOTICE: Duration = Duration::from_secs(1);
/// How long to wait for anything before giving up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to let the reader look at the calls.
const LOOK: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> ExitCode {
    end(story().await)
}

/// One instance of the service. In real life this is a program of its own.
async fn greeter(id: &'static str, service: ServiceName, sigterm: Arc<Notify>) -> Result<()> {
    let callsign = Callsign::load()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let me = callsign.instance(service).id(id).endpoint(endpoint).build()?;
    let registration = callsign.register_with(me, RegisterOptions::new().with_ttl(Ttl::new(TTL)?)).await?;

    let app = Router::new().route("/", get(async move || id));
    let leave = async move {
        sigterm.notified().await;
        // Serves on until it is no longer listed. Should that fail, the lease ends by itself.
        let _ = registration.drain(NOTICE).await;
    };
    axum::serve(listener, app).with_graceful_shutdown(leave).await?;
    Ok(())
}

async fn story() -> Result<()> {
    let callsign = Callsign::load()?;
    // On a registry that others use, too, everybody gets a service of their own.
    let service = ServiceName::new(format!("greeter-{:04x}", fastrand::u16(..)))?;
    introduce(&callsign, &service);

    let view = callsign.service(service.clone())?;
    view.ready(PATIENCE).await?;
    let start = |id| Process::start(|sigterm| greeter(id, service.clone(), sigterm));
    let (first, second, third) = (start(GREETERS[0])?, start(GREETERS[1])?, start(GREETERS[2])?);
    let takes_calls = |seen: &Snapshot, id| seen.get(id).is_some_and(|greeter| greeter.routable());
    let picked = |id| view.wait_for(PATIENCE, move |seen| takes_calls(seen, id));
    let avoided = |id| view.wait_for(PATIENCE, move |seen| !takes_calls(seen, id));
    let gone = |id| view.wait_for(PATIENCE, move |seen| seen.get(id).is_none());
    view.wait_for(PATIENCE, |seen| seen.routable().len() == GREETERS.len()).await?;

    let mut caller = Caller::new(&view);
    let mut report = Report::begin();
    report.event("three greeters are registered", &view.snapshot());
    caller.call_until(sleep(LOOK)).await;
    report.calls(&mut caller);

    first.terminate();
    caller.call_until(avoided("greeter-1")).await?;
    report.event("greeter-1 is told to stop: it drains", &view.snapshot());
    caller.call_until(gone("greeter-1")).await?;
    report.calls(&mut caller);
    report.event("greeter-1 has left", &view.snapshot());
    caller.call_until(sleep(LOOK / 2)).await;
    report.calls(&mut caller);

    let first = start("greeter-1")?;
    caller.call_until(picked("greeter-1")).await?;
    report.event("greeter-1 is back, a new incarnation", &view.snapshot());
    caller.call_until(sleep(LOOK)).await;
    report.calls(&mut caller);

    second.kill();
    report.event("greeter-2 dies without a word", &view.snapshot());
    caller.call_until(avoided("greeter-2")).await?;
    report.calls(&mut caller);
    report.event("greeter-2's lease has ended", &view.snapshot());
    caller.call_until(sleep(LOOK / 2)).await;
    report.calls(&mut caller);

    let second = start("greeter-2")?;
    caller.call_until(picked("greeter-2")).await?;
    report.event("greeter-2 is back, a new incarnation", &view.snapshot());
    caller.call_until(sleep(LOOK)).await;
    report.calls(&mut caller);

    for greeter in [&first, &second, &third] {
        greeter.terminate();
    }
    for greeter in [first, second, third] {
        greeter.ended().await?;
    }
    report.sum_up();
    callsign.close(PATIENCE).await?;
    ensure!(report.total.failed == 0, "{} calls failed for the caller", report.total.failed);
    Ok(())
}

fn introduce(callsign: &Callsign, service: &ServiceName) {
    let registry = callsign.backend().info();
    let what = match registry.kind {
        "memory" => "the embedded one; no server is needed".to_owned(),
        kind => format!("type {kind}"),
    };
    say(format!("registry  {} ({what})", registry.name));
    say(format!("service   {service}: three instances, and a client that calls them 50 times a second"));
    say("");
    say(
        "A greeter's column says how the client sees it, and how many of the client's calls it has answered.",
    );
    say("");
}

/// Calls the service at a steady pace.
struct Caller {
    http: Client<HttpConnector, Body>,
    greeters: RoundRobin,
    pace: Interval,
    tally: Tally,
}

/// What became of calls.
#[derive(Default)]
struct Tally {
    answered: BTreeMap<String, u32>,
    /// Those that needed more than one instance.
    retried: u32,
    failed: u32,
}

impl Caller {
    /// How many instances to try before a call has failed.
    const TRIES: u32 = 3;
    /// How long one instance may take.
    const TIMEOUT: Duration = Duration::from_secs(1);

    fn new(view: &ServiceView) -> Self {
        let mut pace = interval(Duration::from_millis(20));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let http = Client::builder(TokioExecutor::new()).build_http();
        Self { http, greeters: view.round_robin(), pace, tally: Tally::default() }
    }

    /// Makes calls until `event` has happened.
    async fn call_until<T>(&mut self, event: impl Future<Output = T>) -> T {
        let mut event = std::pin::pin!(event);
        loop {
            tokio::select! {
                happened = &mut event => return happened,
                _ = self.pace.tick() => {}
            }
            self.call().await;
        }
    }

    /// One call. An instance that does not answer is no reason to fail: the next one is asked.
    async fn call(&mut self) {
        for attempt in 0..Self::TRIES {
            let Some(greeter) = self.greeters.pick() else { break };
            if let Ok(name) = self.ask(&greeter).await {
                *self.tally.answered.entry(name).or_default() += 1;
                self.tally.retried += u32::from(attempt > 0);
                return;
            }
        }
        self.tally.failed += 1;
    }

    /// Asks one instance for its name.
    async fn ask(&self, greeter: &Instance) -> Result<String> {
        let url = greeter.endpoints.primary().to_string().parse()?;
        let answer = timeout(Self::TIMEOUT, self.http.get(url)).await??;
        ensure!(answer.status().is_success(), "{}", answer.status());
        let body = to_bytes(Body::new(answer.into_body()), 1024).await?;
        Ok(String::from_utf8(body.into())?)
    }
}

/// The table on the screen.
struct Report {
    table: Table,
    total: Tally,
}

impl Report {
    fn begin() -> Self {
        let [first, second, third] = GREETERS.map(Column::number);
        let columns = [
            Column::text("what happens", 35),
            first,
            second,
            third,
            Column::number("retried"),
            Column::number("failed"),
        ];
        Self { table: Table::begin(columns), total: Tally::default() }
    }

    /// Something has happened, and this is how the client sees the greeters now.
    fn event(&self, what: &str, seen: &Snapshot) {
        let [first, second, third] =
            GREETERS.map(|id| seen.get(id).map_or("-", |greeter| condition(greeter)));
        self.table.now(&[&what, &first, &second, &third]);
    }

    /// What became of the calls since the last time.
    fn calls(&mut self, caller: &mut Caller) {
        let tally = std::mem::take(&mut caller.tally);
        let [first, second, third] = GREETERS.map(|id| tally.answered_by(id));
        self.table.more(&[&"  calls answered since", &first, &second, &third, &tally.retried, &tally.failed]);
        self.total.add(tally);
    }

    fn sum_up(&self) {
        let Tally { answered, retried, failed } = &self.total;
        say("");
        say(format!("calls made                    {:>5}", answered.values().sum::<u32>() + failed));
        for (name, count) in answered {
            say(format!("  answered by {name:<16}{count:>5}"));
        }
        say(format!("  tried on another instance   {retried:>5}   of those answered"));
        say(format!("  failed for the caller       {failed:>5}"));
    }
}

impl Tally {
    fn answered_by(&self, id: &str) -> u32 {
        self.answered.get(id).copied().unwrap_or_default()
    }

    fn add(&mut self, other: Self) {
        for (name, count) in other.answered {
            *self.answered.entry(name).or_default() += count;
        }
        self.retried += other.retried;
        self.failed += other.failed;
    }
}

/// How a client sees an instance, in a word.
fn condition(greeter: &Instance) -> &'static str {
    if greeter.routable() { "up" } else { greeter.status.as_str() }
}
