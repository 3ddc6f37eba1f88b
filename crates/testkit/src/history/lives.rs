//! When an instance's presence is owed, and when its absence is.

use std::collections::BTreeMap;

use callsign_core::{InstanceId, Pair};
use tokio::time::Instant;

use super::{Action, Operation};

/// A time during which every view owes an instance's presence: from the acknowledgement of its registration until
/// its removal begins, or its lease may run out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Life {
    pub(super) incarnation: u64,
    pub(super) from: Instant,
    pub(super) until: Option<Instant>,
    /// A write without an answer came before it: what is shown early may be that one's, on its way out.
    pub(super) doubted: bool,
}

/// An acknowledged removal: after it no view may show a pair of this incarnation or a lower one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Removal {
    pub(super) at: Instant,
    pub(super) pair: Pair,
}

/// All that the operations on one id mean.
#[derive(Debug, Default)]
pub(super) struct Lives {
    pub(super) spans: Vec<Life>,
    pub(super) removals: Vec<Removal>,
    /// The highest pair whose write was acknowledged.
    pub(super) written: Option<Pair>,
    /// A write that may have happened after the last acknowledged one: whether the id is there is anybody's guess.
    pub(super) uncertain: bool,
}

impl Lives {
    /// Whether the instance must be there now.
    pub(super) fn is_live(&self) -> bool {
        self.spans.last().is_some_and(|life| life.until.is_none())
    }

    fn add(&mut self, operation: &Operation) {
        match (operation.action, operation.acknowledged) {
            (Action::Register(pair), Some(at)) => {
                self.written = self.written.max(Some(pair));
                let doubted = std::mem::take(&mut self.uncertain);
                if !self.is_live() {
                    self.spans.push(Life { incarnation: pair.incarnation, from: at, until: None, doubted });
                }
            }
            (Action::Register(_), None) => self.uncertain = true,
            (Action::Deregister(pair), acknowledged) => {
                // A former owner that says goodbye late takes its successor nowhere.
                if self.spans.last().is_none_or(|life| life.incarnation <= pair.incarnation) {
                    self.end(operation.began);
                }
                self.removals.extend(acknowledged.map(|at| Removal { at, pair }));
            }
            (Action::Lapse, _) => self.end(operation.began),
        }
    }

    fn end(&mut self, at: Instant) {
        if let Some(life) = self.spans.last_mut() {
            life.until.get_or_insert(at);
        }
        self.uncertain = false;
    }
}

/// The lives of every id. Operations on one id are taken in the order in which they began: one owner writes.
pub(super) fn of_all(operations: &[Operation]) -> BTreeMap<InstanceId, Lives> {
    let mut all = BTreeMap::<InstanceId, Lives>::new();
    for operation in operations {
        all.entry(operation.id.clone()).or_default().add(operation);
    }
    all
}
