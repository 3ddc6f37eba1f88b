//! A broken rule, and what shows it.

use std::fmt;
use std::sync::Arc;

use callsign_core::InstanceId;
use tokio::time::Instant;

use super::{Action, Entries, Operation, Sight};

/// What every view owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// No view shows an instance after its removal was acknowledged, except with a higher incarnation.
    NoGhosts,
    /// What a view shows of an instance never goes back to a lower pair.
    NoStepBack,
    /// No view lacks an instance while it is live: from when the view first showed it, and in any case from a bound
    /// after its registration was acknowledged.
    NoGaps,
    /// At the end every view shows exactly the live instances, as they were last written.
    Agreement,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoGhosts => "a removed instance is shown",
            Self::NoStepBack => "an instance went back to a former version",
            Self::NoGaps => "a live instance is missing",
            Self::Agreement => "a view differs from the live set at the end",
        })
    }
}

/// A broken rule. Its `Display` is the rule and the few entries that show it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The view that broke it.
    pub view: Arc<str>,
    /// The instance it is about.
    pub id: InstanceId,
    /// When.
    pub at: Instant,
    /// What happened to this instance, and what this view showed of it, in order.
    pub trace: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "view `{}`, instance `{}`: {}", self.view, self.id, self.rule)?;
        for line in &self.trace {
            write!(f, "\n  {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Violation {}

/// The entries about one instance and one view, up to `at` and one further on each side: what one needs to see, and
/// no more. Repeated sights of the same are left out.
pub(super) fn trace(entries: &Entries, view: &Arc<str>, id: &InstanceId, at: Instant) -> Vec<String> {
    let mut events: Vec<(Instant, String)> = Vec::new();
    for Operation { action, began, acknowledged, .. } in entries.operations.iter().filter(|op| op.id == *id) {
        let what = match action {
            Action::Register(pair) => format!("registers {pair}"),
            Action::Deregister(pair) => format!("deregisters {pair}"),
            Action::Lapse => {
                events.push((*began, "owner: lapses".to_owned()));
                continue;
            }
        };
        events.push((*began, format!("owner: {what}")));
        match acknowledged {
            Some(at) => events.push((*at, format!("owner: {what}: acknowledged"))),
            None => events.push((*began, format!("owner: {what}: no answer"))),
        }
    }
    let mut last = None;
    for Sight { at, set } in entries.views.get(view).into_iter().flatten() {
        let shown = set.get(id).copied();
        if last.replace(shown) == Some(shown) {
            continue;
        }
        let what = shown.map_or_else(|| "does not show it".to_owned(), |pair| format!("shows {pair}"));
        events.push((*at, format!("view: {what}")));
    }
    // Stable: what happened at the same instant stays in the order of recording, owners first.
    events.sort_by_key(|(when, _)| *when);
    let start = events.first().map_or(at, |(when, _)| *when);
    let until = events.partition_point(|(when, _)| *when <= at);
    let mut lines: Vec<_> = events
        .iter()
        .take(until + 1)
        .map(|(when, what)| format!("{:>8.3}s {what}", when.duration_since(start).as_secs_f64()))
        .collect();
    lines.insert(until.min(lines.len()), format!("{:>8.3}s <- here", at.duration_since(start).as_secs_f64()));
    lines
}
