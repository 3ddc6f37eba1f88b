//! Two registries that behave as one: the first is killed, frozen and wiped, while a client makes five hundred calls a
//! second to a service that is found through them, and never sees a call fail.
//!
//! ```text
//! cargo run --bin disaster_recovery                                  # two embedded registries: runs anywhere
//! cargo run --bin disaster_recovery --features servers -- servers    # an etcd and a ZooKeeper, started for this
//! ```

mod calls;
mod registries;
mod screen;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::Router;
use axum::routing::get;
use callsign::failover::{Control, MemberState, State};
use callsign::{Callsign, Instance, RegisterOptions, ServiceView, Ttl};
use callsign_examples::{Process, end, say, seconds};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use calls::Calls;
use registries::Registries;
use screen::Screen;

const ORDERS: [&str; 4] = ["orders-1", "orders-2", "orders-3", "orders-4"];
const TTL: Duration = Duration::from_secs(3);
/// How long to wait for anything before giving up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to let the reader look at it.
const LOOK: Duration = Duration::from_millis(1_500);

#[tokio::main]
async fn main() -> ExitCode {
    end(story().await)
}

/// One instance of the service. In real life this is a program of its own.
async fn order(id: &'static str, configuration: PathBuf, sigterm: Arc<Notify>) -> Result<()> {
    let callsign = open(&configuration)?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    let me: Instance = callsign.instance("orders").id(id).endpoint(endpoint).build()?;
    let registration = callsign.register_with(me, RegisterOptions::new().with_ttl(Ttl::new(TTL)?)).await?;
    let app = Router::new().route("/", get(async move || id));
    let leave = async move {
        sigterm.notified().await;
        let _ = registration.drain(Duration::from_millis(500)).await;
    };
    axum::serve(listener, app).with_graceful_shutdown(leave).await?;
    Ok(())
}

fn open(configuration: &Path) -> callsign::Result<Callsign> {
    Callsign::builder().file(configuration).build()
}

async fn story() -> Result<()> {
    let argument = std::env::args().nth(1);
    let registries = match argument.as_deref() {
        None => Registries::embedded(),
        Some("servers") => Registries::servers().await?,
        Some(other) => bail!("unknown argument `{other}`: `servers`, or nothing, is allowed"),
    };
    let folder = tempfile::tempdir()?;
    let configuration = folder.path().join("callsign.toml");
    std::fs::write(&configuration, registries.configuration())?;
    introduce(&registries);

    let start = |id| Process::start(|sigterm| order(id, configuration.clone(), sigterm));
    let orders = ORDERS.map(start).into_iter().collect::<Result<Vec<_>>>()?;
    let client = open(&configuration)?;
    let control = client.failover("orders-dr").context("`orders-dr` is no failover")?;
    let view = client.service("orders")?;
    view.wait_for(PATIENCE, |seen| seen.routable().len() == ORDERS.len()).await?;

    let mut story = Story { screen: Screen::begin(&control, &view), calls: Calls::new(&view), control, view };
    story.show("four orders are registered, in both");
    story.look().await;

    story.main_is("killed", registries.kill()).await?;
    story.main_is("frozen", registries.freeze()).await?;
    story.main_is_wiped(&registries).await?;

    for order in &orders {
        order.terminate();
    }
    for order in orders {
        order.ended().await?;
    }
    let failed = story.sum_up();
    client.close(PATIENCE).await?;
    ensure!(failed == 0, "{failed} calls failed");
    Ok(())
}

fn introduce(registries: &Registries) {
    say(format!("{}; callsign.toml makes them one:", registries.what()));
    say("");
    for line in registries.configuration().lines() {
        say(format!("    {line}").trim_end());
    }
    say("");
    say("Four instances of `orders` register themselves, and a client calls them 500 times a second.");
    say("");
}

struct Story {
    screen: Screen,
    calls: Calls,
    control: Control,
    view: ServiceView,
}

impl Story {
    fn show(&mut self, what: &str) {
        self.screen.show(&self.control, &self.view, &self.calls, what);
    }

    async fn look(&mut self) {
        self.calls.go_on_until(sleep(LOOK)).await;
    }

    /// Calls go on until the failover is in a state like this.
    async fn until(&mut self, what: &str, wanted: fn(&State) -> bool) -> Result<Duration> {
        let (begun, mut control) = (Instant::now(), self.control.clone());
        let reached = async {
            while !wanted(&control.state()) {
                control.changed().await;
            }
        };
        let reached = self.calls.go_on_until(timeout(PATIENCE, reached)).await;
        reached.with_context(|| format!("waited {PATIENCE:?} until {what}"))?;
        Ok(begun.elapsed())
    }

    /// The first registry gets into trouble, and out of it again; then an operator trusts it.
    async fn main_is(
        &mut self,
        what: &str,
        trouble: impl Future<Output = Result<registries::Trouble>>,
    ) -> Result<()> {
        let trouble = self.calls.go_on_until(trouble).await?;
        let noticed = self.until("backup is read", |state| *state.active == *"backup").await?;
        self.show(&format!("main is {what}: backup is read after {}", precise(noticed)));
        self.look().await;
        self.calls.go_on_until(trouble.heal()).await?;
        self.until("main answers", |state| {
            matches!(state.members[0].state, MemberState::Recovering | MemberState::Healthy)
        })
        .await?;
        self.show("main is back, and has to stay well to be trusted");
        self.look().await;
        self.trust_main().await
    }

    async fn trust_main(&mut self) -> Result<()> {
        self.control.force("main")?;
        self.until("main is read", |state| *state.active == *"main").await?;
        self.show("an operator does not want to wait: force(\"main\")");
        self.look().await;
        self.control.release();
        Ok(())
    }

    /// The first registry loses everything that it has.
    async fn main_is_wiped(&mut self, registries: &Registries) -> Result<()> {
        self.calls.go_on_until(registries.wipe()).await?;
        self.calls.go_on_until(sleep(LOOK / 5)).await;
        self.show("main has lost all data: nobody vanishes");
        let all = self.view.clone();
        let well = async move {
            all.wait_for(PATIENCE, |seen| {
                seen.freshness.is_live()
                    && seen.protection.held() == 0
                    && seen.routable().len() == ORDERS.len()
            })
            .await
        };
        self.calls.go_on_until(well).await?;
        self.look().await;
        self.show("all four are registered again, in both");
        self.look().await;
        Ok(())
    }

    /// How many calls have failed.
    fn sum_up(&self) -> u32 {
        say("");
        say(format!("calls made     {:>6}", self.calls.made));
        say(format!("  of which failed {:>3}", self.calls.failed));
        self.calls.failed
    }
}

/// Milliseconds are to be seen where there are few.
fn precise(duration: Duration) -> String {
    if duration < Duration::from_secs(1) { format!("{} ms", duration.as_millis()) } else { seconds(duration) }
}
