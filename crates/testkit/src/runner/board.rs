//! What became of each case of a subject, written down for the table.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::suite::{CaseResult, Stop};

/// A case that a subject has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) suite: &'static str,
    pub(super) case: &'static str,
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was filtered out, or not reached.
    NotRun,
    Passed,
    Failed(String),
    Ignored(String),
}

/// The cases of one subject, in the order in which they were added.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<Vec<(Place, Outcome)>>);

impl Board {
    /// Adds a case; the number is for [`record`](Self::record).
    pub(super) fn add(&self, place: Place) -> usize {
        let mut cases = self.cases();
        cases.push((place, Outcome::NotRun));
        cases.len() - 1
    }

    pub(super) fn record(&self, number: usize, result: &CaseResult) {
        let outcome = match result {
            Ok(()) => Outcome::Passed,
            Err(Stop::Ignored(reason) | Stop::Missing(reason)) => Outcome::Ignored(reason.clone()),
            Err(Stop::Failed(failure)) => Outcome::Failed(failure.to_string()),
        };
        if let Some((_, recorded)) = self.cases().get_mut(number) {
            *recorded = outcome;
        }
    }

    pub(super) fn read(&self) -> Vec<(Place, Outcome)> {
        self.cases().clone()
    }

    fn cases(&self) -> MutexGuard<'_, Vec<(Place, Outcome)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
