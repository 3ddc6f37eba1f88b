//! What owners did and what views showed, written down and held against four rules.
//!
//! A simulation records into one [`History`] while it makes faults, and asks at the end whether any view has broken a
//! [`Rule`]. What counts as late is the simulation's to say, in [`Bounds`].
//!
//! ```
//! use callsign_core::{InstanceId, Pair};
//! use callsign_testkit::history::{Bounds, History, Rule};
//!
//! let history = History::new();
//! let id = InstanceId::new("one")?;
//! history.registers(&id, Pair::new(1, 1)).acknowledged();
//! history.view("a").shows([(id.clone(), Pair::new(1, 1))]);
//! history.deregisters(&id, Pair::new(1, 2)).acknowledged();
//!
//! // The view shows an instance whose removal was acknowledged, and no time was granted to it.
//! let violation = history.check(&Bounds::none()).unwrap_err();
//! assert_eq!(violation.rule, Rule::NoGhosts);
//! println!("{violation}");
//! # Ok::<(), callsign_core::Error>(())
//! ```

mod check;
mod lives;
mod violation;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use callsign_core::{InstanceId, Listing, Pair};
use tokio::time::Instant;

pub use violation::{Rule, Violation};

/// A record of what owners did and what views showed, each with its time. Cloning gives the same history.
#[derive(Clone)]
pub struct History(Arc<Mutex<Entries>>);

#[derive(Debug, Default, Clone)]
struct Entries {
    operations: Vec<Operation>,
    views: BTreeMap<Arc<str>, Vec<Sight>>,
}

/// What an owner did.
#[derive(Debug, Clone)]
struct Operation {
    id: InstanceId,
    action: Action,
    began: Instant,
    /// `None` while there is no answer, and for ever if none came.
    acknowledged: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Register(Pair),
    Deregister(Pair),
    Lapse,
}

/// What a view shows from an instant on.
#[derive(Debug, Clone)]
struct Sight {
    at: Instant,
    set: BTreeMap<InstanceId, Pair>,
}

/// How late is too late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// After an acknowledged registration, how long a view may lack the instance when it has not shown it yet.
    pub appears: Duration,
    /// After an acknowledged removal, how long a view may show the instance.
    pub disappears: Duration,
    /// After an acknowledged removal, how long a view that has dropped the instance may show it once more: what was on
    /// its way to the view already.
    pub returns: Duration,
}

impl Bounds {
    /// Views are never late.
    #[must_use]
    pub const fn none() -> Self {
        Self::both(Duration::ZERO)
    }

    /// `bound` in every way.
    #[must_use]
    pub const fn both(bound: Duration) -> Self {
        Self { appears: bound, disappears: bound, returns: bound }
    }

    /// The same bounds, but who was dropped may be shown again only for `returns`.
    #[must_use]
    pub const fn with_returns(mut self, returns: Duration) -> Self {
        self.returns = returns;
        self
    }
}

/// What a history holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// How many operations owners began.
    pub operations: usize,
    /// How many views there were.
    pub views: usize,
    /// How often a view showed something.
    pub sights: usize,
    /// How many instances were live at the end.
    pub live: usize,
}

impl History {
    /// An empty history.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::default())
    }

    /// An owner begins to register `id`, or to update it: both write a pair.
    pub fn registers(&self, id: &InstanceId, pair: Pair) -> Pending {
        self.begin(id, Action::Register(pair))
    }

    /// An owner begins to remove `id`. From now on nobody owes its presence.
    pub fn deregisters(&self, id: &InstanceId, pair: Pair) -> Pending {
        self.begin(id, Action::Deregister(pair))
    }

    /// The owner of `id` has died, or its lease may have run out: until its next acknowledged registration nobody
    /// owes its presence, and at the end it must be gone.
    pub fn lapses(&self, id: &InstanceId) {
        self.begin(id, Action::Lapse).acknowledged();
    }

    fn begin(&self, id: &InstanceId, action: Action) -> Pending {
        let mut entries = self.entries();
        entries.operations.push(Operation {
            id: id.clone(),
            action,
            began: Instant::now(),
            acknowledged: None,
        });
        Pending { history: self.clone(), index: entries.operations.len() - 1 }
    }

    /// The view called `name`. What has never shown anything, because it has never heard anything, is no view yet.
    #[must_use]
    pub fn view(&self, name: &str) -> View {
        View { history: self.clone(), name: name.into() }
    }

    /// Holds everything up to now against the rules: the earliest violation, or what the history holds.
    ///
    /// Call it when every fault has healed, and every lease of a dead owner has run out: [`Rule::Agreement`] is about
    /// the end.
    ///
    /// # Errors
    /// The earliest violation, with the entries that show it.
    pub fn check(&self, bounds: &Bounds) -> Result<Summary, Box<Violation>> {
        match self.violations(bounds).into_iter().next() {
            Some(violation) => Err(Box::new(violation)),
            None => Ok(self.summary()),
        }
    }

    /// All violations, the earliest first.
    #[must_use]
    pub fn violations(&self, bounds: &Bounds) -> Vec<Violation> {
        check::violations(&self.entries().clone(), bounds, Instant::now())
    }

    /// What the history holds.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let entries = self.entries();
        Summary {
            operations: entries.operations.len(),
            views: entries.views.len(),
            sights: entries.views.values().map(Vec::len).sum(),
            live: lives::of_all(&entries.operations).values().filter(|lives| lives.is_live()).count(),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = self.summary();
        f.debug_struct("History")
            .field("operations", &summary.operations)
            .field("sights", &summary.sights)
            .finish_non_exhaustive()
    }
}

/// An operation without an answer. Dropping it leaves its outcome unknown, for ever.
#[derive(Debug)]
#[must_use = "without `acknowledged` the outcome of the operation is unknown"]
pub struct Pending {
    history: History,
    index: usize,
}

impl Pending {
    /// The registry has said that it is done.
    pub fn acknowledged(self) {
        if let Some(operation) = self.history.entries().operations.get_mut(self.index) {
            operation.acknowledged = Some(Instant::now());
        }
    }

    /// No answer came, and none will: the operation may have happened.
    pub fn unknown(self) {}
}

/// Where a view's sights are recorded.
#[derive(Debug, Clone)]
pub struct View {
    history: History,
    name: Arc<str>,
}

impl View {
    /// From now on the view shows exactly this.
    pub fn shows(&self, set: impl IntoIterator<Item = (InstanceId, Pair)>) {
        let sight = Sight { at: Instant::now(), set: set.into_iter().collect() };
        self.history.entries().views.entry(self.name.clone()).or_default().push(sight);
    }

    /// From now on the view shows this listing.
    pub fn shows_listing(&self, listing: &Listing) {
        self.shows(listing.instances.iter().map(|instance| (instance.id().clone(), instance.pair())));
    }
}
