//! What a view shows on a bad day of its registry: for whoever wants to know what becomes of a client when the registry
//! is down, comes back, or has lost its data.
//!
//! ```text
//! cargo run --bin life_of_a_view
//! ```
//!
//! The registry is the embedded one, which can be told to break.

use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use callsign::core::{Record, Registry};
use callsign::{Client, Freshness, Instance, Protection, RoundRobin, ServiceKey, ServiceView, Snapshot, Ttl};
use callsign_examples::{Column, Table, end, say, seconds};
use callsign_memory::{Fault, Memory, Store};
use tokio::time::{Instant, interval, sleep, timeout};

/// How long to wait for anything before giving up.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to let the reader look at it.
const LOOK: Duration = Duration::from_secs(2);

// One thread: between two awaits, nothing changes behind the story's back.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    end(story().await)
}

async fn story() -> Result<()> {
    let registry = Store::new();
    let folder = tempfile::tempdir()?;
    let service = ServiceKey::new("orders")?;
    let connect = || {
        let backend = Memory::new(registry.clone(), "registry");
        Client::builder(Arc::new(backend)).store_dir(folder.path()).build()
    };
    let register = async |id| Order::register(&service, id, &registry).await;
    let (first, second, third) =
        (register("orders-1").await?, register("orders-2").await?, register("orders-3").await?);
    let moments = Moments::begin();

    let yesterday = connect()?;
    let view = yesterday.service(service.clone());
    let seen = view.ready(PATIENCE).await?;
    moments.show(&seen, &["an earlier run: the registry answers, and the view", "keeps its answer on disk"]);
    timeout(PATIENCE, saved(folder.path())).await??;
    drop((view, yesterday));
    sleep(LOOK / 2).await;

    let outage = registry.inject(Fault::Unavailable);
    let today = connect()?;
    let view = today.service(service.clone());
    moments.show(
        &view.snapshot(),
        &[
            "the program starts, and the registry is down: nothing",
            "is known, which is not the same as nobody",
        ],
    );
    let seen = view.wait_for(PATIENCE, |seen| matches!(seen.freshness, Freshness::Bootstrap { .. })).await?;
    moments.show(&seen, &["a moment later: the earlier run's answer, from disk"]);
    let mut look_ups = LookUps::begin(&view);
    look_ups.go_on_until(sleep(LOOK)).await;

    outage.heal();
    let seen = look_ups.go_on_until(view.wait_for(PATIENCE, |seen| seen.freshness.is_live())).await?;
    moments.show(&seen, &["the registry is up, and stands behind the answer"]);
    look_ups.go_on_until(sleep(LOOK / 2)).await;

    let outage = registry.inject(Fault::Unavailable);
    look_ups.go_on_until(view.wait_for(PATIENCE, |seen| !seen.freshness.is_live())).await?;
    look_ups.go_on_until(sleep(LOOK)).await;
    moments.show(
        &view.snapshot(),
        &[
            "it has been down again for a while: the last good",
            "answer stays, and tells its age and the cause",
        ],
    );

    outage.heal();
    let seen = look_ups.go_on_until(view.wait_for(PATIENCE, |seen| seen.freshness.is_live())).await?;
    moments.show(&seen, &["it is back"]);
    look_ups.go_on_until(sleep(LOOK / 2)).await;

    registry.wipe();
    let seen = look_ups.go_on_until(view.wait_for(PATIENCE, |seen| held(seen) == 3)).await?;
    moments.show(
        &seen,
        &[
            "it has lost its data, and lists nobody: removals that",
            "nobody has announced are held, and probed",
        ],
    );
    look_ups.go_on_until(sleep(LOOK)).await;
    moments.show(&view.snapshot(), &["all three accept connections: they are kept"]);

    drop(second);
    let seen = look_ups.go_on_until(view.wait_for(PATIENCE, |seen| held(seen) < 3)).await?;
    moments.show(
        &seen,
        &[
            "orders-2 has really died: neither the registry nor its",
            "probe speaks for it any more, and it goes",
        ],
    );
    look_ups.go_on_until(sleep(LOOK / 2)).await;

    let (_first, _third) = (first.again(&registry).await?, third.again(&registry).await?);
    let seen = look_ups.go_on_until(view.wait_for(PATIENCE, |seen| held(seen) == 0)).await?;
    moments.show(&seen, &["the other two have registered again"]);
    let _second = register("orders-2").await?;
    let seen = look_ups.go_on_until(view.wait_for(PATIENCE, |seen| seen.routable().len() == 3)).await?;
    moments.show(&seen, &["and so has orders-2, after a restart"]);

    look_ups.sum_up();
    Ok(())
}

/// An instance that listens, and is registered by hand: a `Registration` would notice the loss of its record, and be
/// back before anybody has seen it.
struct Order {
    record: Record,
    _listener: TcpListener,
}

impl Order {
    async fn register(service: &ServiceKey, id: &str, registry: &Store) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let endpoint = format!("tcp://{}", listener.local_addr()?);
        let instance = Instance::builder(service.clone()).id(id).endpoint(endpoint).build()?;
        // Longer than this program runs: nobody renews it.
        let record = Record::new(instance, Ttl::from_secs(600)?);
        Self { record, _listener: listener }.again(registry).await
    }

    async fn again(self, registry: &Store) -> Result<Self> {
        Memory::new(registry.clone(), "orders").register(&self.record).await?;
        Ok(self)
    }
}

/// Waits until a view has been written to `folder`.
async fn saved(folder: &Path) -> Result<()> {
    loop {
        for file in folder.read_dir()? {
            if file?.path().extension().is_some_and(|extension| extension == "view") {
                return Ok(());
            }
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// How many instances are shown although the registry does not list them.
fn held(seen: &Snapshot) -> usize {
    match seen.protection {
        Protection::Held { count, .. } => count,
        _ => 0,
    }
}

/// An application that wants an instance all the time, whatever happens.
struct LookUps {
    picker: RoundRobin,
    made: u32,
    answered: u32,
}

impl LookUps {
    fn begin(view: &ServiceView) -> Self {
        Self { picker: view.round_robin(), made: 0, answered: 0 }
    }

    /// A look-up every millisecond, until `event` has happened.
    async fn go_on_until<T>(&mut self, event: impl Future<Output = T>) -> T {
        let mut event = std::pin::pin!(event);
        let mut pace = interval(Duration::from_millis(1));
        loop {
            tokio::select! {
                happened = &mut event => return happened,
                _ = pace.tick() => {
                    self.made += 1;
                    self.answered += u32::from(self.picker.pick().is_some());
                }
            }
        }
    }

    fn sum_up(&self) {
        say("");
        say(format!("look-ups since the start from disk {:>6}", self.made));
        say(format!("  answered with an instance        {:>6}", self.answered));
        say(format!("  answered with none               {:>6}", self.made - self.answered));
    }
}

/// The table on the screen.
struct Moments(Table);

impl Moments {
    fn begin() -> Self {
        Self(Table::begin([
            Column::text("freshness", 19),
            Column::number("held"),
            Column::number("routable"),
            Column::text("what has happened", 54),
        ]))
    }

    /// What the view shows, and why.
    fn show(&self, seen: &Snapshot, lines: &[&str]) {
        let freshness = match &seen.freshness {
            Freshness::Bootstrap { written_at } => {
                format!("bootstrap, {} old", seconds(written_at.elapsed().unwrap_or_default()))
            }
            Freshness::Stale { .. } => format!("stale, {} old", seconds(seen.age().unwrap_or_default())),
            other => other.as_str().to_owned(),
        };
        let (first, more) = lines.split_first().unwrap_or((&"", &[]));
        self.0.now(&[&freshness, &held(seen), &seen.routable().len(), first]);
        for line in more {
            self.0.more(&[&"", &"", &"", line]);
        }
        if let Some(cause) = seen.freshness.cause() {
            self.0.more(&[&format!("cause: {cause}")]);
        }
        if let Protection::Held { kind, until, .. } = seen.protection {
            let left = until.saturating_duration_since(Instant::now());
            self.0.more(&[&format!("held: {kind}; for {} at the most", seconds(left))]);
        }
    }
}
