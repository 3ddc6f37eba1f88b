//! Rounds of random faults on a real registry, while owners come and go and views look on.
//!
//! In each round something befalls the registry or the ways to it, owners do what owners do, and the fault heals. Then
//! every registration has to be there and every view has to agree, and when somebody dies without a word, it has to
//! disappear. In the end the whole history is held against the rules of [`callsign_testkit::history`].

pub(crate) mod book;
mod both;
pub(crate) mod ground;
mod plan;
pub(crate) mod process;
pub(crate) mod recorded;
mod trouble;
pub(crate) mod watcher;
mod ways;
mod world;

use std::fmt;
use std::time::Duration;

use callsign_core::Result;
use callsign_testkit::history::{Bounds, Summary};
use tokio::time::sleep;

pub use ground::{Ground, Promises};
use world::World;

/// What a view may be behind while faults last: the longest, until it is noticed, and until another member is found.
const LATE: Bounds = Bounds::both(Duration::from_secs(40));
/// What is shown is written down by tasks, which get their turn.
const WRITTEN_DOWN: Duration = Duration::from_millis(200);

/// What came of a round.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Outcome {
    /// What befell the registry.
    pub what: String,
    /// How long it took after healing until everybody was right, if it did not take too long.
    pub settled: Option<Duration>,
    /// How long an instance got traffic after its process had died, if it was not too long, and if any did.
    pub gone: Option<Duration>,
    /// What was wrong.
    pub complaint: Option<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(settled) = self.settled {
            write!(f, ", well after {settled:.1?}")?;
        }
        if let Some(gone) = self.gone {
            write!(f, ", the dead gone after {gone:.1?}")?;
        }
        match &self.complaint {
            Some(complaint) => write!(f, ": {complaint}"),
            None => Ok(()),
        }
    }
}

/// What came of all rounds.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Report {
    /// Of each, in order.
    pub outcomes: Vec<Outcome>,
    /// How much has happened.
    pub summary: Summary,
    /// Each breach of a rule, with what shows it, and the complaints of rounds.
    pub violations: Vec<String>,
}

/// So many rounds on a registry that nobody else uses; `tell` hears of each when it is over. The same
/// seed makes the same faults.
///
/// # Errors
/// When the registry cannot be reached or hurt. What is wrong with callsign is in the report.
pub async fn run(
    ground: Ground,
    rounds: usize,
    seed: u64,
    tell: impl Fn(&Outcome) + Send + Sync,
) -> Result<Report> {
    let late = LATE.with_returns(ground.promises().returns);
    let plan = plan::plan(seed, ground.0.shape(), rounds);
    let mut world = World::begin(ground).await?;
    let mut outcomes = Vec::with_capacity(rounds);
    for (number, round) in plan.iter().enumerate() {
        let mut outcome = world.live_through(round).await?;
        outcome.what = format!("round {number}: {}", outcome.what);
        tell(&outcome);
        outcomes.push(outcome);
    }
    sleep(WRITTEN_DOWN).await;
    let history = &world.book.history;
    let complaints = outcomes.iter().filter(|outcome| outcome.complaint.is_some()).map(ToString::to_string);
    let broken = history.violations(&late).into_iter().map(|violation| violation.to_string());
    let violations = complaints.chain(broken).collect();
    Ok(Report { outcomes, summary: history.summary(), violations })
}
